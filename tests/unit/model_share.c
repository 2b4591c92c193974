// model_share.c - real passes over shared pages, windows and states: a text that forks, is cut back
// or comes from bytes that were taken out goes on as if it had been computed alone, on the
// processor and on lavapipe. Passes have other rows side by side than the text alone has, which
// changes the order of sums: logits of a few units may differ by 1e-3.
#include "check.h"
#include "model/model.h"
#include "model_fixture.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CTX = 1024, LENGTH = 700, CUT = 600, SNAPSHOT = 500, PASS = 128, CHECKED = 20 };

static char path[] = "/tmp/model_share.XXXXXX";
static const char *device;
static int32_t text[LENGTH], other[LENGTH]; // they differ from SNAPSHOT on
static double limit;
static float want[CHECKED * TINY_VOCAB], got[CHECKED * TINY_VOCAB];

// ---- models -------------------------------------------------------------------------------------

static bool odd_heads; // in the second layer

static void hyper_of(struct file *f, const char *arch)
{
    static const char *const names[] = {"block_count", "context_length", "embedding_length",
                                        "feed_forward_length"};
    const uint32_t values[] = {TINY_LAYER, CTX, TINY_EMBD, TINY_FF};
    char key[96];
    key_text(f, "general.architecture", arch);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        snprintf(key, sizeof(key), "%s.%s", arch, names[i]);
        key_u32(f, key, values[i]);
    }
    snprintf(key, sizeof(key), "%s.attention.head_count", arch);
    array_begin(f, key, GGUF_U32, TINY_LAYER);
    put_u32(f, TINY_HEAD), put_u32(f, odd_heads ? TINY_HEAD - 1 : TINY_HEAD);
    snprintf(key, sizeof(key), "%s.attention.layer_norm_rms_epsilon", arch);
    key_f32(f, key, 1e-5f);
}

static void llama_hyper(struct file *f)
{
    hyper_of(f, "llama");
    key_u32(f, "llama.attention.head_count_kv", TINY_KV);
}

static void gemma2_hyper(struct file *f) // the first of two layers has a window
{
    hyper_of(f, "gemma2");
    key_u32(f, "gemma2.attention.head_count_kv", TINY_KV);
    key_u32(f, "gemma2.attention.sliding_window", 100);
}
static const struct shape gemma2_shapes[] = {
    {"token_embd.weight", TINY_EMBD, TINY_VOCAB},
    {"output_norm.weight", TINY_EMBD, 1},
    {"blk.%d.attn_norm.weight", TINY_EMBD, 1},
    {"blk.%d.ffn_norm.weight", TINY_EMBD, 1},
    {"blk.%d.post_attention_norm.weight", TINY_EMBD, 1},
    {"blk.%d.post_ffw_norm.weight", TINY_EMBD, 1},
    {"blk.%d.attn_q.weight", TINY_EMBD, TINY_EMBD},
    {"blk.%d.attn_k.weight", TINY_EMBD, TINY_EMBD / 2},
    {"blk.%d.attn_v.weight", TINY_EMBD, TINY_EMBD / 2},
    {"blk.%d.attn_output.weight", TINY_EMBD, TINY_EMBD},
    {"blk.%d.ffn_gate.weight", TINY_EMBD, TINY_FF},
    {"blk.%d.ffn_up.weight", TINY_EMBD, TINY_FF},
    {"blk.%d.ffn_down.weight", TINY_FF, TINY_EMBD},
};

static void lfm2_hyper(struct file *f) // a recurrent layer, then one of attention
{
    hyper_of(f, "lfm2");
    array_begin(f, "lfm2.attention.head_count_kv", GGUF_U32, 2);
    put_u32(f, 0);
    put_u32(f, TINY_KV);
    key_u32(f, "lfm2.shortconv.l_cache", 3);
}

// A delta net that first reads a table by the last three tokens, then attention that sees 8 blocks
// of 4 positions and what is behind them, on two residual streams.
enum { LOW = 32, STATE = 16, INDEX = 16, TABLE = 50 };
static void qwen4exp_hyper(struct file *f)
{
    static const struct {
        const char *key;
        uint32_t value;
    } numbers[] = {
        {"attention.head_count_kv", TINY_KV},
        {"ssm.conv_kernel", 4},
        {"ssm.inner_size", 2 * STATE},
        {"ssm.state_size", STATE},
        {"ssm.time_step_rank", 2},
        {"ssm.group_count", 1},
        {"full_attention_interval", 2},
        {"expert_count", 1},
        {"expert_used_count", 1},
        {"expert_feed_forward_length", TINY_FF},
        {"expert_shared_feed_forward_length", TINY_FF},
        {"hyper_connection.count", 2},
        {"hyper_connection.low_rank", LOW},
        {"attention.indexer.head_count", 2},
        {"attention.indexer.key_length", INDEX},
        {"attention.indexer.top_k", 32},
        {"ple.ngram_size", 3},
        {"ple.heads_per_ngram", 1},
        {"ple.conv_kernel", 4},
        {"ple.eos_token_id", 40},
        {"embedding_length_per_layer_input", TINY_EMBD / 2},
    };
    char key[96];
    hyper_of(f, "qwen4exp");
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        snprintf(key, sizeof(key), "qwen4exp.%s", numbers[i].key);
        key_u32(f, key, numbers[i].value);
    }
    array_begin(f, "qwen4exp.attention.compress_ratios", GGUF_U32, 2);
    put_u32(f, 0), put_u32(f, 4);
    array_begin(f, "qwen4exp.ple.layers", GGUF_U32, 1);
    put_u32(f, 0);
    array_begin(f, "qwen4exp.ple.layer_multipliers", GGUF_U64, 3);
    put_u64(f, 0x9e3779b97f4a7c15), put_u64(f, 0xc2b2ae3d27d4eb4f), put_u64(f, 0x165667b19e3779f9);
    array_begin(f, "qwen4exp.ple.head_offsets", GGUF_U64, 2);
    put_u64(f, 0), put_u64(f, 23);
    array_begin(f, "qwen4exp.ple.head_vocab_sizes", GGUF_U64, 2);
    put_u64(f, 23), put_u64(f, 27);
}
#define MIX_SHAPES(name)                                                                           \
    {name "_norm.weight", 2 * TINY_EMBD, 1}, {name "_down.weight", 2 * TINY_EMBD, LOW},            \
    {                                                                                              \
        name "_up.weight", LOW, 2 * TINY_EMBD                                                      \
    }
static const struct shape qwen4exp_shapes[] = {
    {"token_embd.weight", TINY_EMBD, TINY_VOCAB},
    {"per_layer_token_embd.weight", TINY_EMBD / 2, TABLE},
    MIX_SHAPES("output_hc"),
    MIX_SHAPES("blk.%d.hc_attn"),
    {"blk.%d.hc_attn_inject.weight", 2 * TINY_EMBD, 2},
    MIX_SHAPES("blk.%d.hc_ffn"),
    {"blk.%d.hc_ffn_inject.weight", 2 * TINY_EMBD, 2},
    {"blk.0.attn_qkv.weight", TINY_EMBD, 4 * STATE},
    {"blk.0.attn_gate.weight", TINY_EMBD, 2 * STATE},
    {"blk.0.ssm_conv1d.weight", 4, 4 * STATE},
    {"blk.0.ssm_dt.bias", 2, 1},
    {"blk.0.ssm_a", 2, 1},
    {"blk.0.ssm_norm.weight", STATE, 1},
    {"blk.0.ssm_out.weight", 2 * STATE, TINY_EMBD},
    {"blk.0.ssm_beta.weight", TINY_EMBD, 2},
    {"blk.0.ssm_alpha.weight", TINY_EMBD, 2},
    {"blk.0.ple_key.weight", TINY_EMBD, 2 * TINY_EMBD},
    {"blk.0.ple_value.weight", TINY_EMBD, TINY_EMBD},
    {"blk.0.ple_norm_key.weight", 2 * TINY_EMBD, 1},
    {"blk.0.ple_norm_query.weight", 2 * TINY_EMBD, 1},
    {"blk.0.ple_norm_conv.weight", 2 * TINY_EMBD, 1},
    {"blk.0.ple_conv1d.weight", 4, 2 * TINY_EMBD},
    {"blk.1.attn_q.weight", TINY_EMBD, 2 * TINY_EMBD},
    {"blk.1.attn_k.weight", TINY_EMBD, TINY_EMBD / 2},
    {"blk.1.attn_v.weight", TINY_EMBD, TINY_EMBD / 2},
    {"blk.1.attn_output.weight", TINY_EMBD, TINY_EMBD},
    {"blk.1.attn_q_norm.weight", TINY_EMBD / TINY_HEAD, 1},
    {"blk.1.attn_k_norm.weight", TINY_EMBD / TINY_HEAD, 1},
    {"blk.1.indexer.q_proj.weight", TINY_EMBD, 2 * INDEX},
    {"blk.1.indexer.k_proj.weight", TINY_EMBD, INDEX},
    {"blk.1.indexer.q_norm.weight", INDEX, 1},
    {"blk.1.indexer.k_norm.weight", INDEX, 1},
    {"blk.%d.ffn_gate_inp.weight", TINY_EMBD, 1},
    {"blk.%d.ffn_gate_exps.weight", TINY_EMBD, TINY_FF},
    {"blk.%d.ffn_up_exps.weight", TINY_EMBD, TINY_FF},
    {"blk.%d.ffn_down_exps.weight", TINY_FF, TINY_EMBD},
    {"blk.%d.ffn_gate_shexp.weight", TINY_EMBD, TINY_FF},
    {"blk.%d.ffn_up_shexp.weight", TINY_EMBD, TINY_FF},
    {"blk.%d.ffn_down_shexp.weight", TINY_FF, TINY_EMBD},
    {"blk.%d.ffn_gate_inp_shexp.weight", TINY_EMBD, 1},
};

// Attention to a window, beside it in the first layer to 6 of the rows that stand for 4 positions,
// in the second to all that stand for 128; two residual streams that are mixed by their matrix.
// Two experts, of which in the first layer the token tells the one that it takes. HEAD: a page's
// two rows for 128 positions are no multiple of 16 bytes in Q8_0.
enum { HEAD = 32, LORA = 32, MIX = 8 };
static void deepseek4_hyper(struct file *f)
{
    static const struct {
        const char *key;
        uint32_t value;
    } numbers[] = {
        {"attention.head_count_kv", 1},
        {"attention.key_length", HEAD},
        {"attention.value_length", HEAD},
        {"rope.dimension_count", 8},
        {"attention.sliding_window", 100},
        {"attention.q_lora_rank", LORA},
        {"attention.output_lora_rank", LORA},
        {"attention.output_group_count", 2},
        {"attention.indexer.head_count", 2},
        {"attention.indexer.key_length", INDEX},
        {"attention.indexer.top_k", 6},
        {"hyper_connection.count", 2},
        {"hyper_connection.sinkhorn_iterations", 5},
        {"hash_layer_count", 1},
        {"expert_count", 2},
        {"expert_used_count", 1},
        {"expert_shared_count", 1},
        {"expert_gating_func", 4},
        {"expert_feed_forward_length", TINY_FF},
    };
    char key[96];
    hyper_of(f, "deepseek4");
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        snprintf(key, sizeof(key), "deepseek4.%s", numbers[i].key);
        key_u32(f, key, numbers[i].value);
    }
    key_f32(f, "deepseek4.hyper_connection.epsilon", 1e-6f);
    key_f32(f, "deepseek4.attention.compress_rope_freq_base", 160000);
    array_begin(f, "deepseek4.attention.compress_ratios", GGUF_U32, 2);
    put_u32(f, 4), put_u32(f, 128);
}
#define HYPER_SHAPES(name, n, scales)                                                              \
    {name "_fn.weight", 2 * TINY_EMBD, n}, {name "_scale.weight", scales, 1},                      \
        {name "_base.weight", n, 1}
#define COMPRESS_SHAPES(name, wide, dim, ratio)                                                    \
    {name "_kv.weight", TINY_EMBD, wide}, {name "_gate.weight", TINY_EMBD, wide},                  \
        {name "_ape.weight", wide, ratio}, {name "_norm.weight", dim, 1}
static const struct shape deepseek4_shapes[] = {
    {"token_embd.weight", TINY_EMBD, TINY_VOCAB},
    {"output_norm.weight", TINY_EMBD, 1},
    {"output.weight", TINY_EMBD, TINY_VOCAB},
    HYPER_SHAPES("output_hc", 2, 1),
    HYPER_SHAPES("blk.%d.hc_attn", MIX, 3),
    HYPER_SHAPES("blk.%d.hc_ffn", MIX, 3),
    {"blk.%d.attn_norm.weight", TINY_EMBD, 1},
    {"blk.%d.attn_sinks.weight", TINY_HEAD, 1},
    {"blk.%d.attn_q_a.weight", TINY_EMBD, LORA},
    {"blk.%d.attn_q_a_norm.weight", LORA, 1},
    {"blk.%d.attn_q_b.weight", LORA, TINY_HEAD *HEAD},
    {"blk.%d.attn_kv.weight", TINY_EMBD, HEAD},
    {"blk.%d.attn_kv_a_norm.weight", HEAD, 1},
    {"blk.%d.attn_output_a.weight", TINY_HEAD *HEAD / 2, 2 * LORA},
    {"blk.%d.attn_output_b.weight", 2 * LORA, TINY_EMBD},
    COMPRESS_SHAPES("blk.0.attn_compressor", 2 * HEAD, HEAD, 4),
    COMPRESS_SHAPES("blk.1.attn_compressor", HEAD, HEAD, 128),
    COMPRESS_SHAPES("blk.0.indexer_compressor", 2 * INDEX, INDEX, 4),
    {"blk.0.indexer.proj.weight", TINY_EMBD, 2},
    {"blk.0.indexer.attn_q_b.weight", LORA, 2 * INDEX},
    {"blk.%d.ffn_norm.weight", TINY_EMBD, 1},
    {"blk.%d.ffn_gate_inp.weight", TINY_EMBD, 2},
    {"blk.1.exp_probs_b.bias", 2, 1},
    {"blk.%d.ffn_gate_exps.weight", TINY_EMBD, TINY_FF, 2},
    {"blk.%d.ffn_up_exps.weight", TINY_EMBD, TINY_FF, 2},
    {"blk.%d.ffn_down_exps.weight", TINY_FF, TINY_EMBD, 2},
    {"blk.%d.ffn_gate_shexp.weight", TINY_EMBD, TINY_FF},
    {"blk.%d.ffn_up_shexp.weight", TINY_EMBD, TINY_FF},
    {"blk.%d.ffn_down_shexp.weight", TINY_FF, TINY_EMBD},
    {"blk.0.ffn_gate_tid2eid.weight", 1, TINY_VOCAB, .ids = 2}, // the last: test_hashed
};

static void write_to(const char *to, const struct file *f)
{
    int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, f->buf.p, f->buf.n) != (ssize_t)f->buf.n)
        die("%s cannot be written", to);
    close(fd);
}

static void write_model(const struct file *f)
{
    write_to(path, f);
}

// ---- passes -------------------------------------------------------------------------------------

struct part { // of a pass: the positions of a sequence up to `end`
    int32_t seq, end;
    const int32_t *token;
};

// Until each of n sequences has got to its end; the logits of the first one's last rows.
static void go_on(struct model *m, const struct part *parts, int32_t n, float *logits)
{
    static float all[PASS * TINY_VOCAB];
    static uint8_t wanted[PASS];
    int32_t token[PASS], pos[PASS], seq[PASS];
    struct err err = {0};
    for (int32_t rows = 1; rows > 0;) {
        rows = 0;
        for (int32_t i = 0; i < n; i++) {
            const int32_t held = model_held(m, parts[i].seq), left = parts[i].end - held,
                          most = PASS / n, take = left < most ? left : most;
            for (int32_t k = 0; k < take; k++, rows++) {
                token[rows] = parts[i].token[held + k];
                pos[rows] = held + k;
                seq[rows] = parts[i].seq;
                wanted[rows] = i == 0 && logits && held + k >= parts[i].end - CHECKED;
            }
        }
        if (rows == 0)
            break;
        if (!CHECK(model_forward(m, &(struct batch){rows, token, pos, seq, wanted, 0},
                                 (struct logits){.value = all}, &err) == OK))
            die("%s", err.text);
        const float *from = all;
        for (int32_t r = 0; r < rows; r++)
            if (wanted[r]) {
                const int32_t row = pos[r] - (parts[0].end - CHECKED);
                memcpy(logits + row * TINY_VOCAB, from, TINY_VOCAB * sizeof(*from));
                from += TINY_VOCAB;
            }
        model_check(m);
    }
}

static void check_same(const char *what)
{
    double worst = 0;
    for (int i = 0; i < CHECKED * TINY_VOCAB; i++) {
        const double off = fabs((double)want[i] - (double)got[i]);
        worst = off > worst || isnan(off) ? off : worst;
    }
    if (!CHECK(worst < limit))
        fprintf(stderr, "    %s on %s: off by %g\n", what, device, worst);
}

static void check_go_on(struct model *m, int32_t seq, const char *what)
{
    memset(got, 0, sizeof(got));
    go_on(m, &(struct part){seq, LENGTH, text}, 1, got);
    check_same(what);
}

// ---- the tests ----------------------------------------------------------------------------------

// Sequence 0: the text alone. 1: the text up to CUT, with a snapshot on the way.
static void test_forks(struct model *m, bool anywhere)
{
    go_on(m, &(struct part){0, LENGTH, text}, 1, want);
    go_on(m, &(struct part){1, SNAPSHOT, text}, 1, NULL);
    CHECK(model_snapshot(m, 1) == OK);
    go_on(m, &(struct part){1, CUT, text}, 1, NULL);
    const int64_t room = model_room(m);
    CHECK(model_fork(m, 1, 2, CUT) == CUT && model_room(m) == room);
    // side by side: one as the text goes on, the other not
    memset(got, 0, sizeof(got));
    go_on(m, (struct part[]){{2, LENGTH, text}, {1, LENGTH, other}}, 2, got);
    check_same("a fork beside its origin");
    // back to before they parted
    CHECK(model_keeps(m, 1, 510) == (anywhere ? 510 : SNAPSHOT));
    CHECK(model_fork(m, 1, 3, SNAPSHOT) == SNAPSHOT);
    check_go_on(m, 3, "a fork of what went on otherwise");
    CHECK(model_cut(m, 1, SNAPSHOT) == SNAPSHOT);
    check_go_on(m, 1, "cut back");
    CHECK(model_cut(m, 2, 0) == 0 && model_cut(m, 3, 0) == 0);
    go_on(m, &(struct part){2, LENGTH, text}, 1, got);
    check_same("computed anew in pages that others had");
    for (int32_t seq = 1; seq < 4; seq++)
        CHECK(model_cut(m, seq, 0) == 0);
}

// The pieces of a sequence of n positions that another one, which stands at `at`, becomes.
static void put_all(struct model *m, uint8_t *const *pieces, int32_t n, int32_t seq, int32_t at)
{
    struct err err = {0};
    (void)model_cut(m, seq, 0);
    CHECK(model_place(m, seq, at) == OK && model_held(m, seq) == at);
    for (int32_t i = 0; i + 1 < model_pieces(at); i++)
        CHECK(model_piece_put(m, seq, n, i, pieces[i], &err) == OK);
    CHECK(model_piece_put(m, seq, at, model_pieces(at) - 1, pieces[model_pieces(n) - 1], &err) ==
          OK);
    model_check(m);
}

static void test_pieces(struct model *m, bool anywhere)
{
    struct err err = {0};
    uint8_t *pieces[8], *again;
    const int32_t n_pieces = model_pieces(CUT);
    CHECK(n_pieces == 4 && model_identity(m) != 0);
    go_on(m, &(struct part){1, CUT, text}, 1, NULL);
    for (int32_t i = 0; i < n_pieces; i++) {
        const size_t n = model_piece_bytes(m, CUT, i);
        CHECK(n > 0 || (anywhere && i == n_pieces - 1));
        pieces[i] = mem_alloc(n + 1);
        pieces[i][n] = 0x5a;
        CHECK(model_piece_take(m, 1, i, pieces[i], &err) == OK);
        CHECK(pieces[i][n] == 0x5a);
        again = mem_alloc(n + 1);
        CHECK(model_piece_take(m, 1, i, again, &err) == OK && memcmp(again, pieces[i], n) == 0);
        free(again);
    }
    go_on(m, &(struct part){1, LENGTH, other}, 1, NULL);
    put_all(m, pieces, CUT, 4, CUT);
    check_go_on(m, 4, "from pieces");
    if (anywhere) {
        put_all(m, pieces, CUT, 4, SNAPSHOT + 7);
        check_go_on(m, 4, "from a part of the pieces");
    }
    // a byte that is another one is seen in what follows: it is the pieces that are read
    for (size_t k = 0; k < model_piece_bytes(m, CUT, 0) / 2; k += 2)
        pieces[0][k + 1] ^= 0x40;
    put_all(m, pieces, CUT, 4, CUT);
    memset(got, 0, sizeof(got));
    go_on(m, &(struct part){4, LENGTH, text}, 1, got);
    CHECK(memcmp(got, want, sizeof(got)) != 0);
    (void)model_cut(m, 4, 0);
    for (int32_t i = 0; i < n_pieces; i++)
        free(pieces[i]);
}

// What decides what the bytes mean is in the identity.
static void test_identity(struct model *m, struct compute *compute, struct file *f)
{
    const struct model_options options = {.n_ctx = CTX, .n_seq = 14, .n_batch = PASS, .n_held = 2};
    const uint64_t first = model_identity(m);
    struct err err = {0};
    for (int what = 0; what < 3; what++) {
        struct model *another = NULL;
        if (what == 1) // written again
            CHECK(utimensat(AT_FDCWD, path, (struct timespec[2]){{1, 2}, {1, 2}}, 0) == 0);
        if (what == 2) { // another training of the same architecture
            f->buf.p[f->buf.n - TINY_EMBD * TINY_FF * 2] ^= 1;
            write_model(f);
        }
        if (CHECK(model_open(&another, compute, path, &options, &err) == OK))
            CHECK((model_identity(another) == first) == (what == 0));
        model_close(another);
    }
}

static void test_model(struct compute *compute, void (*hyper)(struct file *f),
                       const struct shape *shapes, size_t n_shapes, bool anywhere, bool q8_0)
{
    const struct model_options options = {
        .n_ctx = CTX, .n_seq = 14, .n_batch = PASS, .n_held = 2, .kv_q8_0 = q8_0};
    struct err err = {0};
    struct file f;
    struct model *m = NULL;
    limit = q8_0 ? 2e-2 : 1e-3;
    make_shaped_model(&f, hyper, shapes, n_shapes, NULL);
    write_model(&f);
    if (!CHECK(model_open(&m, compute, path, &options, &err) == OK))
        die("%s", err.text);
    CHECK(model_info(m)->needs_snapshots == !anywhere);
    test_forks(m, anywhere);
    test_pieces(m, anywhere);
    if (!q8_0)
        test_identity(m, compute, &f);
    model_close(m);
    buf_free(&f.buf);
}

// All layers of this architecture have experts: a file that says otherwise has no tensors for it.
static void qwen4exp_dense_hyper(struct file *f)
{
    qwen4exp_hyper(f);
    key_u32(f, "qwen4exp.leading_dense_block_count", 1);
}

static void test_dense(struct compute *compute)
{
    const struct model_options options = {.n_ctx = CTX, .n_seq = 1, .n_batch = PASS};
    struct err err = {0};
    struct file f;
    struct model *m = NULL;
    make_shaped_model(&f, qwen4exp_dense_hyper, qwen4exp_shapes, COUNT_OF(qwen4exp_shapes), NULL);
    write_model(&f);
    CHECK(model_open(&m, compute, path, &options, &err) == UNSUPPORTED &&
          strstr(err.text, "leading_dense_block_count': layer 0 has no experts"));
    buf_free(&f.buf);
}

static void deepseek4_first_hyper(struct file *f)
{
    deepseek4_hyper(f);
    key_u32(f, "split.no", 0);
    key_u32(f, "split.count", 2);
    key_u32(f, "split.tensors.count", 1000);
}

// The table of experts by the token: a number that is no expert's, another format, and in a part
// that is missing, where it is thought to be as it must be.
static void test_hashed(struct compute *compute)
{
    const struct model_options options = {.n_ctx = CTX, .n_seq = 1, .n_batch = PASS};
    const size_t last = COUNT_OF(deepseek4_shapes) - 1;
    static const char first[] = "/tmp/model_share-00001-of-00002.gguf";
    static struct model_info info;
    struct shape shapes[COUNT_OF(deepseek4_shapes)];
    struct err err = {0};
    struct file f;
    struct model *m = NULL;
    memcpy(shapes, deepseek4_shapes, sizeof(shapes));
    shapes[last].ids = 3;
    make_shaped_model(&f, deepseek4_hyper, shapes, COUNT_OF(shapes), NULL);
    write_model(&f);
    CHECK(model_open(&m, compute, path, &options, &err) == BAD_INPUT &&
          strstr(err.text, "ffn_gate_tid2eid") && strstr(err.text, "is expert 2 of 2"));
    buf_free(&f.buf);
    shapes[last].ids = 0;
    make_shaped_model(&f, deepseek4_hyper, shapes, COUNT_OF(shapes), NULL);
    write_model(&f);
    CHECK(model_open(&m, compute, path, &options, &err) == UNSUPPORTED &&
          strstr(err.text, "tid2eid.weight' is stored as F32; expected I32"));
    buf_free(&f.buf);
    odd_heads = true;
    make_shaped_model(&f, deepseek4_hyper, deepseek4_shapes, COUNT_OF(deepseek4_shapes), NULL);
    odd_heads = false;
    write_model(&f);
    CHECK(model_open(&m, compute, path, &options, &err) == BAD_INPUT &&
          strstr(err.text, "output_group_count': 3 heads of layer 1 in 2 groups"));
    buf_free(&f.buf);
    make_shaped_model(&f, deepseek4_first_hyper, shapes, last, NULL);
    write_to(first, &f);
    if (!CHECK(model_plan(&info, compute, first, &options, &err) == OK))
        fprintf(stderr, "    %s\n", err.text);
    CHECK(info.n_parts_missing == 1);
    unlink(first);
    buf_free(&f.buf);
}

// No buffer holds more than one expert, or the rows of one group of heads: the same text, after
// test_model on that device.
static void test_split(void)
{
    const struct compute_options split = {
        .device = "llvmpipe", .n_threads = 2, .weight_buffer_bytes = 8192};
    const struct model_options options = {.n_ctx = CTX, .n_seq = 1, .n_batch = PASS};
    struct compute *compute;
    struct model *m = NULL;
    struct err err = {0};
    struct file f;
    if (!CHECK(compute_open(&compute, &split, &err) == OK))
        die("%s", err.text);
    make_shaped_model(&f, deepseek4_hyper, deepseek4_shapes, COUNT_OF(deepseek4_shapes), NULL);
    write_model(&f);
    if (!CHECK(model_open(&m, compute, path, &options, &err) == OK))
        die("%s", err.text);
    check_go_on(m, 0, "weights in many buffers");
    model_close(m);
    compute_close(compute);
    buf_free(&f.buf);
}

int main(void)
{
    static const char *const devices[] = {"cpu", "llvmpipe"};
    int fd = mkstemp(path);
    struct err err = {0};
    if (fd < 0)
        die("no file");
    close(fd);
    for (int32_t i = 0; i < LENGTH; i++) {
        text[i] = (i * 37 + i / 11) % (TINY_VOCAB - 2);
        other[i] = i < SNAPSHOT ? text[i] : (i * 53 + 5) % (TINY_VOCAB - 2);
    }
    for (size_t d = 0; d < COUNT_OF(devices); d++) {
        struct compute *compute;
        device = devices[d];
        if (!CHECK(compute_open(&compute,
                                &(struct compute_options){.device = device, .n_threads = 2},
                                &err) == OK))
            die("%s", err.text);
        test_model(compute, llama_hyper, tiny_shapes, COUNT_OF(tiny_shapes), true, false);
        test_model(compute, gemma2_hyper, gemma2_shapes, COUNT_OF(gemma2_shapes), false, false);
        test_model(compute, lfm2_hyper, lfm2_shapes, COUNT_OF(lfm2_shapes), false, false);
        test_model(compute, qwen4exp_hyper, qwen4exp_shapes, COUNT_OF(qwen4exp_shapes), false,
                   false);
        if (d == 0) // rows of the other device are a multiple of 16 bytes
            test_model(compute, deepseek4_hyper, deepseek4_shapes, COUNT_OF(deepseek4_shapes),
                       false, true);
        test_model(compute, deepseek4_hyper, deepseek4_shapes, COUNT_OF(deepseek4_shapes), false,
                   false);
        test_hashed(compute);
        test_dense(compute);
        compute_close(compute);
    }
    test_split();
    unlink(path);
    return check_done("model_share");
}
