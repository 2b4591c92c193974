// gate.glsl - the gate on attention's output: times sigmoid(gate), a number a column or one a head.
//
// To be included after GATE (0: none, 1: a number a column, 2: a head), GATE_STRIDE (numbers from one
// head to the next) and the push constants `p`, which have gate and gate_row.
vec4 gated(vec4 v, uint t, uint head, uint at4) // columns 4 * at4 .. of that head
{
    if (GATE == 0)
        return v;
    const uint64_t gate = p.gate + uint64_t(t) * p.gate_row;
    const uint at = (head * GATE_STRIDE + (GATE == 1 ? at4 * 4 : 0)) * 4;
    [[unroll]] for (uint i = 0; i < 4; i++)
        v[i] /= 1 + exp(-load_f(gate, at + (GATE == 1 ? i * 4 : 0)));
    return v;
}
