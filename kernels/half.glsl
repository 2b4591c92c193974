// half.glsl - binary32 to binary16, rounded to nearest even: f16_from_float of blocks.h, bit for bit.
//
// A conversion instruction may round towards zero (the shader cannot ask), and caches must be the
// same on every device. Too large becomes infinity, NaN stays NaN.
uint half_bits(float f)
{
    const uint bits = floatBitsToUint(f), sign = bits >> 16 & 0x8000u, rest = bits & 0x7fffffffu;
    if (rest > 0x7f800000u)
        return sign | 0x7e00u;
    if (rest >= 0x477ff000u)
        return sign | 0x7c00u;
    if (rest < 0x38800000u) // a multiple of 2^-24
        return sign | uint(roundEven(uintBitsToFloat(rest) * 16777216.0));
    return sign | (rest + 0xfffu + (rest >> 13 & 1u) - (112u << 23)) >> 13;
}
