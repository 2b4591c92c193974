// cache.glsl - reads rows of a KV cache, eight columns at a time. -DCACHE_f16 or -DCACHE_q8_0.
//
// F16: a row is its columns. Q8_0: two planes, integers [n_cols] and then scales F16 [n_cols / 32],
// each padded to 16 bytes.
//
// `raw` are eight columns as they were loaded, so that what is done with them can wait.
struct eight {
    vec4 a, b;
};

#ifdef CACHE_f16
#define raw uvec4
// Columns c .. c + 7 (c a multiple of 8) of the row that starts `byte` bytes after base.
raw load_raw(uint64_t base, uint byte, uint c, uint n_cols) { return load_u4(base, byte + c * 2); }
eight eight_of(raw r)
{
    return eight(vec4(unpackHalf2x16(r.x), unpackHalf2x16(r.y)),
                 vec4(unpackHalf2x16(r.z), unpackHalf2x16(r.w)));
}
uvec4 halves_of(raw r) { return r; }
#endif

#ifdef CACHE_q8_0
struct raw {
    uvec2 integers;
    float scale;
};
raw load_raw(uint64_t base, uint byte, uint c, uint n_cols)
{
    return raw(load_u2(base, byte + c), load_h(base, byte + ((n_cols + 15) & ~15u) + c / 32 * 2));
}
vec4 bytes_of(uint u)
{
    const int i = int(u);
    return vec4(i << 24 >> 24, i << 16 >> 24, i << 8 >> 24, i >> 24);
}
eight eight_of(raw r)
{
    return eight(bytes_of(r.integers.x) * r.scale, bytes_of(r.integers.y) * r.scale);
}
#endif

#ifdef HALF // 16-bit arithmetic is there
uvec4 halves_of(eight e)
{
    return uvec4(packFloat2x16(f16vec2(e.a.xy)), packFloat2x16(f16vec2(e.a.zw)),
                 packFloat2x16(f16vec2(e.b.xy)), packFloat2x16(f16vec2(e.b.zw)));
}
#ifdef CACHE_q8_0
uvec4 halves_of(raw r) { return halves_of(eight_of(r)); }
#endif
#endif

eight load_eight(uint64_t base, uint byte, uint c, uint n_cols)
{
    return eight_of(load_raw(base, byte, c, n_cols));
}
