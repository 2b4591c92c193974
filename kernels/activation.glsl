// activation.glsl - the activations of enum activation, as the CPU computes them.
float activation(float x, uint gelu)
{
    if (gelu == 0)
        return x / (1 + exp(-x));
    float y = 0.7978845608 * (x + 0.044715 * x * x * x); // sqrt(2 / pi)
    return x / (1 + exp(-2 * y));
}
