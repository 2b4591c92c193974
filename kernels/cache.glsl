// cache.glsl - reads rows of a KV cache, eight columns at a time. -DCACHE_f16 or -DCACHE_q8_0.
//
// F16: a row is its columns. Q8_0: two planes, integers [n_cols] and then scales F16 [n_cols / 32],
// each padded to 16 bytes. CACHE_BYTES is the size of a column in the (first) plane.
#ifdef CACHE_f16
#define CACHE_BYTES 2
#define CACHE_UNIT 8 // columns in 16 bytes
#endif
#ifdef CACHE_q8_0
#define CACHE_BYTES 1
#define CACHE_UNIT 16
#endif

struct eight {
    vec4 a, b;
};

#ifdef CACHE_f16
eight eight_of(uvec4 u)
{
    return eight(vec4(unpackHalf2x16(u.x), unpackHalf2x16(u.y)),
                 vec4(unpackHalf2x16(u.z), unpackHalf2x16(u.w)));
}
// Columns c .. c + 7 (a multiple of 8) of the row that starts `byte` bytes after base.
eight load_eight(uint64_t base, uint byte, uint c, uint n_cols)
{
    return eight_of(load_u4(base, byte + c * 2));
}
#endif

#ifdef CACHE_q8_0
vec4 bytes_of(uint u)
{
    const int i = int(u);
    return vec4(i << 24 >> 24, i << 16 >> 24, i << 8 >> 24, i >> 24);
}
eight load_eight(uint64_t base, uint byte, uint c, uint n_cols)
{
    const uvec2 u = load_u2(base, byte + c);
    const float scale = load_h(base, byte + ((n_cols + 15) & ~15u) + c / 32 * 2);
    return eight(bytes_of(u.x) * scale, bytes_of(u.y) * scale);
}
#endif
