// lanes_avx2.c - see lanes.h. One line an operation; the formulas are those of the guides'
// instruction chapter. Compiled for AVX2, FMA and F16C: half of a wave of 32 is a few vectors.
#include "lanes.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

static inline float F(uint32_t x)
{
    float f;
    memcpy(&f, &x, 4);
    return f;
}

static inline uint32_t U(float f)
{
    uint32_t x;
    memcpy(&x, &f, 4);
    return x;
}

float half_to_float(uint16_t h)
{
    return _cvtsh_ss(h);
}

uint16_t float_to_half(float f, unsigned rounding)
{
    switch (rounding) { // MODE: to even, up, down, to zero
    case 0:
        return _cvtss_sh(f, _MM_FROUND_TO_NEAREST_INT);
    case 1:
        return _cvtss_sh(f, _MM_FROUND_TO_POS_INF);
    case 2:
        return _cvtss_sh(f, _MM_FROUND_TO_NEG_INF);
    default:
        return _cvtss_sh(f, _MM_FROUND_TO_ZERO);
    }
}

void add_products(uint32_t sums[16], const float row[16], const float b[16][16])
{
    __m256 low = _mm256_loadu_ps((const float *)(const void *)sums),
           high = _mm256_loadu_ps((const float *)(const void *)(sums + 8));
    for (int k = 0; k < 16; k++) {
        const __m256 x = _mm256_set1_ps(row[k]);
        low = _mm256_fmadd_ps(x, _mm256_loadu_ps(b[k]), low);
        high = _mm256_fmadd_ps(x, _mm256_loadu_ps(b[k] + 8), high);
    }
    _mm256_storeu_ps((float *)(void *)sums, low);
    _mm256_storeu_ps((float *)(void *)(sums + 8), high);
}

static inline int32_t I(uint32_t x)
{
    return (int32_t)x;
}

// Of two numbers, one a NaN, the other one is the result; -0 is less than +0.
static inline uint32_t least(uint32_t a, uint32_t b)
{
    const float x = F(a), y = F(b);
    return x != x ? b : y != y ? a : x < y ? a : x > y ? b : a | b;
}

static inline uint32_t most(uint32_t a, uint32_t b)
{
    const float x = F(a), y = F(b);
    return x != x ? b : y != y ? a : x > y ? a : x < y ? b : a & b;
}

static inline uint32_t middle(uint32_t a, uint32_t b, uint32_t c)
{
    return most(least(a, b), least(most(a, b), c));
}

static inline uint32_t to_unsigned(float x)
{
    return !(x > -1) ? 0 : x >= 4294967296.0f ? UINT32_MAX : (uint32_t)x;
}

static inline uint32_t to_signed(float x)
{
    return x != x               ? 0
           : x >= 2147483648.0f ? (uint32_t)INT32_MAX
           : x < -2147483648.0f ? (uint32_t)INT32_MIN
                                : (uint32_t)(int32_t)x;
}

static inline uint32_t fraction(float x)
{
    const float f = x - floorf(x);
    return f >= 1 ? 0x3f7fffff : U(f);
}

// A turn is 1.
static inline float turn(float x)
{
    return (x - floorf(x)) * 6.28318530717958647692f;
}

static inline uint32_t field(uint32_t a, uint32_t b, uint32_t c)
{
    return a >> (b & 31) & (((c & 31) ? UINT32_MAX >> (32 - (c & 31)) : 0));
}

static inline uint32_t signed_field(uint32_t a, uint32_t b, uint32_t c)
{
    const uint32_t n = c & 31, at = b & 31;
    if (n == 0)
        return 0;
    if (n + at >= 32)
        return (uint32_t)(I(a) >> at);
    return (uint32_t)(I(a << (32 - n - at)) >> (32 - n));
}

static inline uint32_t bytes(uint32_t a, uint32_t b, uint32_t select)
{
    const uint64_t both = (uint64_t)a << 32 | b;
    uint32_t out = 0;
    for (int k = 0; k < 4; k++) {
        const uint32_t s = select >> 8 * k & 255;
        uint32_t byte = s < 8 ? (uint32_t)(both >> 8 * s) & 255 : s == 12 ? 0 : 255;
        if (s >= 8 && s < 12) // the sign of one of the halves
            byte = both >> (16 * (s - 8) + 15) & 1 ? 255 : 0;
        out |= byte << 8 * k;
    }
    return out;
}

// The classes: signalling and quiet NaN, -infinity, -normal, -denormal, -0, +0, +denormal, +normal,
// +infinity, a bit each.
static inline uint32_t class_bits(bool negative, uint32_t exponent, uint32_t most_exponent,
                                  uint32_t mantissa, uint32_t quiet)
{
    if (exponent == most_exponent && mantissa)
        return mantissa & quiet ? 2 : 1;
    const int kind = exponent == most_exponent ? 0 : exponent ? 1 : mantissa ? 2 : 3;
    return 1u << (negative ? 2 + kind : 9 - kind);
}

static inline uint32_t class_f32(uint32_t a)
{
    return class_bits(a >> 31, a >> 23 & 255, 255, a & 0x7fffff, 0x400000);
}

static inline uint32_t class_f16(uint32_t a)
{
    return class_bits(a >> 15 & 1, a >> 10 & 31, 31, a & 1023, 512);
}

static inline uint32_t u24(uint32_t x)
{
    return x & 0xffffff;
}

static inline int32_t i24(uint32_t x)
{
    return I(x << 8) >> 8;
}

static inline uint32_t least_i(uint32_t a, uint32_t b)
{
    return I(a) < I(b) ? a : b;
}

static inline uint32_t most_i(uint32_t a, uint32_t b)
{
    return I(a) > I(b) ? a : b;
}

static inline uint32_t least_u(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static inline uint32_t most_u(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static inline uint32_t reverse(uint32_t x)
{
    uint32_t out = 0;
    for (int b = 0; b < 32; b++)
        out |= (x >> b & 1) << (31 - b);
    return out;
}

static inline uint32_t pack_to_zero(float a, float b)
{
    return float_to_half(a, 3) | (uint32_t)float_to_half(b, 3) << 16;
}

#define A a[l]
#define B b[l]
#define C c[l]
#define OPERATIONS                                                                                 \
    X(v_mov_b32, A)                                                                                \
    X(v_mov_b16, A)                                                                                \
    X(v_cvt_f32_i32, U((float)I(A)))                                                               \
    X(v_cvt_f32_u32, U((float)A))                                                                  \
    X(v_cvt_u32_f32, to_unsigned(F(A)))                                                            \
    X(v_cvt_i32_f32, to_signed(F(A)))                                                              \
    X(v_cvt_f32_ubyte0, U((float)(A & 255)))                                                       \
    X(v_cvt_f32_ubyte1, U((float)(A >> 8 & 255)))                                                  \
    X(v_cvt_f32_ubyte2, U((float)(A >> 16 & 255)))                                                 \
    X(v_cvt_f32_ubyte3, U((float)(A >> 24)))                                                       \
    X(v_fract_f32, fraction(F(A)))                                                                 \
    X(v_trunc_f32, U(truncf(F(A))))                                                                \
    X(v_ceil_f32, U(ceilf(F(A))))                                                                  \
    X(v_rndne_f32, U(rintf(F(A))))                                                                 \
    X(v_floor_f32, U(floorf(F(A))))                                                                \
    X(v_exp_f32, U(exp2f(F(A))))                                                                   \
    X(v_log_f32, U(log2f(F(A))))                                                                   \
    X(v_rcp_f32, U(1 / F(A)))                                                                      \
    X(v_rcp_iflag_f32, U(1 / F(A)))                                                                \
    X(v_rsq_f32, U(1 / sqrtf(F(A))))                                                               \
    X(v_sqrt_f32, U(sqrtf(F(A))))                                                                  \
    X(v_sin_f32, U(sinf(turn(F(A)))))                                                              \
    X(v_cos_f32, U(cosf(turn(F(A)))))                                                              \
    X(v_not_b32, ~A)                                                                               \
    X(v_bfrev_b32, reverse(A))                                                                     \
    X(v_clz_i32_u32, A ? (uint32_t)__builtin_clz(A) : UINT32_MAX)                                  \
    X(v_ctz_i32_b32, A ? (uint32_t)__builtin_ctz(A) : UINT32_MAX)                                  \
    X(v_cvt_i32_i16, (uint32_t)(int16_t)A)                                                         \
    X(v_cvt_u32_u16, A & 0xffff)                                                                   \
    X(v_cvt_f32_f16, U(half_to_float((uint16_t)A)))                                                \
    X(v_add_f32, U(F(A) + F(B)))                                                                   \
    X(v_sub_f32, U(F(A) - F(B)))                                                                   \
    X(v_subrev_f32, U(F(B) - F(A)))                                                                \
    X(v_mul_f32, U(F(A) * F(B)))                                                                   \
    X(v_mul_i32_i24, (uint32_t)i24(A) * (uint32_t)i24(B))                                          \
    X(v_mul_u32_u24, u24(A) * u24(B))                                                              \
    X(v_min_f32, least(A, B))                                                                      \
    X(v_max_f32, most(A, B))                                                                       \
    X(v_min_i32, least_i(A, B))                                                                    \
    X(v_max_i32, most_i(A, B))                                                                     \
    X(v_min_u32, least_u(A, B))                                                                    \
    X(v_max_u32, most_u(A, B))                                                                     \
    X(v_lshlrev_b32, B << (A & 31))                                                                \
    X(v_lshrrev_b32, B >> (A & 31))                                                                \
    X(v_ashrrev_i32, (uint32_t)(I(B) >> (A & 31)))                                                 \
    X(v_and_b32, A &B)                                                                             \
    X(v_or_b32, A | B)                                                                             \
    X(v_xor_b32, A ^ B)                                                                            \
    X(v_xnor_b32, ~(A ^ B))                                                                        \
    X(v_add_nc_u32, A + B)                                                                         \
    X(v_sub_nc_u32, A - B)                                                                         \
    X(v_subrev_nc_u32, B - A)                                                                      \
    X(v_fmac_f32, U(fmaf(F(A), F(B), F(d[l]))))                                                    \
    X(v_fmamk_f32, U(fmaf(F(A), F(B), F(C))))                                                      \
    X(v_fmaak_f32, U(fmaf(F(A), F(B), F(C))))                                                      \
    X(v_cvt_pk_rtz_f16_f32, pack_to_zero(F(A), F(B)))                                              \
    X(v_mad_i32_i24, (uint32_t)i24(A) * (uint32_t)i24(B) + C)                                      \
    X(v_mad_u32_u24, u24(A) * u24(B) + C)                                                          \
    X(v_bfe_u32, field(A, B, C))                                                                   \
    X(v_bfe_i32, signed_field(A, B, C))                                                            \
    X(v_bfi_b32, (A & B) | (~A & C))                                                               \
    X(v_fma_f32, U(fmaf(F(A), F(B), F(C))))                                                        \
    X(v_alignbit_b32, (uint32_t)(((uint64_t)A << 32 | B) >> (C & 31)))                             \
    X(v_alignbyte_b32, (uint32_t)(((uint64_t)A << 32 | B) >> 8 * (C & 3)))                         \
    X(v_min3_f32, least(least(A, B), C))                                                           \
    X(v_min3_i32, least_i(least_i(A, B), C))                                                       \
    X(v_min3_u32, least_u(least_u(A, B), C))                                                       \
    X(v_max3_f32, most(most(A, B), C))                                                             \
    X(v_max3_i32, most_i(most_i(A, B), C))                                                         \
    X(v_max3_u32, most_u(most_u(A, B), C))                                                         \
    X(v_med3_f32, middle(A, B, C))                                                                 \
    X(v_med3_i32, most_i(least_i(A, B), least_i(most_i(A, B), C)))                                 \
    X(v_med3_u32, most_u(least_u(A, B), least_u(most_u(A, B), C)))                                 \
    X(v_xor3_b32, A ^ B ^ C)                                                                       \
    X(v_perm_b32, bytes(A, B, C))                                                                  \
    X(v_xad_u32, (A ^ B) + C)                                                                      \
    X(v_lshl_add_u32, (A << (B & 31)) + C)                                                         \
    X(v_add_lshl_u32, (A + B) << (C & 31))                                                         \
    X(v_add3_u32, A + B + C)                                                                       \
    X(v_lshl_or_b32, (A << (B & 31)) | C)                                                          \
    X(v_and_or_b32, (A & B) | C)                                                                   \
    X(v_or3_b32, A | B | C)                                                                        \
    X(v_maxmin_f32, least(most(A, B), C))                                                          \
    X(v_minmax_f32, most(least(A, B), C))                                                          \
    X(v_maxmin_u32, least_u(most_u(A, B), C))                                                      \
    X(v_minmax_u32, most_u(least_u(A, B), C))                                                      \
    X(v_maxmin_i32, least_i(most_i(A, B), C))                                                      \
    X(v_minmax_i32, most_i(least_i(A, B), C))                                                      \
    X(v_ldexp_f32, U(ldexpf(F(A), I(B))))                                                          \
    X(v_bfm_b32, ((1u << (A & 31)) - 1) << (B & 31))                                               \
    X(v_bcnt_u32_b32, (uint32_t)__builtin_popcount(A) + B)                                         \
    X(v_and_b16, A &B)                                                                             \
    X(v_or_b16, A | B)                                                                             \
    X(v_xor_b16, A ^ B)                                                                            \
    X(v_mul_lo_u32, A *B)                                                                          \
    X(v_mul_hi_u32, (uint32_t)((uint64_t)A * B >> 32))                                             \
    X(v_mul_hi_i32, (uint32_t)((int64_t)I(A) * I(B) >> 32))                                        \
    X(v_cmp_lt_f32, F(A) < F(B))                                                                   \
    X(v_cmp_eq_f32, F(A) == F(B))                                                                  \
    X(v_cmp_le_f32, F(A) <= F(B))                                                                  \
    X(v_cmp_gt_f32, F(A) > F(B))                                                                   \
    X(v_cmp_lg_f32, F(A) < F(B) || F(A) > F(B))                                                    \
    X(v_cmp_ge_f32, F(A) >= F(B))                                                                  \
    X(v_cmp_o_f32, F(A) == F(A) && F(B) == F(B))                                                   \
    X(v_cmp_u_f32, F(A) != F(A) || F(B) != F(B))                                                   \
    X(v_cmp_nge_f32, !(F(A) >= F(B)))                                                              \
    X(v_cmp_nlg_f32, !(F(A) < F(B) || F(A) > F(B)))                                                \
    X(v_cmp_ngt_f32, !(F(A) > F(B)))                                                               \
    X(v_cmp_nle_f32, !(F(A) <= F(B)))                                                              \
    X(v_cmp_neq_f32, !(F(A) == F(B)))                                                              \
    X(v_cmp_nlt_f32, !(F(A) < F(B)))                                                               \
    X(v_cmp_lt_i16, (int16_t)A < (int16_t)B)                                                       \
    X(v_cmp_eq_i16, (int16_t)A == (int16_t)B)                                                      \
    X(v_cmp_le_i16, (int16_t)A <= (int16_t)B)                                                      \
    X(v_cmp_gt_i16, (int16_t)A > (int16_t)B)                                                       \
    X(v_cmp_ne_i16, (int16_t)A != (int16_t)B)                                                      \
    X(v_cmp_ge_i16, (int16_t)A >= (int16_t)B)                                                      \
    X(v_cmp_lt_u16, (uint16_t)A < (uint16_t)B)                                                     \
    X(v_cmp_eq_u16, (uint16_t)A == (uint16_t)B)                                                    \
    X(v_cmp_le_u16, (uint16_t)A <= (uint16_t)B)                                                    \
    X(v_cmp_gt_u16, (uint16_t)A > (uint16_t)B)                                                     \
    X(v_cmp_ne_u16, (uint16_t)A != (uint16_t)B)                                                    \
    X(v_cmp_ge_u16, (uint16_t)A >= (uint16_t)B)                                                    \
    X(v_cmp_lt_i32, I(A) < I(B))                                                                   \
    X(v_cmp_eq_i32, A == B)                                                                        \
    X(v_cmp_le_i32, I(A) <= I(B))                                                                  \
    X(v_cmp_gt_i32, I(A) > I(B))                                                                   \
    X(v_cmp_ne_i32, A != B)                                                                        \
    X(v_cmp_ge_i32, I(A) >= I(B))                                                                  \
    X(v_cmp_lt_u32, A < B)                                                                         \
    X(v_cmp_eq_u32, A == B)                                                                        \
    X(v_cmp_le_u32, A <= B)                                                                        \
    X(v_cmp_gt_u32, A > B)                                                                         \
    X(v_cmp_ne_u32, A != B)                                                                        \
    X(v_cmp_ge_u32, A >= B)                                                                        \
    X(v_cmp_class_f16, (class_f16(A) & B) != 0)                                                    \
    X(v_cmp_class_f32, (class_f32(A) & B) != 0)

#define X(name, value)                                                                             \
    static void lanes_##name(uint32_t *restrict d, const uint32_t *a, const uint32_t *b,           \
                             const uint32_t *c, unsigned n)                                        \
    {                                                                                              \
        (void)a, (void)b, (void)c;                                                                 \
        for (unsigned l = 0; l < n; l++)                                                           \
            d[l] = value;                                                                          \
    }
OPERATIONS
#undef X

lane_operation *lane_operation_of(enum op op)
{
    static lane_operation *const all[N_OPS] = {
#define X(name, value) [OP_##name] = lanes_##name,
        OPERATIONS
#undef X
            [OP_v_dual_fmac_f32] = lanes_v_fmac_f32,
        [OP_v_dual_fmaak_f32] = lanes_v_fmaak_f32,
        [OP_v_dual_fmamk_f32] = lanes_v_fmamk_f32,
        [OP_v_dual_mul_f32] = lanes_v_mul_f32,
        [OP_v_dual_add_f32] = lanes_v_add_f32,
        [OP_v_dual_sub_f32] = lanes_v_sub_f32,
        [OP_v_dual_subrev_f32] = lanes_v_subrev_f32,
        [OP_v_dual_mov_b32] = lanes_v_mov_b32,
        [OP_v_dual_max_f32] = lanes_v_max_f32,
        [OP_v_dual_min_f32] = lanes_v_min_f32,
        [OP_v_dual_add_nc_u32] = lanes_v_add_nc_u32,
        [OP_v_dual_lshlrev_b32] = lanes_v_lshlrev_b32,
        [OP_v_dual_and_b32] = lanes_v_and_b32,
    };
    // v_cmpx_ is v_cmp_, told apart by what is written; isa.h names it right behind.
    if (op_info[op].family == VOPC && op_info[op].number & 128)
        return all[op - 1];
    return all[op];
}

bool lane_is_float(enum op op)
{
    const char *name = op_info[op].name;
    const size_t n = strlen(name);
    return n > 4 && strcmp(name + n - 4, "_f32") == 0 && !strstr(name, "cvt");
}
