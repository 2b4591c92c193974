// gguf.c - fuzz target: any bytes as a model file. They are read, planned as a head whose tensors
// need not be there, the tokenizer is opened and used, the architecture checked, and where the
// whole model opens, a few tokens are computed and one is sampled. Nothing may crash, hang or leak.
//
// Kept inputs: gguf/ (made by gguf_seeds.py, one for each class of malice, by arch_seeds.py, a head
// of every architecture, and what fuzzing found).
#include "model/parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use_tokenizer(const struct gguf *gguf, const struct tokenizer *t)
{
    static const char *const texts[] = {
        "Hello, w\xc3\xb6rld! 123  <|im_start|>user\n\xff\xed\xa0\x80", "a a  ab abc   \n\n", ""};
    int32_t ids[256];
    struct err err;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        size_t n = 0;
        if (tokenizer_encode(t, bytes_of(texts[i]), i % 2 == 0, ids, 256, &n, &err) != OK)
            continue;
        for (size_t k = 0; k < n; k++) {
            struct bytes text = tokenizer_decode(t, ids[k]);
            if (ids[k] < 0 || ids[k] >= tokenizer_n_vocab(t) || (text.n && !text.p))
                abort();
            (void)tokenizer_is_end(t, ids[k]);
        }
    }
    const struct member members[] = {
        {bytes_of("role"), {.kind = VALUE_TEXT, .text = bytes_of("user")}},
        {bytes_of("content"), {.kind = VALUE_TEXT, .text = bytes_of("hi")}}};
    const struct value message = {.kind = VALUE_DICT, .dict = {members, 2}},
                       list = {.kind = VALUE_LIST, .list = {&message, 1}};
    const struct conversation conversation = {.messages = &list};
    struct template *template;
    int32_t *prompt;
    size_t n = 0;
    template_read(&template, gguf, t);
    if (template_encode(template, t, &conversation, &prompt, &n, &err) == OK)
        free(prompt);
    template_close(template);
}

static void use_model(struct model *m)
{
    const int32_t token[] = {0, 1, 0}, pos[] = {0, 1, 2}, seq[] = {0, 0, 0};
    const uint8_t wanted[] = {0, 0, 1};
    int32_t n_vocab = model_info(m)->n_vocab, n = model_info(m)->n_ctx < 3 || n_vocab < 2 ? 1 : 3,
            id = 0;
    float *logits = mem_array((size_t)n_vocab, sizeof(*logits));
    struct sampling sampling;
    struct sampler *sampler;
    struct err err;
    sampling_default(&sampling);
    sampler_open(&sampler, &sampling, n_vocab);
    if (model_forward(m, &(struct batch){n, token, pos, seq, wanted + 3 - n, 0},
                      (struct logits){.value = logits}, &err) == OK)
        (void)sampler_pick(sampler, logits, &id, &err);
    sampler_close(sampler);
    free(logits);
}

// model_open wants a file: one in memory.
static void open_model(struct compute *compute, const uint8_t *data, size_t size)
{
    char path[64];
    int fd = memfd_create("model", MFD_CLOEXEC);
    struct err err;
    struct model *m = NULL;
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (model_open(&m, compute, path, &(struct model_options){8, 1, 4}, &err) == OK) {
        use_model(m);
        model_close(m);
    }
    close(fd);
}

// What the head tells. A refusal is a sentence.
static void plan(struct compute *compute, const uint8_t *data, size_t size)
{
    static struct model_info info;
    char path[64];
    struct err err = {0};
    int fd = memfd_create("head", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    const struct model_options options = {
        .n_ctx = CTX_AUTO, .n_seq = 2, .n_batch = 64, .draft = true};
    if (model_plan(&info, compute, path, &options, &err) != OK && !err.text[0])
        abort();
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct compute *compute;
    struct gguf *gguf = NULL;
    struct tokenizer *tokenizer = NULL;
    struct err err;
    if (!compute && compute_open(&compute, &(struct compute_options){"cpu", 1}, &err) != OK)
        abort();
    uint8_t *copy =
        malloc(size ? size : 1); // exactly as long as the input, so that reading past it shows
    if (!copy)
        abort();
    for (size_t i = 0; i < size; i++)
        copy[i] = data[i];
    if (gguf_parse(&gguf, (struct bytes){copy, size}, &err) == OK) {
        if (vocabulary_read(&tokenizer, gguf, &err) == OK) {
            use_tokenizer(gguf, tokenizer);
            open_model(compute, data, size);
        }
        tokenizer_close(tokenizer);
        gguf_close(gguf);
    }
    free(copy);
    plan(compute, data, size);
    return 0;
}
