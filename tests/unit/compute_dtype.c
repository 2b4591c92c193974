// compute_dtype.c - the decode of every weight format against the second definition
// (compute_check.h), and the 16-bit floats over all their values.
//
// Tolerance: the decode computes d * scale * q - dmin * min in F32, at most three roundings of
// values up to the larger of the two terms; 4 units of 2^-24 of their sizes cover it.
#include "compute_check.h"

#include "../../engine/compute/blocks.h"

static void check_type(enum dtype type)
{
    enum { N = 2048 };
    static float out[N];
    CHECK(dtype_known((uint32_t)type));
    CHECK(dtype_block_bytes(type) == block_bytes_of(type));
    CHECK(dtype_block_elements(type) == (uint32_t)block_size_of(type));
    CHECK(dtype_row_bytes(type, N) == N / (size_t)block_size_of(type) * block_bytes_of(type));
    uint8_t *row = random_weights(type, 1, N);
    dtype_decode(type, out, row, N);
    int wrong = 0;
    for (int i = 0; i < N; i++)
        wrong += !(fabs(out[i] - weight_at(type, row, i)) <= 1.5 * 0x1p-22); // terms below 1.5
    if (!CHECK(wrong == 0))
        fprintf(stderr, "    %s: %d of %d weights\n", dtype_name(type), wrong, N);
    free(row);
}

static void check_halves(void)
{
    int wrong = 0;
    for (unsigned h = 0; h < 65536; h++) {
        uint8_t bytes[2] = {(uint8_t)h, (uint8_t)(h >> 8)};
        float f = float_from_f16((uint16_t)h);
        bool special = (h & 0x7c00) == 0x7c00;
        if (special)
            wrong += h & 0x3ff ? !isnan(f) : !(isinf(f) && signbit(f) == (h >> 15 != 0));
        else
            wrong += f != half_value(bytes);
        if (!special || !(h & 0x3ff))
            wrong += f16_from_float(f) != h;
    }
    CHECK(wrong == 0);
    // Rounding: nearest, ties to even, overflow to infinity.
    CHECK(f16_from_float(1 + 0x1p-11f) == 0x3c00 && f16_from_float(1 + 0x1.8p-10f) == 0x3c02);
    CHECK(f16_from_float(65519) == 0x7bff && f16_from_float(65520) == 0x7c00 &&
          f16_from_float(-1e9f) == 0xfc00);
    CHECK(f16_from_float(0x1p-25f) == 0 && f16_from_float(0x1.8p-24f) == 2 &&
          (f16_from_float(NAN) & 0x7fff) > 0x7c00);
}

// What the independent engine decodes the sample to, to the last bit: every product is exact.
static void check_recorded(void)
{
    static const struct {
        enum dtype type;
        uint64_t hash;
        double weight[3]; // 0, 77, 255 of the first block
    } recorded[] = {
#include "formats_recorded.h"
    };
    static float out[SAMPLE_BLOCKS * 256];
    for (size_t i = 0; i < COUNT_OF(recorded); i++) {
        uint8_t *blocks = sample_blocks(recorded[i].type);
        dtype_decode(recorded[i].type, out, blocks, SAMPLE_BLOCKS * 256);
        const double *want = recorded[i].weight;
        bool same = sample_hash(out, SAMPLE_BLOCKS * 256) == recorded[i].hash;
        if (!CHECK(same && out[0] == want[0] && out[77] == want[1] && out[255] == want[2]))
            fprintf(stderr, "    %s: %a %a %a, recorded %a %a %a\n", dtype_name(recorded[i].type),
                    out[0], out[77], out[255], want[0], want[1], want[2]);
        free(blocks);
    }
    CHECK(COUNT_OF(recorded) == 9);
}

int main(void)
{
    for (size_t i = 0; i < COUNT_OF(weight_types); i++)
        check_type(weight_types[i]);
    check_recorded();
    check_halves();
    CHECK(!dtype_known(DTYPE_I32) && !dtype_known(9) && !dtype_known(0xffffffff));
    CHECK(strcmp(dtype_name(DTYPE_Q4_K), "Q4_K") == 0 &&
          strcmp(dtype_name((enum dtype)77), "?") == 0);
    return check_done("compute_dtype");
}
