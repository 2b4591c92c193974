// model_forward.c - opening models that lie, and the forward pass: batches, chunks and sequences
// must not change the result.
#include "check.h"
#include "model_fixture.h"

#include <fcntl.h>
#include <math.h>
#include <unistd.h>

static struct compute *compute;
static char path[] = "/tmp/model_forward.XXXXXX";

static void write_model(struct bytes file)
{
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    if (fd < 0 || write(fd, file.p, file.n) != (ssize_t)file.n)
        die("%s cannot be written", path);
    close(fd);
}

static struct model *open_model(int32_t n_seq, int32_t n_batch)
{
    struct model *m = NULL;
    struct err err = {0};
    if (!CHECK(model_open(&m, compute, path, &(struct model_options){32, n_seq, n_batch}, &err) ==
               OK))
        die("%s", err.text);
    return m;
}

enum { LENGTH = 24 };

static int32_t token_at(int32_t seq, int32_t pos)
{
    return (seq * 91 + pos * 37 + pos * pos) % TINY_VOCAB;
}

static float worst(const float *a, const float *b, size_t n)
{
    float most = 0;
    for (size_t i = 0; i < n; i++)
        most = fmaxf(most, fabsf(a[i] - b[i]));
    return most;
}

// The logits of a sequence, all positions in one batch.
static void whole(struct model *m, int32_t seq, float *logits)
{
    int32_t token[LENGTH], pos[LENGTH], seqs[LENGTH];
    uint8_t wanted[LENGTH];
    struct err err;
    for (int32_t i = 0; i < LENGTH; i++) {
        token[i] = token_at(seq, i);
        pos[i] = i;
        seqs[i] = seq;
        wanted[i] = 1;
    }
    CHECK(model_forward(m, &(struct batch){LENGTH, token, pos, seqs, wanted, 0},
                        (struct logits){.value = logits}, &err) == OK);
}

// Three sequences interleaved in batches of every size, some rows unwanted, against each alone: a
// mistake in a mask, a row, a chunk border or the choice of wanted rows shows.
static void test_batches(void)
{
    enum { SEQS = 3 };
    size_t row = TINY_VOCAB;
    float *alone = mem_array(SEQS * LENGTH * row, sizeof(*alone)),
          *got = mem_array(SEQS * LENGTH * row, sizeof(*got));
    struct model *m = open_model(SEQS, 64);
    for (int32_t s = 0; s < SEQS; s++)
        whole(m, s, alone + (size_t)s * LENGTH * row);
    CHECK(worst(alone, alone + LENGTH * row, row) > 0.01f); // different sequences do differ
    model_close(m);
    for (int32_t n_batch = 1; n_batch <= 16; n_batch += 5) {
        m = open_model(SEQS, n_batch);
        for (int32_t step = 1; step <= LENGTH; step += 7) { // positions a batch
            for (int32_t start = 0; start < LENGTH; start += step) {
                int32_t token[SEQS * LENGTH], pos[SEQS * LENGTH], seq[SEQS * LENGTH], n = 0;
                uint8_t wanted[SEQS * LENGTH];
                struct err err;
                for (int32_t i = start; i < start + step && i < LENGTH; i++) {
                    for (int32_t s = SEQS; s-- > 0;) {
                        token[n] = token_at(s, i);
                        pos[n] = i;
                        seq[n] = s;
                        wanted[n++] = (uint8_t)((i + s) % 3 != 0);
                    }
                }
                CHECK(model_forward(m, &(struct batch){n, token, pos, seq, wanted, 0},
                                    (struct logits){.value = got}, &err) == OK);
                const float *at = got;
                for (int32_t i = 0; i < n; i++) {
                    if (!wanted[i])
                        continue;
                    CHECK(worst(at, alone + ((size_t)seq[i] * LENGTH + (size_t)pos[i]) * row, row) <
                          1e-3f);
                    at += row;
                }
            }
        }
        model_close(m);
    }
    free(alone);
    free(got);
}

// The n largest logits of every row are those of the whole rows, falling.
static void test_largest(void)
{
    size_t row = TINY_VOCAB;
    float *all = mem_array(LENGTH * row, sizeof(*all)), value[LENGTH * TOP_K_MOST], total[LENGTH];
    int32_t token[LENGTH], pos[LENGTH], seq[LENGTH] = {0}, id[LENGTH * TOP_K_MOST];
    uint8_t wanted[LENGTH];
    struct err err;
    struct model *m = open_model(1, 16);
    whole(m, 0, all);
    for (int32_t i = 0; i < LENGTH; i++) {
        token[i] = token_at(0, i);
        pos[i] = i;
        wanted[i] = 1;
    }
    for (int32_t n = 1; n <= 5; n += 4) {
        CHECK(model_forward(m, &(struct batch){LENGTH, token, pos, seq, wanted, n},
                            (struct logits){value, id, total}, &err) == OK);
        for (int32_t i = 0; i < LENGTH * n; i++) {
            const float *whole_row = all + (size_t)(i / n) * row;
            int32_t n_above = 0;
            for (int32_t k = 0; k < TINY_VOCAB; k++)
                n_above += whole_row[k] > value[i] + 1e-3f;
            CHECK(fabsf(whole_row[id[i]] - value[i]) < 1e-3f && n_above <= i % n);
            CHECK(i % n == 0 || value[i] <= value[i - 1]);
        }
        for (int32_t i = 0; i < LENGTH; i++) {
            double sum = 0;
            for (int32_t k = 0; k < TINY_VOCAB; k++)
                sum += exp((double)all[(size_t)i * row + (size_t)k]);
            CHECK(fabs(log(sum) - (double)total[i]) < 1e-3);
        }
    }
    CHECK(model_forward(m, &(struct batch){1, token, pos, seq, wanted, TOP_K_MOST + 1},
                        (struct logits){value, id}, &err) == BAD_INPUT);
    model_close(m);
    free(all);
}

static void test_rules(void)
{
    struct model *m = open_model(2, 8);
    float logits[2 * TINY_VOCAB];
    struct err err;
    const uint8_t wanted[2] = {1, 1};
    const int32_t token[2] = {1, 2}, seq[2] = {0, 0}, other[2] = {1, 1};
#define TRY(t, p0, p1, s)                                                                          \
    model_forward(m, &(struct batch){2, t, (int32_t[]){p0, p1}, s, wanted, 0},                     \
                  (struct logits){.value = logits}, &err)
    CHECK(TRY(token, 0, 1, seq) == OK);
    CHECK(TRY(token, 2, 3, seq) == OK);
    CHECK(TRY(token, 1, 2, seq) == OK);        // cut back to 1 and go on
    CHECK(TRY(token, 4, 5, seq) == BAD_INPUT); // 3 was never computed
    CHECK(TRY(token, 0, 1, seq) == OK);
    CHECK(TRY(token, 2, 3, other) == BAD_INPUT); // sequence 1 has nothing yet
    CHECK(TRY(((int32_t[]){0, TINY_VOCAB}), 0, 1, seq) == BAD_INPUT);
    CHECK(TRY(((int32_t[]){-1, 0}), 0, 1, seq) == BAD_INPUT);
    CHECK(TRY(token, 0, 1, ((int32_t[]){0, 2})) == BAD_INPUT);
    CHECK(TRY(token, 32, 33, seq) == TOO_LARGE);
#undef TRY
    const struct model_info *info = model_info(m);
    CHECK(info->n_vocab == TINY_VOCAB && info->n_ctx == 32 && info->n_ctx_train == 64 &&
          info->head_dim == 8);
    CHECK(info->kv_bytes == 2u * PAGE_ROWS * 2 * 16 * 2 * TINY_LAYER);
    CHECK_TEXT(info->arch, "llama");
    CHECK_TEXT(info->quantisation, "F32");
    model_close(m);
}

// ---- models that lie ----------------------------------------------------------------------------

static uint8_t *find_bytes(struct bytes in, const char *text)
{
    uint8_t *p = memmem(in.p, in.n, text, strlen(text));
    if (!p)
        die("the fixture has no %s", text);
    return p;
}

// Changes the u32 value of a key, opens, and expects the status and a word.
static void spoiled_key(const char *key, uint32_t value, enum status status, const char *word)
{
    struct file f;
    struct model *m = NULL;
    struct err err = {0};
    make_tiny_model(&f);
    memcpy(find_bytes(buf_view(&f.buf), key) + strlen(key) + 4, &value, 4);
    write_model(buf_view(&f.buf));
    enum status got = model_open(&m, compute, path, &(struct model_options){0, 1, 8}, &err);
    if (!CHECK(got == status && (got == OK || strstr(err.text, word))))
        fprintf(stderr, "    %s = %u: %s: \"%s\"\n", key, value, status_name(got), err.text);
    if (got == OK)
        model_close(m);
    buf_free(&f.buf);
}

static uint32_t bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

static void test_lies(void)
{
    spoiled_key("llama.block_count", 0, BAD_INPUT, "llama.block_count");
    spoiled_key("llama.block_count", 1u << 30, BAD_INPUT, "llama.block_count");
    spoiled_key("llama.block_count", 3, BAD_INPUT, "blk.2");
    spoiled_key("llama.block_count", 1, UNSUPPORTED, "blk.1");
    spoiled_key("llama.context_length", 0, BAD_INPUT, "context_length");
    spoiled_key("llama.embedding_length", 0, BAD_INPUT, "embedding_length");
    spoiled_key("llama.embedding_length", 33, BAD_INPUT, "33");
    spoiled_key("llama.embedding_length", 64, BAD_INPUT, "token_embd.weight");
    spoiled_key("llama.feed_forward_length", 65, BAD_INPUT, "ffn_gate");
    spoiled_key("llama.attention.head_count", 0, BAD_INPUT, "head_count");
    spoiled_key("llama.attention.head_count", 5, BAD_INPUT, "5 heads");
    spoiled_key("llama.attention.head_count", 32, BAD_INPUT, "must be even");
    spoiled_key("llama.attention.head_count_kv", 0, BAD_INPUT, "head_count_kv");
    spoiled_key("llama.attention.head_count_kv", 3, BAD_INPUT, "share");
    spoiled_key("llama.attention.head_count_kv", 8, BAD_INPUT, "share");
    spoiled_key("llama.attention.layer_norm_rms_epsilon", bits(NAN), BAD_INPUT, "epsilon");
    spoiled_key("llama.attention.layer_norm_rms_epsilon", bits(-1), BAD_INPUT, "epsilon");
}

// Renames the second tensor of the model; then what was needed is missing.
static void test_missing(void)
{
    struct file f;
    struct model *m = NULL;
    struct err err = {0};
    make_tiny_model(&f);
    find_bytes(buf_view(&f.buf), "blk.1.ffn_up.weight")[4] = '7';
    write_model(buf_view(&f.buf));
    CHECK(model_open(&m, compute, path, &(struct model_options){0, 1, 8}, &err) == BAD_INPUT);
    CHECK(strstr(err.text, "blk.1.ffn_up.weight") && strstr(err.text, path));
    buf_free(&f.buf);
    CHECK(model_open(&m, compute, "/nowhere/at/all.gguf", &(struct model_options){0, 1, 8}, &err) ==
          NOT_FOUND);
    CHECK(model_open(&m, compute, "/tmp", &(struct model_options){0, 1, 8}, &err) == BAD_INPUT);
}

int main(void)
{
    struct err err;
    struct file f;
    if (compute_open(&compute, &(struct compute_options){"cpu", 2}, &err) != OK)
        die("%s", err.text);
    int fd = mkstemp(path);
    if (fd < 0)
        die("no temporary file");
    close(fd);
    make_tiny_model(&f);
    write_model(buf_view(&f.buf));
    buf_free(&f.buf);
    test_batches();
    test_largest();
    test_rules();
    test_lies();
    test_missing();
    unlink(path);
    compute_close(compute);
    return check_done("model_forward");
}
