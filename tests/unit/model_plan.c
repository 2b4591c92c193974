// model_plan.c - the plan: which context `auto` picks by the memory there is, what is refused with
// which words, a head without its tensors, and predicted against really taken bytes.
#include "check.h"
#include "model/arch.h"
#include "model_fixture.h"

#include <fcntl.h>
#include <unistd.h>

#define MIB (1ull << 20)
#define GIB (1ull << 30)

static struct compute *compute;
static char path[] = "/tmp/model_plan.XXXXXX";

// An 8B model: 32 layers, 8 heads of 128 kept as F16, 128 KiB a token; 4.5 GiB of weights.
static struct model_plan plan_8b(uint64_t free_bytes, int32_t asked, int32_t n_seq)
{
    return (struct model_plan){
        .n_ctx_asked = asked,
        .n_ctx_train = 40960,
        .n_seq = n_seq,
        .weight_bytes = 4608 * MIB,
        .pass_bytes = 80 * MIB,
        .spare_bytes = 48 * MIB,
        .n_batch = 512,
        .n_pools = 1,
        .pools = {{0, {131072, 131072 * 34 / 64}, {INT32_MAX, INT32_MAX}}},
        .free_bytes = free_bytes,
        .system_bytes = free_bytes / 16,
    };
}

static int32_t settled(struct model_plan plan)
{
    plan_settle(&plan);
    CHECK(plan.fits && plan.why[0]);
    // whole pages: a context, and a quarter of one for each further sequence
    const uint64_t whole = ((uint64_t)plan.n_ctx + 255) / 256,
                   pages = whole + (whole + 3) / 4 * (uint64_t)(plan.n_seq - 1);
    CHECK(plan.cache_bytes == plan.pools[0].token_bytes[plan.kv_q8_0] * pages * 256);
    CHECK(plan.pool_tokens == pages * 256);
    CHECK(plan.free_bytes == 0 || plan.weight_bytes + plan.pass_bytes + plan.spare_bytes +
                                          plan.cache_bytes + plan.system_bytes <=
                                      plan.free_bytes);
    CHECK(plan.is_short ==
          (plan.n_ctx < 16384 && plan.n_ctx < plan.n_ctx_train && plan.n_ctx_asked == CTX_AUTO));
    CHECK(!plan.is_short == !plan.advice[0]);
    return plan.n_ctx;
}

static void test_auto(void)
{
    struct model_plan plan;
    // all that it was trained for: 1.75 x 40960 x 128 KiB are 8.75 GiB
    CHECK(settled(plan_8b(64 * GIB, CTX_AUTO, 4)) == 40960);
    // 12 GiB: 11.25 less 4.625 leave 6.625 GiB, 212 pages of 32 MiB: 121 and three times 31 are too
    // many, 120 and three times 30 are 210
    CHECK(settled(plan_8b(12 * GIB, CTX_AUTO, 4)) == 120 * 256);
    CHECK(settled(plan_8b(12 * GIB, CTX_AUTO, 1)) == 40960);
    // 8 GiB: 2.875 GiB are 92 pages: 52 and three times 13 are 91
    plan = plan_8b(8 * GIB, CTX_AUTO, 4);
    CHECK(settled(plan) == 52 * 256);
    plan_settle(&plan);
    CHECK(plan.is_short && strstr(plan.why, "of weights and scratch, in 8.0 GiB free"));
    // with pages of 17 MiB 173: 98 and three times 25
    CHECK_TEXT(plan.advice,
               "ctx = 25088 with kv-type = q8_0, or ctx = 40960 with kv-type = q8_0 and "
               "parallel = 1");
    plan.kv_q8_0 = true;
    CHECK(settled(plan) == 25088);
    // a device that does not tell
    CHECK(settled(plan_8b(0, CTX_AUTO, 4)) == 40960);
    // a buffer that holds fewer rows than memory does
    plan = plan_8b(64 * GIB, CTX_AUTO, 4);
    plan.pools[0].rows_most[0] = 20000; // 78 pages: 44 and three times 11 are 77
    CHECK(settled(plan) == 44 * 256);
}

// A model that is not here gets what the same one would that is.
static void test_shape(void)
{
    const struct model_shape shape = {
        .weight_bytes = 4608 * MIB, .n_ctx_train = 40960, .numbers = 65536};
    for (uint64_t gib = 4; gib <= 64; gib += 4)
        for (int32_t n_seq = 1; n_seq <= 4; n_seq += 3) {
            struct model_plan here = plan_8b(gib * GIB, CTX_AUTO, n_seq), there;
            here.pass_bytes = 256 * MIB;
            plan_settle(&here);
            model_shape_plan(
                &there, &shape,
                &(struct model_options){
                    .n_ctx = CTX_AUTO, .n_seq = n_seq, .n_batch = 512, .memory_bytes = gib * GIB});
            CHECK(there.fits == here.fits && there.n_ctx == here.n_ctx &&
                  model_plan_bytes(&there) == model_plan_bytes(&here));
            CHECK(there.fits == (gib > 4)); // 4 GiB are fewer than the weights
        }
    // 12 layers that see all and 12 that see 128 tokens: only the first grow with the context
    const struct model_shape two = {.weight_bytes = GIB,
                                    .n_ctx_train = 131072,
                                    .numbers = 12288,
                                    .window_numbers = 12288,
                                    .window = 128,
                                    .state_bytes = 10 * MIB};
    struct model_plan plan;
    model_shape_plan(&plan, &two,
                     &(struct model_options){CTX_AUTO, 1, 512, .memory_bytes = 8 * GIB});
    // a window of 128 in passes of 512 rows is 4 pages; one state
    CHECK(plan.fits && plan.n_ctx == 131072 && plan.token_bytes[0] == 2 * 2 * 12288);
    CHECK(plan.cache_bytes == 2ull * 12288 * (131072 + 4 * 256) && plan.n_slots == 1);
}

static void test_cap(void)
{
    struct model_plan plan = plan_8b(640 * GIB, CTX_AUTO, 4);
    plan.n_ctx_train = 1 << 20;
    CHECK(settled(plan) == 131072);
    plan_settle(&plan);
    CHECK(strstr(plan.why, "auto: at most 131072") && strstr(plan.why, "trained for 1048576"));
    plan.n_ctx_asked = 0;
    CHECK(settled(plan) == 1 << 20);
    plan.n_ctx_asked = 200000; // who asks for more gets it
    CHECK(settled(plan) == 200000);
    plan_settle(&plan);
    CHECK_TEXT(plan.why, "as asked for");
    plan.n_ctx_asked = 2000000;
    CHECK(settled(plan) == 1 << 20);
    plan_settle(&plan);
    CHECK(strstr(plan.why, "2000000 was asked for") && strstr(plan.why, "trained for 1048576"));
    // a model that was trained for little has that, wherever it fits
    plan = plan_8b(5 * GIB, CTX_AUTO, 4);
    plan.weight_bytes = 5 * MIB;
    plan.n_ctx_train = 1000;
    CHECK(settled(plan) == 1000);
}

// Most layers see 1024 tokens only: their rows are what 4 sequences, and as many that are held, see
// and write in a pass of 512, 8 pages each. States: 32 beside the sequences', or what a sixteenth
// of the memory holds.
static void test_windows_and_states(void)
{
    struct model_plan plan = plan_8b(64 * GIB, 32768, 4);
    plan.n_held = 32;
    plan.n_pools = 2;
    plan.pools[1] = (struct model_plan_pool){1024, {65536, 65536}, {INT32_MAX, INT32_MAX}};
    plan.slot_bytes = 16 * MIB;
    plan_settle(&plan);
    CHECK(plan.fits && plan.n_slots == 4 + 32 && plan.pool_tokens == 32768 * 7 / 4);
    CHECK(plan.cache_bytes == 32768ull * 7 / 4 * 131072 + 2 * 4 * 8 * 256 * 65536ull);
    plan.free_bytes = 12 * GIB;
    plan.slot_bytes = 100 * MIB;
    plan_settle(&plan);
    CHECK(plan.n_slots == 4 + 7);
    plan.slot_bytes = 400 * MIB;
    plan_settle(&plan);
    CHECK(plan.n_slots == 4 + 4);
    plan.n_ctx_asked = 512; // no longer than the window: no more than layers without one
    plan_settle(&plan);
    CHECK(plan.cache_bytes == 5 * 256 * (131072ull + 65536));
}

static void test_refused(void)
{
    struct err err = {0};
    // 6 GiB: 1 GiB is left, 32 pages, 17 and three times 5: it still runs
    CHECK(settled(plan_8b(6 * GIB, CTX_AUTO, 4)) == 17 * 256);
    // 5200 MiB: 4875 less 4736 are 139 MiB, 4 pages: not enough for 1024 tokens and three quarters
    struct model_plan plan = plan_8b(5200 * MIB, CTX_AUTO, 4);
    plan_settle(&plan);
    CHECK(!plan.fits && plan.n_ctx == 1024);
    CHECK(plan_refuse(&plan, &err) == NO_ROOM);
    CHECK_TEXT(
        err.text,
        "4.8 GiB wanted (weights 4.5 GiB, keys and values of 1792 tokens 224 MiB, scratch "
        "128 MiB); 5.1 GiB are free, 325 MiB of them the system's; what fits: ctx = 256, or "
        "ctx = 1024 with kv-type = q8_0, or ctx = 2048 with kv-type = q8_0 and parallel = 1");
    // a context that was asked for and is a step too much; one that fits to the token
    plan = plan_8b(12 * GIB, 30721, 4);
    plan_settle(&plan);
    CHECK(!plan.fits && strncmp(plan.advice, "ctx = 30720, or ", 16) == 0);
    CHECK(settled(plan_8b(12 * GIB, 30720, 4)) == 30720);
    // not even the weights
    plan = plan_8b(4 * GIB, CTX_AUTO, 1);
    plan_settle(&plan);
    CHECK(!plan.fits && strstr(plan.advice, "a smaller model"));
    // numbers that no memory has
    plan = plan_8b(16 * GIB, 0, 4096);
    plan.weight_bytes = UINT64_MAX - 5;
    plan.pools[0].token_bytes[0] = UINT64_MAX / 2;
    plan_settle(&plan);
    CHECK(!plan.fits && plan.cache_bytes == UINT64_MAX);
    CHECK(plan_refuse(&plan, &err) == NO_ROOM && strstr(err.text, "a smaller model"));
}

// ---- files --------------------------------------------------------------------------------------

struct sizes {
    uint32_t n_layer, n_embd, n_ff, n_head, n_head_kv, n_ctx;
};

// The head of a llama; returns how long its data is.
static uint64_t make_head(struct file *f, const struct sizes *s)
{
    const uint64_t kv = s->n_embd / s->n_head * s->n_head_kv;
    const struct shape shapes[] = {
        {"attn_norm.weight", s->n_embd, 1},      {"ffn_norm.weight", s->n_embd, 1},
        {"attn_q.weight", s->n_embd, s->n_embd}, {"attn_k.weight", s->n_embd, kv},
        {"attn_v.weight", s->n_embd, kv},        {"attn_output.weight", s->n_embd, s->n_embd},
        {"ffn_gate.weight", s->n_embd, s->n_ff}, {"ffn_up.weight", s->n_embd, s->n_ff},
        {"ffn_down.weight", s->n_ff, s->n_embd},
    };
    uint64_t offset = 0;
    char name[64];
    file_begin(f);
    key_text(f, "general.architecture", "llama");
    key_u32(f, "llama.block_count", s->n_layer);
    key_u32(f, "llama.context_length", s->n_ctx);
    key_u32(f, "llama.embedding_length", s->n_embd);
    key_u32(f, "llama.feed_forward_length", s->n_ff);
    key_u32(f, "llama.attention.head_count", s->n_head);
    key_u32(f, "llama.attention.head_count_kv", s->n_head_kv);
    key_f32(f, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    add_vocabulary(f, "gpt-2", NULL, 0, NULL, 0);
    add_tensor(f, "token_embd.weight", DTYPE_F32, s->n_embd, TINY_VOCAB, offset);
    offset += (uint64_t)s->n_embd * TINY_VOCAB * 4;
    add_tensor(f, "output_norm.weight", DTYPE_F32, s->n_embd, 1, offset);
    offset += (uint64_t)s->n_embd * 4;
    for (uint32_t i = 0; i < s->n_layer; i++)
        for (size_t k = 0; k < COUNT_OF(shapes); k++) {
            snprintf(name, sizeof(name), "blk.%u.%s", i, shapes[k].name);
            add_tensor(f, name, DTYPE_F32, shapes[k].cols, shapes[k].rows, offset);
            offset += shapes[k].cols * shapes[k].rows * 4;
        }
    file_counts(f);
    file_pad(f, 32);
    return offset;
}

// n_more bytes of zeros behind the head.
static void write_file(const struct file *f, uint64_t n_more)
{
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    if (fd < 0 || write(fd, f->buf.p, f->buf.n) != (ssize_t)f->buf.n ||
        ftruncate(fd, (off_t)(f->buf.n + n_more)) != 0)
        die("%s cannot be written", path);
    close(fd);
}

static uint64_t taken_bytes(void)
{
    return file_number("/proc/self/status", "VmSize:", 10) * 1024;
}

// A model of the file's head, and then opened: the address space that is really taken.
static void test_predicted(void)
{
    static const struct {
        struct sizes sizes;
        struct model_options options;
    } vectors[] = {
        {{4, 512, 1536, 8, 2, 4096}, {CTX_AUTO, 4, 512, false}},
        {{6, 512, 2048, 8, 8, 8192}, {CTX_AUTO, 2, 256, true}},
        {{3, 1024, 2816, 16, 4, 32768}, {9000, 3, 512, false}},
    };
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        const struct model_options *options = &vectors[i].options;
        struct file file;
        struct err err = {0};
        static struct model_info info;
        struct model *m;
        uint64_t n_data = make_head(&file, &vectors[i].sizes);
        write_file(&file, 0);
        CHECK(model_plan(&info, compute, path, options, &err) == OK);
        CHECK(info.whole_bytes == info.file_bytes + n_data);
        CHECK(model_open(&m, compute, path, options, &err) == BAD_INPUT); // the tensors are wanted
        CHECK(strstr(err.text, "are missing"));
        write_file(&file, n_data);
        const struct model_plan *plan = &info.plan;
        uint64_t predicted = plan->weight_bytes + plan->cache_bytes + plan->pass_bytes,
                 before = taken_bytes();
        if (!CHECK(model_open(&m, compute, path, options, &err) == OK))
            return;
        uint64_t taken = taken_bytes() - before;
        double off = 100 * ((double)predicted / (double)taken - 1);
        CHECK(off > -5 && off < 5);
        printf("model_plan: shape %zu: %.1f MiB predicted, %.1f MiB taken: %+.1f %%\n", i,
               (double)predicted / MIB, (double)taken / MIB, off);
        CHECK(model_info(m)->n_ctx == plan->n_ctx && model_info(m)->kv_bytes == m->kv.n_bytes);
        model_close(m);
        buf_free(&file.buf);
    }
}

// The head of a file of 100 GB: an answer at once, with a vocabulary and without.
static void test_head(void)
{
    const struct sizes sizes = {80, 8192, 28672, 64, 8, 131072};
    struct file file;
    struct err err = {0};
    static struct model_info info;
    struct model *m;
    uint64_t n_data = make_head(&file, &sizes), from_ms = clock_ms();
    write_file(&file, 0);
    const struct model_options options = {CTX_AUTO, 4, 512, false};
    CHECK(model_plan(&info, compute, path, &options, &err) == OK);
    CHECK(info.plan.weight_bytes == n_data && info.n_vocab == TINY_VOCAB);
    CHECK(info.plan.token_bytes[0] == 80 * 2 * 1024 * 2);
    CHECK(info.plan.token_bytes[1] == 80 * 2 * 1024 * 34 / 32);
    // the same where another machine's memory is named
    struct model_options other = options;
    other.memory_bytes = 320 * GIB;
    CHECK(model_plan(&info, compute, path, &other, &err) == OK && info.plan.fits);
    CHECK(info.plan.free_bytes == 320 * GIB && info.plan.system_bytes == 4 * GIB);
    other.memory_bytes = 128 * GIB;
    CHECK(model_plan(&info, compute, path, &other, &err) == OK && !info.plan.fits);
    CHECK(model_plan(&info, compute, path, &options, &err) == OK);
    // the whole of it, refused by its head
    write_file(&file, n_data);
    if (info.plan.fits)
        check_skip("255 GiB of weights", "this machine has room for them");
    else
        CHECK(model_begin(&m, compute, path, &options, &err) == NO_ROOM &&
              strstr(err.text, "a smaller model, or more memory"));
    CHECK(clock_ms() - from_ms < 1000);
    // what is no head stays refused
    file.buf.n /= 2;
    write_file(&file, 0);
    CHECK(model_plan(&info, compute, path, &options, &err) == BAD_INPUT);
    CHECK(model_plan(&info, compute, path, &(struct model_options){-2, 1, 8, false}, &err) ==
          BAD_INPUT);
    buf_free(&file.buf);
    // rows of 16 numbers have no Q8_0
    make_tiny_model(&file);
    write_file(&file, 0);
    CHECK(model_plan(&info, compute, path, &(struct model_options){0, 1, 8, true}, &err) ==
          UNSUPPORTED);
    CHECK(strstr(err.text, "kv-type = f16"));
    CHECK(model_plan(&info, compute, path, &options, &err) == OK && info.plan.n_ctx == 64);
    CHECK(model_plan_largest(&info.plan, true, 1) == 0);
    buf_free(&file.buf);
}

int main(void)
{
    struct err err = {0};
    int fd = mkstemp(path);
    if (fd < 0 || compute_open(&compute, &(struct compute_options){"cpu", 1}, &err) != OK)
        die("no file or no device: %s", err.text);
    close(fd);
    test_auto();
    test_shape();
    test_cap();
    test_refused();
    test_windows_and_states();
    test_predicted();
    test_head();
    compute_close(compute);
    unlink(path);
    return check_done("model_plan");
}
