// model_rows.c - rows that are computed together, as guessed tokens are, give the bits of single
// ones: the built-in model, passes of 2 to 8 rows against passes of one, over positions where
// attention is split in other ways.
#include "check.h"
#include "compute/compute.h"
#include "model/model.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS = 8, THREADS = 3 };
static struct model *model;
static int32_t n_vocab;

static int32_t token_at(int32_t pos)
{
    return (int32_t)((uint32_t)(pos + 1) * 2654435761u >> 16) % n_vocab;
}

// Rows pos .. pos + n - 1 of a sequence, all wanted.
static void rows(int32_t seq, int32_t pos, int32_t n, float *logits)
{
    int32_t token[ROWS], at[ROWS], seqs[ROWS];
    uint8_t wanted[ROWS];
    struct err err = {0};
    for (int32_t i = 0; i < n; i++) {
        token[i] = token_at(pos + i);
        at[i] = pos + i;
        seqs[i] = seq;
        wanted[i] = 1;
    }
    const struct batch batch = {n, token, at, seqs, wanted, 0};
    CHECK(model_forward(model, &batch, (struct logits){.value = logits}, &err) == OK);
}

static void read_up_to(int32_t pos)
{
    float *logits = mem_array((size_t)ROWS * (size_t)n_vocab, sizeof(*logits));
    for (int32_t n; model_held(model, 0) < pos;) {
        n = pos - model_held(model, 0);
        rows(0, model_held(model, 0), n < ROWS ? n : ROWS, logits);
    }
    free(logits);
}

// A row of all lengths behind so many positions, alone and together.
static void compare_at(int32_t pos)
{
    const size_t n_all = (size_t)ROWS * (size_t)n_vocab, n_bytes = (size_t)n_vocab * sizeof(float);
    float *alone = mem_array(n_all, sizeof(*alone)), *together = mem_array(n_all, sizeof(*alone));
    read_up_to(pos);
    CHECK(model_fork(model, 0, 1, pos) == pos);
    for (int32_t i = 0; i < ROWS; i++)
        rows(1, pos + i, 1, alone + (size_t)i * (size_t)n_vocab);
    for (int32_t n = 2; n <= ROWS; n++) {
        CHECK(model_fork(model, 0, 1, pos) == pos);
        rows(1, pos, n, together);
        CHECK(memcmp(alone, together, (size_t)n * n_bytes) == 0);
        CHECK(model_cut(model, 1, pos + 1) == pos + 1); // and what is taken back leaves no trace
        rows(1, pos + 1, 1, together);
        CHECK(memcmp(alone + n_vocab, together, n_bytes) == 0);
    }
    free(alone);
    free(together);
}

int main(void)
{
    static const int32_t at[] = {1, 30, 125, 250, 253, 380, 509, 700};
    const struct compute_options device = {.device = "cpu", .n_threads = THREADS};
    const struct model_options options = {.n_ctx = 1024, .n_seq = 2, .n_batch = 64, .n_held = 1};
    struct compute *compute;
    struct err err = {0};
    CHECK(compute_open(&compute, &device, &err) == OK);
    CHECK(model_open(&model, compute, MODEL_BUILTIN, &options, &err) == OK);
    n_vocab = model_info(model)->n_vocab;
    CHECK(model_info(model)->takes_back);
    for (size_t i = 0; i < COUNT_OF(at); i++)
        compare_at(at[i]);
    model_close(model);
    compute_close(compute);
    return check_done("model_rows");
}
