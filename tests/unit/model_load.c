// model_load.c - a model is refused by its headers when it cannot fit, loaded in slices that give
// the same model, and knows what its memory holds after a pass that failed.
#include "check.h"
#include "model/arch.h"
#include "model_fixture.h"

#include <fcntl.h>
#include <math.h>
#include <unistd.h>

static struct compute *compute;
static char path[] = "/tmp/model_load.XXXXXX";

static void write_model(struct bytes file)
{
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    if (fd < 0 || write(fd, file.p, file.n) != (ssize_t)file.n)
        die("%s cannot be written", path);
    close(fd);
}

// The value of a key of 32 bits, in the file's bytes.
static void patch(struct file *file, const char *key, uint32_t value)
{
    uint8_t *at = memmem(file->buf.p, file->buf.n, key, strlen(key));
    if (!at)
        die("there is no key %s", key);
    memcpy(at + strlen(key) + 4, &value, sizeof(value));
}

static void logits_of(struct model *m, float *logits)
{
    struct err err = {0};
    CHECK(model_forward(m,
                        &(struct batch){2, (int32_t[]){3, 7}, (int32_t[]){0, 1}, (int32_t[]){0, 0},
                                        (uint8_t[]){0, 1}, 0},
                        (struct logits){.value = logits}, &err) == OK);
}

static void test_slices(void)
{
    static float whole[TINY_VOCAB], sliced[TINY_VOCAB];
    const struct model_options options = {.n_ctx = 32, .n_seq = 2, .n_batch = 8};
    struct model *m;
    struct model_progress at;
    struct err err = {0};
    CHECK(model_open(&m, compute, path, &options, &err) == OK);
    logits_of(m, whole);
    CHECK(model_held(m, 0) == 2 && model_held(m, 1) == 0);
    // a pass that is refused: nothing is held any more
    CHECK(model_forward(
              m,
              &(struct batch){1, (int32_t[]){1}, (int32_t[]){5}, (int32_t[]){1}, (uint8_t[]){1}, 0},
              (struct logits){.value = whole}, &err) != OK);
    CHECK(model_held(m, 0) == 0);
    logits_of(m, whole);
    model_close(m);

    CHECK(model_begin(&m, compute, path, &options, &err) == OK);
    CHECK_TEXT(model_info(m)->arch, "llama"); // known before anything is loaded
    model_progress(m, &at);
    CHECK(at.done_bytes == 0 && at.total_bytes > 0 && !at.compiling);
    uint64_t total = at.total_bytes, before = 0;
    int n_slices = 0;
    enum status status;
    while ((status = model_load_some(m, 1, &err)) == AGAIN) {
        model_progress(m, &at);
        CHECK(at.done_bytes >= before && at.total_bytes == total);
        before = at.done_bytes;
        CHECK(++n_slices < 10000);
    }
    model_progress(m, &at);
    CHECK(status == OK && n_slices > 0 && at.done_bytes == total && at.compiling);
    logits_of(m, sliced);
    CHECK(memcmp(whole, sliced, sizeof(whole)) == 0);
    model_close(m);
    // given up half way
    CHECK(model_begin(&m, compute, path, &options, &err) == OK);
    model_close(m);
    CHECK(model_begin(&m, compute, path, &options, &err) == OK);
    (void)!model_load_some(m, 1, &err);
    model_close(m);
}

// Every wanted row of as many sequences as there are comes out of one pass over the output matrix.
static void test_wanted_rows(void)
{
    enum { N = 40 };
    static float together[N][TINY_VOCAB], alone[TINY_VOCAB];
    int32_t token[N], pos[N] = {0}, seq[N];
    uint8_t wanted[N];
    struct model *m;
    struct err err = {0};
    CHECK(model_open(&m, compute, path, &(struct model_options){16, N, N}, &err) == OK);
    CHECK(m->act.n_out == N);
    for (int32_t i = 0; i < N; i++) {
        token[i] = (7 * i + 1) % TINY_VOCAB;
        seq[i] = i;
        wanted[i] = 1;
    }
    CHECK(model_forward(m, &(struct batch){N, token, pos, seq, wanted, 0},
                        (struct logits){.value = together[0]}, &err) == OK);
    for (int32_t i = 0; i < N; i += 13) {
        CHECK(model_forward(m, &(struct batch){1, token + i, pos, seq + i, wanted, 0},
                            (struct logits){.value = alone}, &err) == OK);
        for (int32_t k = 0; k < TINY_VOCAB; k++)
            CHECK(fabsf(alone[k] - together[i][k]) < 1e-4f);
    }
    model_close(m);
}

static void test_does_not_fit(struct file *file)
{
    struct model *m = NULL;
    struct err err = {0};
    uint64_t from_ms = clock_ms();
    patch(file, "llama.context_length", 1 << 24);
    write_model(buf_view(&file->buf));
    // 16 M tokens and 255 x 4 M of 2 layers x 2 x 16 x 2 bytes are 129.5 GiB
    const uint64_t free_bytes = compute_info(compute)->memory_usable_bytes;
    const struct model_options options = {.n_ctx = 1 << 24, .n_seq = 256, .n_batch = 8};
    CHECK(free_bytes > 0);
    if (free_bytes > 120ull << 30) {
        check_skip("a cache that does not fit", "this machine has room for it");
        return;
    }
    CHECK(model_begin(&m, compute, path, &options, &err) == NO_ROOM && !m);
    CHECK(strstr(err.text, "keys and values of 1086324736 tokens 129.5 GiB"));
    CHECK(strstr(err.text, "what fits: ctx = ") && strstr(err.text, "with parallel = 1"));
    CHECK(!strstr(err.text, "kv-type")); // rows of 16 numbers have no Q8_0
    CHECK(clock_ms() - from_ms < 1000);
    // what it says fits does
    const char *advice = strstr(err.text, "ctx = ");
    int32_t n_ctx = advice ? (int32_t)strtol(advice + 6, NULL, 10) : 0;
    static struct model_info info;
    struct model_options other = options;
    other.n_ctx = n_ctx;
    CHECK(model_plan(&info, compute, path, &other, &err) == OK && n_ctx > 0 && info.plan.fits);
    other.n_ctx = n_ctx + 512;
    CHECK(model_plan(&info, compute, path, &other, &err) == OK && !info.plan.fits);
}

// A file that is taken away under an opened model: the next pass says so, and nothing is held.
static void test_taken_away(const struct file *file)
{
    static float logits[TINY_VOCAB];
    struct model *m;
    struct err err = {0};
    const struct model_options options = {.n_ctx = 32, .n_seq = 2, .n_batch = 8};
    const struct batch next = {1, (int32_t[]){5}, (int32_t[]){2}, (int32_t[]){0}, (uint8_t[]){1},
                               0};
    CHECK(model_open(&m, compute, path, &options, &err) == OK);
    logits_of(m, logits);
    CHECK(truncate(path, 0) == 0);
    CHECK(model_forward(m, &next, (struct logits){.value = logits}, &err) == IO_ERROR);
    CHECK(strstr(err.text, "can no longer be read") && model_held(m, 0) == 0);
    model_close(m);
    write_model(buf_view(&file->buf));
    // and while it is loaded
    CHECK(model_begin(&m, compute, path, &options, &err) == OK);
    CHECK(truncate(path, 0) == 0);
    enum status status;
    do
        status = model_load_some(m, 1000, &err);
    while (status == AGAIN);
    CHECK(status == IO_ERROR && strstr(err.text, "can no longer be read"));
    model_close(m);
    write_model(buf_view(&file->buf));
}

// A norm that is not a number would make every logit one; the file's tensor is named.
static void test_not_a_number(struct file *file)
{
    struct model *m = NULL;
    struct err err = {0};
    const float nan_value = NAN;
    memcpy(file->buf.p + file->buf.n - 4, &nan_value, 4); // of the last tensor: a matrix
    write_model(buf_view(&file->buf));
    CHECK(model_open(&m, compute, path, &(struct model_options){16, 1, 8}, &err) == OK);
    model_close(m);
    struct gguf *gguf;
    CHECK(gguf_parse(&gguf, buf_view(&file->buf), &err) == OK);
    const struct gguf_tensor *norm = gguf_find_tensor(gguf, "blk.1.ffn_norm.weight");
    memcpy(file->buf.p + norm->offset + 12, &nan_value, 4);
    gguf_close(gguf);
    write_model(buf_view(&file->buf));
    CHECK(model_open(&m, compute, path, &(struct model_options){16, 1, 8}, &err) == BAD_INPUT);
    CHECK(strstr(err.text, "tensor 'blk.1.ffn_norm.weight': number 3 is nan"));
}

int main(void)
{
    struct err err = {0};
    struct file file;
    int fd = mkstemp(path);
    if (fd < 0 || compute_open(&compute, &(struct compute_options){"cpu", 2, NULL}, &err) != OK)
        die("%s", err.text);
    close(fd);
    make_tiny_model(&file);
    write_model(buf_view(&file.buf));
    test_slices();
    test_wanted_rows();
    test_taken_away(&file);
    test_not_a_number(&file);
    test_does_not_fit(&file);
    buf_free(&file.buf);
    compute_close(compute);
    unlink(path);
    return check_done("model_load");
}
