// draft.c - a model's block that predicts further tokens, driven by hand: a tool of the golden
// tier.
//
//   draft MODEL.gguf DEVICE BATCH OUT.f32 ID,ID,...   the trunk over all tokens in passes of BATCH
//                                                     rows, the block over the rows of each pass,
//                                                     and one row behind them, from what it said
//
// OUT: the trunk's logits of every token, its states, the block's logits of every token and of the
// row behind them, which is drafted with the first token again. Then the same in two sequences that
// part in the middle must give the same logits again, and what model_draft must refuse is refused;
// a sentence and exit status 1 where it is not so.
#include "model/arch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct model *model;
static int32_t n_batch, n, token[256], pos[256];
static uint8_t wanted[256];

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "draft: %s: %s\n", what, why);
    exit(1);
}

static void open_model(const char *path, bool drafts, struct compute *compute)
{
    struct err err = {0};
    const struct model_options options = {
        .n_ctx = 256, .n_seq = 2, .n_batch = n_batch, .n_held = 2, .draft = drafts};
    enum status status = model_begin(&model, compute, path, &options, &err);
    if (status == OK)
        do // with the rehearsal of its kernels, as a server opens one
            status = model_load_some(model, 1000, &err);
        while (status == AGAIN);
    if (status != OK)
        fail("model", err.text);
}

static struct batch rows_of(int32_t start, int32_t n_rows, const int32_t *seq)
{
    return (struct batch){n_rows, token + start, pos + start, seq, wanted, 0};
}

// Rows start .. end - 1 of a sequence: trunk, then block. hidden: the state before them, and then
// behind them.
static void run(int32_t seq, int32_t start, int32_t end, float *trunk, float *states, float *head,
                float *hidden)
{
    const size_t n_embd = (size_t)model_info(model)->n_embd,
                 n_vocab = (size_t)model_info(model)->n_vocab;
    float *given = mem_array((size_t)n_batch * n_embd, sizeof(*given));
    struct err err = {0};
    for (int32_t at = start, rows; at < end; at += rows) {
        int32_t seqs[256], from[256];
        rows = end - at < n_batch ? end - at : n_batch;
        for (int32_t t = 0; t < rows; t++) {
            seqs[t] = seq;
            from[t] = t - 1;
        }
        const struct batch b = rows_of(at, rows, seqs);
        if (model_forward(model, &b, (struct logits){.value = trunk + (size_t)at * n_vocab},
                          &err) != OK)
            fail("model_forward", err.text);
        if (model->n_hidden != rows)
            fail("model_forward", "not the state of each row is kept");
        const struct tensor kept = tensor_rows(&model->act.hidden, 0, rows);
        tensor_read(model->compute, states + (size_t)at * n_embd, &kept,
                    (size_t)rows * n_embd * sizeof(*states));
        memcpy(given, hidden, n_embd * sizeof(*given));
        memcpy(hidden, states + (size_t)(at + rows - 1) * n_embd, n_embd * sizeof(*given));
        if (model_draft(model, &b, from, given,
                        (struct logits){.value = head + (size_t)at * n_vocab}, &err) != OK)
            fail("model_draft", err.text);
    }
    if (model_drafted(model, seq) != end || model_held(model, seq) != end)
        fail("model_drafted", "not as many as were computed");
    free(given);
}

// One row behind all, from the state that the block's last row kept.
static void go_on(int32_t rows_before, float *head)
{
    struct err err = {0};
    const int32_t seq = 0, from = rows_before - 1;
    const struct batch b = {1, token, pos + n, &seq, wanted, 0};
    if (model_draft(model, &b, &from, NULL, (struct logits){.value = head}, &err) != OK)
        fail("model_draft behind all", err.text);
    if (model_drafted(model, 0) != n + 1 || model_held(model, 0) != n)
        fail("model_drafted", "a row behind all is not counted as one");
}

static void same(const char *what, const float *a, const float *b, size_t n_numbers)
{
    double worst = 0;
    for (size_t i = 0; i < n_numbers; i++)
        worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
    if (!(worst < 2e-2)) // as between passes of other numbers of rows
        fail(what, "other logits than in one sequence");
}

static void refused(const char *what, enum status want, int32_t seq, int32_t start, int32_t from)
{
    struct err err = {0};
    float *logits = mem_array((size_t)model_info(model)->n_vocab, sizeof(*logits));
    const struct batch b = rows_of(start, 1, &seq);
    const enum status status =
        model_draft(model, &b, &from, NULL, (struct logits){.value = logits}, &err);
    if (status != want)
        fail(what, status == OK ? "it was taken" : err.text);
    free(logits);
}

// A fork goes on as its origin did; rows that both have are nobody's to draft again.
static void check_forks(const float *trunk, const float *head)
{
    const size_t n_embd = (size_t)model_info(model)->n_embd,
                 n_vocab = (size_t)model_info(model)->n_vocab, all = (size_t)(n + 1) * n_vocab;
    float *t = mem_array(all, sizeof(*t)), *h = mem_array(all, sizeof(*h)),
          *s = mem_array((size_t)n * n_embd, sizeof(*s)),
          *hidden = mem_array(n_embd, sizeof(*hidden));
    const int32_t half = n / 2;
    (void)model_cut(model, 0, 0);
    run(0, 0, half, t, s, h, hidden);
    if (model_fork(model, 0, 1, half) != half || model_drafted(model, 1) != half)
        fail("model_fork", "the fork has not what its origin has");
    model_check(model);
    run(1, half, n, t, s, h, hidden);
    same("trunk of a fork", t, trunk, (size_t)n * n_vocab);
    same("block of a fork", h, head, (size_t)n * n_vocab);
    (void)model_fork(model, 0, 1, half);
    refused("a row that two have", BAD_INPUT, 0, half - 1, 0);
    model_check(model);
    run(0, 0, half, t, s, h, hidden); // after a failure all are empty
    refused("a row behind a gap", BAD_INPUT, 0, half + 1, 0);
    run(0, 0, half, t, s, h, hidden);
    refused("a state that no pass kept", BAD_INPUT, 0, half, n_batch);
    free(t);
    free(h);
    free(s);
    free(hidden);
}

// As speculation goes: a token is drafted behind what is held, the trunk checks it and computes one
// more, and the block goes on from the state that this pass kept.
static void check_ahead(void)
{
    const size_t n_embd = (size_t)model_info(model)->n_embd,
                 n_vocab = (size_t)model_info(model)->n_vocab, all = (size_t)(n + 2) * n_vocab;
    float *t = mem_array(all, sizeof(*t)), *h = mem_array(all, sizeof(*h)),
          *s = mem_array((size_t)(n + 2) * n_embd, sizeof(*s)),
          *hidden = mem_array(n_embd, sizeof(*hidden)), *want = mem_array(all, sizeof(*want)),
          *got = mem_array(2 * n_vocab, sizeof(*got));
    const int32_t seqs[2] = {0, 0}, none = -1, first = 0;
    struct err err = {0};
    token[n] = token[0];
    token[n + 1] = token[1];
    (void)model_cut(model, 0, 0);
    run(0, 0, n + 2, t, s, want, hidden);
    (void)model_cut(model, 0, 0);
    run(0, 0, n, t, s, h, hidden);
    struct batch b = rows_of(n, 1, seqs);
    if (model_draft(model, &b, &none, hidden, (struct logits){.value = got}, &err) != OK)
        fail("model_draft ahead", err.text);
    b = rows_of(n, 2, seqs);
    if (model_forward(model, &b, (struct logits){.value = t}, &err) != OK)
        fail("model_forward over a draft", err.text);
    if (model_drafted(model, 0) != n + 1 || model_held(model, 0) != n + 2)
        fail("model_drafted", "a drafted row that was checked is lost");
    b = rows_of(n + 1, 1, seqs);
    if (model_draft(model, &b, &first, NULL, (struct logits){.value = got + n_vocab}, &err) != OK)
        fail("model_draft behind what was checked", err.text);
    same("rows that were drafted ahead", got, want + (size_t)n * n_vocab, 2 * n_vocab);
    model_check(model);
    free(t);
    free(h);
    free(s);
    free(hidden);
    free(want);
    free(got);
}

static void write_all(FILE *out, const float *p, size_t n_numbers)
{
    if (fwrite(p, sizeof(*p), n_numbers, out) != n_numbers)
        fail("output", "cannot be written");
}

int main(int argc, char **argv)
{
    struct compute *compute;
    struct err err = {0};
    if (argc != 6)
        return 2;
    log_level_set(LOG_WARN);
    n_batch = (int32_t)strtol(argv[3], NULL, 10);
    for (char *at = argv[5]; *at && n < 200; at += *at == ',')
        token[n++] = (int32_t)strtol(at, &at, 10);
    for (int32_t t = 0; t < 256; t++) {
        pos[t] = t;
        wanted[t] = 1;
    }
    if (compute_open(&compute, &(struct compute_options){.device = argv[2], .n_threads = 2},
                     &err) != OK)
        fail("device", err.text);
    open_model(argv[1], true, compute);
    if (!model_info(model)->drafts || model_info(model)->draft_bytes == 0)
        fail("model", "no block is loaded");
    const size_t n_embd = (size_t)model_info(model)->n_embd,
                 n_vocab = (size_t)model_info(model)->n_vocab, all = (size_t)(n + 1) * n_vocab;
    float *trunk = mem_array(all, sizeof(*trunk)), *head = mem_array(all, sizeof(*head)),
          *states = mem_array((size_t)n * n_embd, sizeof(*states)),
          *hidden = mem_array(n_embd, sizeof(*hidden));
    run(0, 0, n, trunk, states, head, hidden);
    go_on((n - 1) % n_batch + 1, head + (size_t)n * n_vocab);
    FILE *out = fopen(argv[4], "wbe");
    if (!out)
        fail("output", "cannot be opened");
    write_all(out, trunk, (size_t)n * n_vocab);
    write_all(out, states, (size_t)n * n_embd);
    write_all(out, head, all);
    if (fclose(out) != 0)
        fail("output", "cannot be written");
    if (n_batch > 1)
        check_ahead();
    check_forks(trunk, head);
    model_close(model);
    open_model(argv[1], false, compute); // nobody pays for what was not asked for
    if (model_info(model)->drafts || model_info(model)->draft_bytes == 0)
        fail("model", "the block is loaded unasked");
    refused("a model without", UNSUPPORTED, 0, 0, 0);
    model_close(model);
    compute_close(compute);
    free(trunk);
    free(head);
    free(states);
    free(hidden);
    return 0;
}
