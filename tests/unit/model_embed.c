// model_embed.c - texts become vectors: alone and together, whole and in passes they are the same;
// what a file says of pooling, and what cannot be done, is refused by name.
#include "check.h"
#include "model_fixture.h"

#include <fcntl.h>
#include <math.h>
#include <unistd.h>

enum { LENGTH = 24, SEQS = 3 };

static struct compute *compute;
static char path[] = "/tmp/model_embed.XXXXXX";
static uint32_t pooling;
static bool causal;
static int32_t n_held;

static void embed_hyper(struct file *f)
{
    add_hyper(f);
    if (pooling > 0)
        key_u32(f, "llama.pooling_type", pooling);
    key_begin(f, "llama.attention.causal", GGUF_BOOL);
    put(f, &causal, 1);
}

static enum status open_model(struct model **m, uint32_t how, bool is_causal, int32_t n_batch,
                              struct err *err)
{
    struct file f;
    pooling = how;
    causal = is_causal;
    make_model_with(&f, embed_hyper, NULL);
    struct bytes file = buf_view(&f.buf);
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    if (fd < 0 || write(fd, file.p, file.n) != (ssize_t)file.n)
        die("%s cannot be written", path);
    close(fd);
    buf_free(&f.buf);
    return model_open(m, compute, path,
                      &(struct model_options){32, SEQS, n_batch, .n_held = n_held}, err);
}

struct rows {
    int32_t n, token[SEQS * LENGTH], pos[SEQS * LENGTH], seq[SEQS * LENGTH];
    uint8_t wanted[SEQS * LENGTH];
};

// Positions from .. to - 1 of text `text`, which has LENGTH - text tokens.
static void add_rows(struct rows *rows, int32_t text, int32_t from, int32_t to)
{
    const int32_t end = LENGTH - text;
    for (int32_t pos = from; pos < to && pos < end; pos++) {
        rows->token[rows->n] = (text * 91 + pos * 37 + pos * pos) % TINY_VOCAB;
        rows->pos[rows->n] = pos;
        rows->seq[rows->n] = text;
        rows->wanted[rows->n++] = pos == end - 1;
    }
}

static enum status embed(struct model *m, const struct rows *rows, float *out, struct err *err)
{
    return model_embed(m, &(struct batch){rows->n, rows->token, rows->pos, rows->seq, rows->wanted},
                       out, err);
}

static float worst(const float *a, const float *b, int32_t n)
{
    float most = 0;
    for (int32_t i = 0; i < n; i++)
        most = fmaxf(most, fabsf(a[i] - b[i]));
    return most;
}

// Each text alone, then all in one batch, then in passes of every size where that may be.
static void test_batches(uint32_t how, bool is_causal)
{
    float alone[SEQS][TINY_EMBD], together[SEQS][TINY_EMBD];
    struct model *m;
    struct err err = {0};
    for (int32_t n_batch = is_causal ? 5 : 64; n_batch <= 64; n_batch += 59) {
        if (!CHECK(open_model(&m, how, is_causal, n_batch, &err) == OK))
            die("%s", err.text);
        CHECK(model_info(m)->n_vector == TINY_EMBD && model_info(m)->one_pass == !is_causal);
        CHECK(model_info(m)->n_batch == (is_causal ? n_batch : 32));
        for (int32_t s = 0; s < SEQS; s++) {
            struct rows rows = {0};
            add_rows(&rows, s, 0, LENGTH);
            CHECK(embed(m, &rows, alone[s], &err) == OK);
        }
        CHECK(worst(alone[0], alone[1], TINY_EMBD) > 0.01f); // different texts differ
        for (int32_t step = is_causal ? 1 : LENGTH; step <= LENGTH; step += 7) {
            float *out = together[0];
            int32_t n_ended = 0;
            for (int32_t from = 0; from < LENGTH; from += step) {
                struct rows rows = {0};
                for (int32_t s = 0; s < SEQS; s++)
                    add_rows(&rows, s, from, from + step);
                if (rows.n > 32 && !is_causal) // one pass holds that many
                    rows = (struct rows){0}, add_rows(&rows, 0, 0, LENGTH);
                CHECK(embed(m, &rows, out, &err) == OK);
                for (int32_t t = 0; t < rows.n; t++) {
                    if (!rows.wanted[t])
                        continue;
                    CHECK(worst(out, alone[rows.seq[t]], TINY_EMBD) < 1e-4f);
                    out += TINY_EMBD;
                    n_ended++;
                }
            }
            CHECK(n_ended == (is_causal ? SEQS : 1));
            if (!is_causal)
                break;
        }
        model_close(m);
    }
}

// Two short texts in one pass do not see each other.
static void test_neighbours(void)
{
    float alone[2][TINY_EMBD], both[2][TINY_EMBD];
    struct model *m;
    struct err err = {0};
    struct rows rows = {0};
    CHECK(open_model(&m, POOLING_MEAN, false, 64, &err) == OK);
    for (int32_t s = 0; s < 2; s++) {
        struct rows one = {0};
        add_rows(&one, s, 0, 9);
        one.wanted[one.n - 1] = 1;
        CHECK(embed(m, &one, alone[s], &err) == OK);
        add_rows(&rows, s, 0, 9);
        rows.wanted[rows.n - 1] = 1;
    }
    CHECK(embed(m, &rows, both[0], &err) == OK);
    CHECK(worst(both[0], alone[0], 2 * TINY_EMBD) < 1e-4f);
    rows.wanted[8] = 0; // a text that does not end
    CHECK(embed(m, &rows, both[0], &err) == BAD_INPUT && strstr(err.text, "whole"));
    model_close(m);
}

// As many texts in one pass as may be, each in a page of its own, are what they are alone.
static void test_many(void)
{
    enum { MANY = 20 };
    float alone[TINY_EMBD], all[MANY][TINY_EMBD];
    struct model *m;
    struct err err = {0};
    struct rows rows = {0};
    n_held = MANY - SEQS;
    CHECK(open_model(&m, POOLING_MEAN, false, 64, &err) == OK && model_info(m)->n_texts == MANY);
    for (int32_t round = 0; round < 3; round++) {
        rows.n = 0;
        for (int32_t s = 0; s < MANY; s++) {
            const int32_t seq = (s + round) % MANY, from = rows.n;
            rows.token[from] = s * 7 + round;
            rows.pos[from] = 0;
            rows.seq[from] = seq;
            rows.wanted[from] = 1;
            rows.n++;
        }
        CHECK(embed(m, &rows, all[0], &err) == OK);
        for (int32_t s = 0; s < MANY; s++) {
            struct rows one = {1, {s * 7 + round}, {0}, {0}, {1}};
            CHECK(embed(m, &one, alone, &err) == OK);
            CHECK(worst(alone, all[s], TINY_EMBD) < 1e-4f);
        }
    }
    model_close(m);
    n_held = 0;
}

// A token early in the text changes with what follows it where all is seen, and only there.
static void test_sees_all(void)
{
    for (int is_causal = 0; is_causal < 2; is_causal++) {
        float before[TINY_EMBD], after[TINY_EMBD];
        struct model *m;
        struct err err = {0};
        struct rows rows = {0};
        CHECK(open_model(&m, POOLING_FIRST, is_causal, 64, &err) == OK);
        add_rows(&rows, 0, 0, LENGTH);
        CHECK(embed(m, &rows, before, &err) == OK);
        rows.token[LENGTH - 1] = (rows.token[LENGTH - 1] + 1) % TINY_VOCAB;
        CHECK(embed(m, &rows, after, &err) == OK);
        CHECK(is_causal ? worst(before, after, TINY_EMBD) == 0
                        : worst(before, after, TINY_EMBD) > 1e-4f);
        model_close(m);
    }
}

static void test_refusals(void)
{
    float out[SEQS * TINY_EMBD];
    static float logits[TINY_VOCAB * LENGTH];
    struct model *m = NULL;
    struct err err = {0};
    struct rows rows = {0}, many = {0};
    add_rows(&rows, 0, 0, LENGTH);
    for (int32_t s = 0; s < SEQS; s++)
        add_rows(&many, s, 0, LENGTH);
    CHECK(open_model(&m, 0, true, 64, &err) == OK);
    CHECK(model_info(m)->n_vector == 0);
    CHECK(embed(m, &rows, out, &err) == UNSUPPORTED && strstr(err.text, "pooling_type"));
    model_close(m);
    CHECK(open_model(&m, 0, false, 64, &err) == BAD_INPUT &&
          strstr(err.text, "llama.pooling_type"));
    CHECK(open_model(&m, 4, false, 64, &err) == BAD_INPUT && strstr(err.text, "cls.output.weight"));
    CHECK(open_model(&m, 5, true, 64, &err) == BAD_INPUT && strstr(err.text, "llama.pooling_type"));
    CHECK(open_model(&m, 1, false, 64, &err) == OK);
    CHECK(embed(m, &many, out, &err) == TOO_LARGE && strstr(err.text, "holds 32"));
    CHECK(model_forward(m, &(struct batch){rows.n, rows.token, rows.pos, rows.seq, rows.wanted, 0},
                        (struct logits){.value = logits}, &err) == UNSUPPORTED);
    rows.seq[2] = 1; // 0 0 1 0 ...
    CHECK(embed(m, &rows, out, &err) != OK);
    model_close(m);
}

static void test_normalise(void)
{
    float vector[2] = {3, 4}, zeros[2] = {0, 0};
    vector_normalise(vector, 2);
    CHECK(fabsf(vector[0] - 0.6f) < 1e-6f && fabsf(vector[1] - 0.8f) < 1e-6f);
    vector_normalise(zeros, 2);
    CHECK(zeros[0] == 0 && zeros[1] == 0);
}

int main(void)
{
    struct err err;
    int fd = mkstemp(path);
    if (fd < 0 || compute_open(&compute, &(struct compute_options){"cpu", 2, ""}, &err) != OK)
        die("no device or no file");
    close(fd);
    for (uint32_t how = POOLING_MEAN; how <= POOLING_LAST; how++) {
        test_batches(how, true);
        test_batches(how, false);
    }
    test_neighbours();
    test_many();
    test_sees_all();
    test_refusals();
    test_normalise();
    compute_close(compute);
    unlink(path);
    return check_done("model_embed");
}
