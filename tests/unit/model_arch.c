// model_arch.c - what a file may say of an architecture: numbers a layer, tensors too many and too
// few, others' tensors, architectures nobody knows. Each refusal names what was found.
#include "check.h"
#include "model_fixture.h"

#include <fcntl.h>
#include <unistd.h>

static struct compute *compute;
static char path[] = "/tmp/model_arch.XXXXXX";

static void write_model(const struct file *f)
{
    struct bytes file = buf_view(&f->buf);
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    if (fd < 0 || write(fd, file.p, file.n) != (ssize_t)file.n)
        die("%s cannot be written", path);
    close(fd);
}

// Opens what was made; expects the status and, when it fails, all of the words.
static void opens(struct file *f, enum status status, const char *const *words, size_t n_words,
                  const char *what)
{
    struct model *m = NULL;
    struct err err = {0};
    write_model(f);
    enum status got = model_open(&m, compute, path, &(struct model_options){0, 1, 8}, &err);
    bool good = got == status;
    for (size_t i = 0; i < n_words && got != OK; i++)
        good = good && strstr(err.text, words[i]);
    if (!CHECK(good))
        fprintf(stderr, "    %s: %s: \"%s\"\n", what, status_name(got), err.text);
    if (got == OK)
        model_close(m);
    buf_free(&f->buf);
}
#define OPENS(f, status, ...)                                                                      \
    opens(f, status, (const char *const[]){__VA_ARGS__},                                           \
          COUNT_OF(((const char *const[]){__VA_ARGS__})), __func__)

// ---- numbers a layer ----------------------------------------------------------------------------

static int32_t n_items;
static uint32_t items[8], item_type;

static void array_hyper(struct file *f, const char *array, const char *scalar, uint32_t value)
{
    add_other_hyper(f);
    key_u32(f, scalar, value);
    array_begin(f, array, item_type, (uint64_t)n_items);
    for (int32_t i = 0; i < n_items; i++)
        if (item_type == GGUF_BOOL)
            put(f, &items[i], 1);
        else
            put_u32(f, items[i]);
}
static void heads_hyper(struct file *f)
{
    array_hyper(f, "llama.attention.head_count_kv", "llama.feed_forward_length", TINY_FF);
}
static void ff_hyper(struct file *f)
{
    array_hyper(f, "llama.feed_forward_length", "llama.attention.head_count_kv", TINY_KV);
}

static void test_arrays(void)
{
    struct file f;
    item_type = GGUF_U32;
    for (int32_t i = 0; i < 8; i++)
        items[i] = TINY_KV;
    for (n_items = 0; n_items <= TINY_LAYER + 1; n_items++) {
        make_model_with(&f, heads_hyper, NULL);
        if (n_items >= TINY_LAYER)
            OPENS(&f, OK, "");
        else
            OPENS(&f, BAD_INPUT, "llama.attention.head_count_kv", "2 layers");
    }
    n_items = TINY_LAYER;
    items[1] = 1; // the second layer has fewer heads than its tensors
    make_model_with(&f, heads_hyper, NULL);
    OPENS(&f, BAD_INPUT, "blk.1.attn_k.weight", "32 x 16", "32 x 8");
    items[1] = 0;
    make_model_with(&f, heads_hyper, NULL);
    OPENS(&f, BAD_INPUT, "head_count_kv", "layer 1");
    items[1] = 1u << 31;
    make_model_with(&f, heads_hyper, NULL);
    OPENS(&f, BAD_INPUT, "llama.attention.head_count_kv", "layer 1");
    item_type = GGUF_BOOL;
    items[0] = items[1] = 1;
    make_model_with(&f, heads_hyper, NULL);
    OPENS(&f, BAD_INPUT, "blk.0.attn_k.weight"); // truth values are numbers: one head
    item_type = GGUF_F32;
    make_model_with(&f, heads_hyper, NULL);
    OPENS(&f, BAD_INPUT, "llama.attention.head_count_kv", "items of type 6");
    item_type = GGUF_I32;
    items[0] = TINY_FF;
    items[1] = 32;
    make_model_with(&f, ff_hyper, NULL);
    OPENS(&f, BAD_INPUT, "blk.1.ffn_gate.weight");
}

// ---- tensors ------------------------------------------------------------------------------------

static void test_tensors(void)
{
    struct file f;
    make_model_with(&f, add_hyper, "blk.1.attn_q_norm.weight");
    OPENS(&f, UNSUPPORTED, "blk.1.attn_q_norm.weight", "llama");
    make_model_with(&f, add_hyper, "v.blk.0.attn_q.weight");
    OPENS(&f, OK, "");
    make_model_with(&f, add_hyper, "mm.0.weight");
    OPENS(&f, OK, "");
    make_model_with(&f, add_hyper, "mtp.fc.weight");
    OPENS(&f, OK, "");
    make_model_with(&f, add_hyper, "blk.2.nextn.enorm.weight"); // no key tells of such a layer
    OPENS(&f, UNSUPPORTED, "blk.2.nextn.enorm.weight");
    make_model_with(&f, add_hyper, "output.weight");
    OPENS(&f, BAD_INPUT, "output.weight", "32 x 1", "32 x 258");
}

static void nextn_hyper(struct file *f)
{
    add_hyper(f);
    key_u32(f, "llama.nextn_predict_layers", 1);
}

static void test_further_tokens(void)
{
    struct file f;
    struct model *m = NULL;
    struct err err = {0};
    // the second of two layers is not the trunk's, also where nothing is left to predict with
    make_model_with(&f, nextn_hyper, NULL);
    write_model(&f);
    if (CHECK(model_open(&m, compute, path, &(struct model_options){0, 1, 8}, &err) == OK))
        CHECK(model_info(m)->n_layer == 1);
    model_close(m);
    OPENS(&f, OK, "");
}

// ---- architectures ------------------------------------------------------------------------------

static void other_hyper(struct file *f)
{
    key_text(f, "general.architecture", "qwen99");
}

static void test_unknown(void)
{
    struct file f;
    make_model_with(&f, other_hyper, NULL);
    OPENS(&f, UNSUPPORTED, "'qwen99'", "llama", "qwen2", "qwen3moe", ", ... (the README");
}

// ---- recurrent layers ---------------------------------------------------------------------------

static void lfm2_hyper(struct file *f)
{
    key_text(f, "general.architecture", "lfm2");
    key_u32(f, "lfm2.block_count", 2);
    key_u32(f, "lfm2.context_length", 64);
    key_u32(f, "lfm2.embedding_length", TINY_EMBD);
    key_u32(f, "lfm2.feed_forward_length", TINY_FF);
    key_u32(f, "lfm2.attention.head_count", TINY_HEAD);
    array_begin(f, "lfm2.attention.head_count_kv", GGUF_U32, 2);
    put_u32(f, 0);
    put_u32(f, TINY_KV);
    key_u32(f, "lfm2.shortconv.l_cache", 3);
    key_f32(f, "lfm2.attention.layer_norm_rms_epsilon", 1e-5f);
}

enum { LENGTH = 12, SEQS = 3, ALL = SEQS * LENGTH };

struct rows {
    int32_t n, token[ALL], pos[ALL], seq[ALL];
};
static void add_row(struct rows *r, int32_t seq, int32_t pos)
{
    r->token[r->n] = (seq * 91 + pos * 37) % TINY_VOCAB;
    r->pos[r->n] = pos;
    r->seq[r->n++] = seq;
}
static enum status run_rows(struct model *m, const struct rows *r, float *logits)
{
    static uint8_t wanted[ALL];
    struct err err;
    memset(wanted, 1, sizeof(wanted));
    return model_forward(m, &(struct batch){r->n, r->token, r->pos, r->seq, wanted, 0},
                         (struct logits){.value = logits}, &err);
}

// Sequences whose rows alternate, in passes of every size, give what each gives alone; and no
// state goes back but to the beginning.
static void test_recurrent(void)
{
    static float alone[ALL * TINY_VOCAB], got[ALL * TINY_VOCAB];
    struct file f;
    struct model *m = NULL;
    struct err err;
    make_shaped_model(&f, lfm2_hyper, lfm2_shapes, COUNT_OF(lfm2_shapes), NULL);
    write_model(&f);
    buf_free(&f.buf);
    for (int32_t n_batch = 1; n_batch <= ALL; n_batch += 5) {
        struct rows turns = {0};
        if (!CHECK(model_open(&m, compute, path, &(struct model_options){32, SEQS, n_batch},
                              &err) == OK))
            die("%s", err.text);
        for (int32_t s = 0; s < SEQS; s++) {
            struct rows one = {0};
            for (int32_t i = 0; i < LENGTH; i++)
                add_row(&one, s, i);
            CHECK(run_rows(m, &one, alone + s * LENGTH * TINY_VOCAB) == OK);
        }
        for (int32_t i = 0; i < LENGTH; i++)
            for (int32_t s = 0; s < SEQS; s++)
                add_row(&turns, s, i);
        CHECK(run_rows(m, &turns, got) == OK);
        for (int32_t i = 0; i < LENGTH; i++)
            for (int32_t s = 0; s < SEQS; s++)
                for (int32_t k = 0; k < TINY_VOCAB; k += 7) {
                    float a = alone[(s * LENGTH + i) * TINY_VOCAB + k],
                          b = got[(i * SEQS + s) * TINY_VOCAB + k];
                    CHECK(a - b < 1e-3f && b - a < 1e-3f);
                }
        struct rows back = {0}, first = {0}, next = {0};
        add_row(&back, 0, LENGTH - 2);
        add_row(&first, 0, 0);
        add_row(&next, 0, 1);
        CHECK(model_keeps(m, 0, LENGTH - 2) == 0 && model_keeps(m, 0, LENGTH) == LENGTH);
        CHECK(run_rows(m, &back, got) == BAD_INPUT);
        CHECK(run_rows(m, &first, got) == OK && run_rows(m, &next, got) == OK);
        model_close(m);
    }
}

int main(void)
{
    struct err err;
    if (compute_open(&compute, &(struct compute_options){"cpu", 2}, &err) != OK)
        die("%s", err.text);
    int fd = mkstemp(path);
    if (fd < 0)
        die("no temporary file");
    close(fd);
    test_arrays();
    test_tensors();
    test_further_tokens();
    test_unknown();
    test_recurrent();
    unlink(path);
    compute_close(compute);
    return check_done("model_arch");
}
