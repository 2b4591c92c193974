// activation.glsl - the activations of enum activation (compute.h), as the CPU computes them.
const uint SILU = 0, GELU = 1, GELU_ERF = 2, RELU_SQUARE = 3, SIGMOID = 4, TANH = 5, SWIGLU_OAI = 6;
const uint SWIGLU_10 = 7;

float sigmoid(float x) { return 1 / (1 + exp(-x)); }

// x / 2 erfc(-x / sqrt(2)): cpu/float_body.h
float gelu_erf(float x)
{
    const float z = abs(x) * 0.70710678, t = 1 / (1 + 0.5 * z);
    const float p = -1.26551223 +
        t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806 +
        t * (0.27886807 + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 +
        t * 0.17087277))))))));
    const float tail = t * exp(p - z * z);
    return 0.5 * x * (x < 0 ? tail : 2 - tail);
}

float activation(float x, uint kind)
{
    switch (kind) {
    case GELU: // 2 sqrt(2 / pi)
        return x * sigmoid(1.5957691 * (x + 0.044715 * x * x * x));
    case GELU_ERF:
        return gelu_erf(x);
    case RELU_SQUARE:
        return x > 0 ? x * x : x * 0; // NaN stays
    case SIGMOID:
        return sigmoid(x);
    case TANH:
        return 1 - 2 / (1 + exp(2 * x));
    default:
        return x * sigmoid(x);
    }
}

float glu(float gate, float up, uint kind)
{
    if (kind < SWIGLU_OAI)
        return activation(gate, kind) * up;
    if (kind == SWIGLU_10) {
        const float g = gate > 10 ? 10 : gate, u = up > 10 ? 10 : up < -10 ? -10 : up;
        return g * sigmoid(g) * u;
    }
    const float g = gate > 7 ? 7 : gate, u = up > 7 ? 7 : up < -7 ? -7 : up;
    return g * sigmoid(1.702 * g) * (u + 1);
}
