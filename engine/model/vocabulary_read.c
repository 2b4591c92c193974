// vocabulary_read.c - the keys "tokenizer.ggml.*" of a file as plain data, and the tokenizer made
// of them.
//
// Here only the types of the keys are checked, and that lists which belong together are equally
// long; what the values mean is the text floor's affair. Lists of texts become views of the file.

#include "parts.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_VOCAB = 1 << 20, MAX_MERGES = 1 << 22 };

// Missing keys are no error here: *out stays as it was.
static enum status read_texts(const struct gguf *gguf, const char *key, uint64_t max,
                              struct bytes **out, size_t *n, struct err *err)
{
    const struct gguf_value *list = NULL;
    enum status status = gguf_get_array(gguf, key, GGUF_STRING, max, &list, err);
    if (status != OK)
        return status == NOT_FOUND ? OK : status;
    *n = (size_t)list->n_items;
    *out = mem_array(*n, sizeof(**out));
    const uint8_t *at = list->p;
    for (size_t i = 0; i < *n; i++)
        (*out)[i] = gguf_next_string(&at);
    return OK;
}

static enum status read_types(const struct gguf *gguf, size_t n_tokens, int32_t **out,
                              struct err *err)
{
    const struct gguf_value *list = NULL;
    enum status status =
        gguf_get_array(gguf, "tokenizer.ggml.token_type", GGUF_I32, MAX_VOCAB, &list, err);
    if (status != OK)
        return status == NOT_FOUND ? OK : status;
    if (list->n_items != n_tokens)
        return err_set(err, BAD_INPUT,
                       "key 'tokenizer.ggml.token_type' has %llu items for %zu tokens",
                       (unsigned long long)list->n_items, n_tokens);
    *out = mem_array(n_tokens, sizeof(**out));
    memcpy(*out, list->p, n_tokens * sizeof(**out));
    return OK;
}

static enum status read_text(const struct gguf *gguf, const char *key, struct bytes *out,
                             struct err *err)
{
    enum status status = gguf_get_string(gguf, key, out, err);
    return status == NOT_FOUND ? OK : status;
}

// -1 (as u32 too) and absence mean none.
static enum status read_id(const struct gguf *gguf, const char *key, int64_t *out, struct err *err)
{
    uint64_t id = UINT32_MAX;
    enum status status = gguf_get_uint(gguf, key, 0, UINT32_MAX, &id, err);
    if (status != OK && status != NOT_FOUND)
        return status;
    *out = id == UINT32_MAX ? -1 : (int64_t)id;
    return OK;
}

static enum status read_flag(const struct gguf *gguf, const char *key, enum said *out,
                             struct err *err)
{
    bool flag = false;
    enum status status = gguf_get_bool(gguf, key, &flag, err);
    if (status == OK)
        *out = flag ? SAID_YES : SAID_NO;
    return status == NOT_FOUND ? OK : status;
}

static enum status read_scalars(const struct gguf *gguf, struct vocabulary_source *s,
                                struct err *err)
{
    enum status status = read_text(gguf, "tokenizer.ggml.model", &s->model, err);
    if (status == OK)
        status = read_text(gguf, "tokenizer.ggml.pre", &s->pre, err);
    if (status == OK)
        status = read_id(gguf, "tokenizer.ggml.bos_token_id", &s->bos, err);
    if (status == OK)
        status = read_id(gguf, "tokenizer.ggml.eos_token_id", &s->eos, err);
    if (status == OK)
        status = read_id(gguf, "tokenizer.ggml.eot_token_id", &s->eot, err);
    if (status == OK)
        status = read_flag(gguf, "tokenizer.ggml.add_bos_token", &s->add_bos, err);
    return status;
}

enum status vocabulary_read(struct tokenizer **out, const struct gguf *gguf, struct err *err)
{
    struct vocabulary_source source = {0};
    struct bytes *tokens = NULL, *merges = NULL;
    int32_t *types = NULL;
    enum status status = read_scalars(gguf, &source, err);
    if (status == OK)
        status =
            read_texts(gguf, "tokenizer.ggml.tokens", MAX_VOCAB, &tokens, &source.n_tokens, err);
    if (status == OK)
        status =
            read_texts(gguf, "tokenizer.ggml.merges", MAX_MERGES, &merges, &source.n_merges, err);
    if (status == OK)
        status = read_types(gguf, source.n_tokens, &types, err);
    source.tokens = tokens;
    source.merges = merges;
    source.types = types;
    if (status == OK)
        status = tokenizer_open(out, &source, err);
    free(tokens);
    free(merges);
    free(types);
    return status;
}

enum status model_tokenizer_open(struct tokenizer **out, const char *path, struct err *err)
{
    struct gguf *gguf;
    enum status status = gguf_open(&gguf, path, err);
    if (status != OK)
        return status;
    status = vocabulary_read(out, gguf, err);
    gguf_close(gguf);
    return status != OK && err ? err_prefix(err, "model file %s", path) : status;
}
