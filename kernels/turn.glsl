// turn.glsl - by how much pairs of a head are turned. To be included after N_ROT, the dimensions that
// turn, and the push constants `p`, which have turns and magnitude.
//
// The angle is the fraction of a revolution pos * turns[i] modulo 2^64, of which the upper 32 bits
// are kept: exact at any position, unlike pos * frequency in floating point. Its sine and cosine are
// two short polynomials around the nearest quarter turn: error below 1e-7 on every device, where
// sin() promises 2^-11.
// Cosine and sine of pair i at this token's position.
vec2 turn_of(uint pos, uint i)
{
    if (i * 2 >= N_ROT)
        return vec2(1, 0);
    const uvec2 turns = load_u2(p.turns, i * 8);
    uint high, low;
    umulExtended(pos, turns.y, high, low);
    const uint phase = high + pos * turns.x, quarter = (phase + 0x20000000u) >> 30;
    const float a = float(int(phase - (quarter << 30))) * 1.4629180792671596e-9; // 2 pi / 2^32
    const float a2 = a * a;
    const float s = a + a * a2 * (-0.16666650772094727 +
                                  a2 * (0.00833197869360447 + a2 * -0.00019495627202559263));
    const float c = 1 + a2 * (-0.5 + a2 * (0.04166664555668831 +
                                           a2 * (-0.001388736767694354 +
                                                 a2 * 2.4438442778773606e-05)));
    vec2 cs = (quarter & 1) != 0 ? vec2(-s, c) : vec2(c, s);
    if ((quarter & 2) != 0)
        cs = -cs;
    return cs * p.magnitude;
}
