// state.glsl - a part of a head's state in registers, and the gates that two kernels share.
//
// A state is [columns][WIDTH]; PARTS neighbouring invocations share a column, each with every
// PARTS-th four of its numbers, so that one load covers whole cache lines and a dot product ends
// with log2(PARTS) exchanges between neighbours. To be included behind WIDTH, PARTS, ALIGNED.
const uint FOURS = WIDTH / 4 / PARTS; // an invocation's share of a column

uint part;

uint four_at(uint m) { return (m * PARTS + part) * 16; } // bytes

vec4 load_row(uint64_t base, uint byte) // of activations, aligned or not
{
    if (ALIGNED != 0)
        return load_f4(base, byte);
    return vec4(load_f(base, byte), load_f(base, byte + 4), load_f(base, byte + 8),
                load_f(base, byte + 12));
}

float over_parts(float v)
{
    [[unroll]] for (uint apart = PARTS / 2; apart > 0; apart /= 2)
        v += subgroupShuffleXor(v, apart);
    return v;
}

// log(1 + e^x) to the last few places for all x: with e = e^-|x|, log(1 + e) is 2 artanh(e / (2 + e)).
float softplus(float x)
{
    const float e = exp(-abs(x)), s = e / (2 + e), q = s * s;
    const float sum = 1 + q * (1.0 / 3 + q * (1.0 / 5 + q * (1.0 / 7 + q * (1.0 / 9 + q * (1.0 / 11 +
        q * (1.0 / 13))))));
    return (x > 0 ? x : 0) + 2 * s * sum;
}
