// formats.c - what the independent engine says of the formats with codebooks and the ternary ones.
//
// formats grids: kernels/grids.h, the codebooks, read off by decoding every index once.
// formats vectors: tests/unit/formats_recorded.h: of each format the hash of SAMPLE_BLOCKS decoded
// blocks (sample_blocks(), sample_hash() of tests/unit/formats.h), which every index of a codebook
// is in.
// Build and run in the root that tests/golden/peer/root prints, from the top of the repository:
//   gcc -O1 -o build/peer-formats tests/golden/peer/formats.c -lggml-base -lm
#include "../../unit/formats.h"

#include <stdio.h>

typedef void decode_rows(const void *blocks, float *out, int64_t n);
decode_rows dequantize_row_iq1_s, dequantize_row_iq1_m, dequantize_row_iq2_xxs,
    dequantize_row_iq2_xs, dequantize_row_iq2_s, dequantize_row_iq3_xxs, dequantize_row_iq3_s,
    dequantize_row_tq1_0, dequantize_row_tq2_0;

static void words_of(int bit, const char *name, const char *what, const uint32_t *word, int n)
{
    printf("\n#if GRIDS & %d // %s\nGRID(%s, %d)", bit, what, name, n);
    for (int i = 0; i < n; i += 4)
        printf("\n    FOUR(0x%08x, 0x%08x, 0x%08x, 0x%08x)%s", word[i], word[i + 1], word[i + 2],
               word[i + 3], i < n - 4 ? "," : "");
    printf("\nGRID_END\n#endif\n");
}

// Entry e of a grid of eight columns, whose three values have the codes 0 .. 2.
static void put_eight(uint32_t *word, int e, const float *value, float low, float middle)
{
    for (int i = 0; i < 8; i++) {
        uint32_t code = value[i] < low ? 0 : value[i] < middle ? 1 : 2;
        word[e / 2] |= code << (8 * (i % 4) + 4 * (e % 2) + 2 * (i / 4));
    }
}

static void put_four(uint32_t *word, int e, const float *value, float by)
{
    for (int i = 0; i < 4; i++)
        word[e] |= (uint32_t)(value[i] * by + 0.5f) << 8 * i;
}

static void grids(void)
{
    enum { ONE = 0x3c00 }; // 1.0
    static uint32_t iq1[1024], iq2_xxs[128], iq2_xs[256], iq2_s[512], iq3_xxs[256], iq3_s[512];
    float out[256];
    uint8_t b[128];
    for (int e = 0; e < 2048; e++) { // scale 1: value -1, 0, 1 and 1/8 more
        memset(b, 0, sizeof(b));
        b[1] = ONE >> 8, b[2] = (uint8_t)e, b[34] = (uint8_t)(e >> 8);
        dequantize_row_iq1_s(b, out, 256);
        put_eight(iq1, e, out, -0.5f, 0.5f);
    }
    for (int e = 0; e < 1024; e++) { // scale 1/8
        memset(b, 0, sizeof(b));
        b[1] = ONE >> 8, b[2] = (uint8_t)e, b[66] = (uint8_t)(e >> 8);
        dequantize_row_iq2_s(b, out, 256);
        put_eight(iq2_s, e, out, 16 / 8.0f, 34 / 8.0f);
        if (e < 512) {
            memset(b, 0, sizeof(b));
            b[1] = ONE >> 8, b[2] = (uint8_t)e, b[3] = (uint8_t)(e >> 8);
            dequantize_row_iq2_xs(b, out, 256);
            put_eight(iq2_xs, e, out, 16 / 8.0f, 34 / 8.0f);
            memset(b, 0, sizeof(b)); // scale 1
            b[1] = ONE >> 8, b[2] = (uint8_t)e, b[66] = (uint8_t)(e >> 8);
            dequantize_row_iq3_s(b, out, 256);
            put_four(iq3_s, e, out, 1);
        }
        if (e < 256) {
            memset(b, 0, sizeof(b));
            b[1] = ONE >> 8, b[2] = (uint8_t)e;
            dequantize_row_iq2_xxs(b, out, 256);
            put_eight(iq2_xxs, e, out, 16 / 8.0f, 34 / 8.0f);
            dequantize_row_iq3_xxs(b, out, 256); // scale 1/4
            put_four(iq3_xxs, e, out, 4);
        }
    }
    puts("// grids.h - the codebooks of the IQ1, IQ2 and IQ3 formats, the same text for C and "
         "GLSL.\n"
         "//\n"
         "// Facts of the GGUF formats, made by tests/golden/peer/formats.c (not by hand). An "
         "entry of\n"
         "// grid_iq1 and grid_iq2_* is eight weights, each a code 0 .. 2: -1, 0, 1 (IQ1), 8, 25, "
         "43\n"
         "// (IQ2); column i of entry e is bits 8 (i % 4) + 4 (e % 2) + 2 (i / 4) of word e / 2: "
         "shifted\n"
         "// and masked a word is four neighbouring weights, a byte each. An entry of grid_iq3_* "
         "is four\n"
         "// weights, a byte each. Who includes it defines GRIDS, the sum of the bits of what it\n"
         "// wants, GRID(name, n words), GRID_END, and FOUR for four words.\n"
         "//\n"
         "// clang-format off");
    words_of(1, "grid_iq1", "IQ1_S, IQ1_M: 2048 entries", iq1, 1024);
    words_of(2, "grid_iq2_xxs", "IQ2_XXS: 256 entries", iq2_xxs, 128);
    words_of(4, "grid_iq2_xs", "IQ2_XS: 512 entries", iq2_xs, 256);
    words_of(8, "grid_iq2_s", "IQ2_S: 1024 entries", iq2_s, 512);
    words_of(16, "grid_iq3_xxs", "IQ3_XXS: 256 entries", iq3_xxs, 256);
    words_of(32, "grid_iq3_s", "IQ3_S: 512 entries", iq3_s, 512);
}

static void vectors(void)
{
    static const struct {
        enum dtype type;
        const char *name;
        decode_rows *decode;
    } formats[] = {
        {DTYPE_IQ1_S, "IQ1_S", dequantize_row_iq1_s},
        {DTYPE_IQ1_M, "IQ1_M", dequantize_row_iq1_m},
        {DTYPE_IQ2_XXS, "IQ2_XXS", dequantize_row_iq2_xxs},
        {DTYPE_IQ2_XS, "IQ2_XS", dequantize_row_iq2_xs},
        {DTYPE_IQ2_S, "IQ2_S", dequantize_row_iq2_s},
        {DTYPE_IQ3_XXS, "IQ3_XXS", dequantize_row_iq3_xxs},
        {DTYPE_IQ3_S, "IQ3_S", dequantize_row_iq3_s},
        {DTYPE_TQ1_0, "TQ1_0", dequantize_row_tq1_0},
        {DTYPE_TQ2_0, "TQ2_0", dequantize_row_tq2_0},
    };
    puts("// clang-format off\n"
         "// Made by tests/golden/peer/formats.c: type, hash of what the sample decodes to, "
         "weights\n"
         "// 0, 77 and 255 of its first block.");
    for (size_t f = 0; f < COUNT_OF(formats); f++) {
        float *out = malloc(SAMPLE_BLOCKS * 256 * sizeof(*out));
        uint8_t *blocks = sample_blocks(formats[f].type);
        formats[f].decode(blocks, out, SAMPLE_BLOCKS * 256);
        printf("{DTYPE_%s, 0x%016llx, {%a, %a, %a}},\n", formats[f].name,
               (unsigned long long)sample_hash(out, SAMPLE_BLOCKS * 256), (double)out[0],
               (double)out[77], (double)out[255]);
        free(blocks), free(out);
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "grids") == 0)
        grids();
    else if (argc == 2 && strcmp(argv[1], "vectors") == 0)
        vectors();
    else
        return fputs("formats grids|vectors\n", stderr), 2;
    return 0;
}
