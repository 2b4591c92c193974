// model_recording.c - which passes of a model are kept recordings on lavapipe: batches that only
// decode, by their number of rows, up to 64. One that is submitted again must give the very
// numbers that one recorded anew gives.
#include "check.h"
#include "compute/vulkan/core.h"
#include "model_fixture.h"

#include <unistd.h>

enum { CTX = 600, BATCH = 256, SEQS = 64 };

static char path[] = "/tmp/model_recording.XXXXXX";
static struct vulkan *vk;
static PFN_vkCmdDispatch real_dispatch;
static int n_dispatches; // recorded since the last pass began

static VKAPI_ATTR void VKAPI_CALL count_dispatch(VkCommandBuffer commands, uint32_t x, uint32_t y,
                                                 uint32_t z)
{
    n_dispatches++;
    real_dispatch(commands, x, y, z);
}

static void long_hyper(struct file *f)
{
    static const char length[] = "llama.context_length";
    add_hyper(f);
    for (size_t i = 0; i + sizeof(length) + 8 <= f->buf.n; i++)
        if (memcmp(f->buf.p + i, length, sizeof(length) - 1) == 0)
            memcpy(f->buf.p + i + sizeof(length) - 1 + 4, &(uint32_t){CTX}, sizeof(uint32_t));
}

static void open_device(void)
{
    struct compute *compute = NULL;
    struct err err = {0};
    if (vulkan_open(&compute, &(struct compute_options){.device = "LLVMpipe"}, &err) != OK)
        die("%s", err.text);
    vk = (struct vulkan *)compute;
    real_dispatch = vk->call.CmdDispatch;
    vk->call.CmdDispatch = count_dispatch;
}

static struct model *open_model(void)
{
    struct model *m = NULL;
    struct err err = {0};
    if (model_open(&m, &vk->compute, path, &(struct model_options){CTX, SEQS, BATCH}, &err) != OK)
        die("%s", err.text);
    return m;
}

struct step { // n rows, of the sequences from first_seq on
    int32_t n, first_seq, pos, salt;
    bool one_seq; // a prompt: positions from pos on
    int32_t n_top;
    int32_t n_unwanted; // the last ones
};

// The logits of all wanted rows; whether they were recorded.
static bool run(struct model *m, const struct step *s, float *logits, int32_t *ids)
{
    int32_t token[BATCH], pos[BATCH], seq[BATCH];
    uint8_t wanted[BATCH];
    struct err err = {0};
    for (int32_t t = 0; t < s->n; t++) {
        seq[t] = s->first_seq + (s->one_seq ? 0 : t);
        pos[t] = s->pos + (s->one_seq ? t : 0);
        token[t] = (seq[t] * 91 + pos[t] * 37 + s->salt) % TINY_VOCAB;
        wanted[t] = t < s->n - s->n_unwanted;
    }
    n_dispatches = 0;
    if (!CHECK(model_forward(m, &(struct batch){s->n, token, pos, seq, wanted, s->n_top},
                             (struct logits){logits, ids}, &err) == OK))
        fprintf(stderr, "    %s\n", err.text);
    return n_dispatches > 0;
}

static float kept_logits[SEQS * TINY_VOCAB], fresh_logits[SEQS * TINY_VOCAB];

// The step as it comes, then once more recorded anew: bit by bit the same. Whether the first one
// was recorded.
static bool same_anew(struct model *m, const struct step *s)
{
    int32_t kept_ids[SEQS * TOP_K_MOST] = {0}, fresh_ids[SEQS * TOP_K_MOST] = {0};
    const size_t n = (size_t)(s->n - s->n_unwanted) * (size_t)(s->n_top ? s->n_top : TINY_VOCAB);
    memset(kept_logits, 0, sizeof(kept_logits));
    memset(fresh_logits, 0, sizeof(fresh_logits));
    bool recorded = run(m, s, kept_logits, kept_ids);
    struct recorder *r = &vk->recorder;
    struct recording **all = r->kept, *none[KEPT_MOST];
    const uint32_t n_kept = r->n_kept;
    r->kept = none; // as if it were the first of its kind
    r->n_kept = 0;
    CHECK(run(m, s, fresh_logits, fresh_ids));
    recorder_forget(vk, NULL);
    r->kept = all;
    r->n_kept = n_kept;
    CHECK(memcmp(kept_logits, fresh_logits, n * sizeof(float)) == 0);
    CHECK(memcmp(kept_ids, fresh_ids, sizeof(kept_ids)) == 0);
    CHECK(kept_logits[0] != 0);
    return recorded;
}

static bool decodes(struct model *m, int32_t n, int32_t first_seq, int32_t pos)
{
    return same_anew(m, &(struct step){.n = n, .first_seq = first_seq, .pos = pos});
}

static void test_kept(struct model *m)
{
    CHECK(decodes(m, 24, 0, 0));
    for (int32_t pos = 1; pos < 6; pos++)
        CHECK(!decodes(m, 24, 0, pos)); // the second step and every later one
    CHECK(decodes(m, 23, 0, 6));        // a sequence has ended
    CHECK(decodes(m, 9, 0, 7));
    CHECK(decodes(m, 64, 0, 0));
    CHECK(!decodes(m, 64, 0, 1));
    CHECK(!decodes(m, 24, 3, 1)); // others, in the middle of the cache
    CHECK(!decodes(m, 23, 0, 2)); // all cut back
    const struct step top = {.n = 24, .pos = 1, .n_top = 5},
                      fewer = {.n = 24, .pos = 1, .n_unwanted = 3};
    CHECK(same_anew(m, &top));
    CHECK(same_anew(m, &fewer));
    CHECK(!same_anew(m, &top) && !same_anew(m, &fewer) && !decodes(m, 24, 0, 1));
}

// A prompt, and rows that decode beside one.
static void test_anew(struct model *m)
{
    const struct step prompt = {.n = 24, .one_seq = true};
    uint32_t n_kept = vk->recorder.n_kept;
    for (int i = 0; i < 2; i++) {
        CHECK(run(m, &prompt, kept_logits, NULL));
        int32_t token[20], pos[20], seq[20];
        uint8_t wanted[20];
        struct err err;
        for (int32_t t = 0; t < 20; t++) {
            token[t] = t;
            seq[t] = t < 10 ? t : 40;
            pos[t] = t < 10 ? 1 : t - 10;
            wanted[t] = t < 10 || t == 19;
        }
        n_dispatches = 0;
        CHECK(model_forward(m, &(struct batch){20, token, pos, seq, wanted, 0},
                            (struct logits){.value = kept_logits}, &err) == OK);
        CHECK(n_dispatches > 0);
    }
    CHECK(vk->recorder.n_kept == n_kept);
    CHECK(!decodes(m, 24, 0, 1)); // and what was kept is still right
}

// One sequence that reaches further back has the work shared out anew, once.
static void test_reach(struct model *m)
{
    static float logits[TINY_VOCAB];
    const struct step past = {
        .n = BATCH, .first_seq = 10, .one_seq = true, .n_unwanted = BATCH - 1};
    CHECK(run(m, &past, logits, NULL));
    int32_t token[12], pos[12], seq[12];
    uint8_t wanted[12];
    struct err err;
    const struct {
        int32_t pos;
        bool recorded;
    } steps[] = {{254, true}, {255, false}, {256, true}, {257, false}, {1, false}};
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        for (int32_t t = 0; t < 12; t++) {
            token[t] = t * 5;
            seq[t] = t;
            pos[t] = t == 10 ? steps[i].pos : 1;
            wanted[t] = 1;
        }
        n_dispatches = 0;
        CHECK(model_forward(m, &(struct batch){12, token, pos, seq, wanted, 0},
                            (struct logits){.value = kept_logits}, &err) == OK);
        CHECK((n_dispatches > 0) == steps[i].recorded);
    }
}

// Another model's recordings are its own; who closes takes its own along.
static void test_models(struct model *m)
{
    const uint32_t n_kept = vk->recorder.n_kept;
    struct model *other = open_model();
    CHECK(decodes(other, 24, 0, 0) && !decodes(other, 24, 0, 1));
    CHECK(vk->recorder.n_kept == n_kept + 1);
    CHECK(!decodes(m, 24, 0, 1));
    model_close(other);
    CHECK(vk->recorder.n_kept == n_kept && !decodes(m, 24, 0, 1));
    other = open_model(); // may lie where the other one lay
    CHECK(decodes(other, 24, 0, 0));
    model_close(m);
    CHECK(vk->recorder.n_kept == 1 && !decodes(other, 24, 0, 1));
    model_close(other);
    CHECK(vk->recorder.n_kept == 0);
}

int main(void)
{
    struct file f;
    int fd = mkstemp(path);
    make_model_with(&f, long_hyper, NULL);
    if (fd < 0 || write(fd, f.buf.p, f.buf.n) != (ssize_t)f.buf.n)
        die("%s cannot be written", path);
    close(fd);
    buf_free(&f.buf);
    log_level_set(LOG_ERROR);
    open_device();
    struct model *m = open_model();
    test_kept(m);
    test_anew(m);
    test_reach(m);
    test_models(m);
    compute_close(&vk->compute);
    unlink(path);
    return check_done("model_recording");
}
