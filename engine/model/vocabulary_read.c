// vocabulary_read.c - the keys "tokenizer.ggml.*" of a file as plain data, and the tokenizer made
// of them.
//
// Here only the types of the keys are checked, and that lists which belong together are equally
// long; what the values mean is the text floor's affair. Lists of texts become views of the file.

#include "parts.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_VOCAB = 1 << 20, MAX_MERGES = 1 << 22, MAX_CHARSMAP = 16 << 20 };

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

// One number of 4 bytes for each token. NULL stays where the key is missing.
static enum status read_numbers(const struct gguf *gguf, const char *key, enum gguf_type type,
                                size_t n_tokens, void **out, struct err *err)
{
    const struct gguf_value *list = NULL;
    enum status status = gguf_get_array(gguf, key, type, MAX_VOCAB, &list, err);
    if (status != OK)
        return status == NOT_FOUND ? OK : status;
    if (list->n_items != n_tokens)
        return err_set(err, BAD_INPUT, "key '%s' has %llu items for %zu tokens", key,
                       (unsigned long long)list->n_items, n_tokens);
    *out = mem_array(n_tokens, 4);
    memcpy(*out, list->p, n_tokens * 4);
    return OK;
}

// Mistral's own files keep scores as whole numbers.
static enum status read_scores(const struct gguf *gguf, size_t n_tokens, void **out,
                               struct err *err)
{
    static const char key[] = "tokenizer.ggml.scores";
    const struct gguf_value *list = gguf_find(gguf, key);
    const bool whole = list && list->type == GGUF_ARRAY && list->item_type == GGUF_I32;
    enum status status = read_numbers(gguf, key, whole ? GGUF_I32 : GGUF_F32, n_tokens, out, err);
    for (size_t i = 0; status == OK && whole && i < n_tokens; i++) {
        int32_t score;
        memcpy(&score, (char *)*out + 4 * i, sizeof(score));
        ((float *)*out)[i] = (float)score;
    }
    return status;
}

// Tokens that end a text beside the one of eos_token_id; Ollama's files name them all.
static enum status read_ends(const struct gguf *gguf, struct vocabulary_source *s, struct err *err)
{
    static const char key[] = "tokenizer.ggml.eos_token_ids";
    const struct gguf_value *list = NULL;
    enum status status = gguf_get_array(gguf, key, GGUF_I32, COUNT_OF(s->ends), &list, err);
    if (status != OK)
        return status == NOT_FOUND ? OK : status;
    s->n_ends = (size_t)list->n_items;
    memcpy(s->ends, list->p, s->n_ends * sizeof(*s->ends));
    return OK;
}

static enum status read_text(const struct gguf *gguf, const char *key, struct bytes *out,
                             struct err *err)
{
    enum status status = gguf_get_string(gguf, key, out, err);
    return status == NOT_FOUND ? OK : status;
}

// Bytes, signed or not.
static enum status read_charsmap(const struct gguf *gguf, struct bytes *out, struct err *err)
{
    static const char key[] = "tokenizer.ggml.precompiled_charsmap";
    const struct gguf_value *list = gguf_find(gguf, key);
    if (!list)
        return OK;
    enum gguf_type type =
        list->type == GGUF_ARRAY && list->item_type == GGUF_I8 ? GGUF_I8 : GGUF_U8;
    enum status status = gguf_get_array(gguf, key, type, MAX_CHARSMAP, &list, err);
    if (status == OK)
        *out = (struct bytes){list->p, (size_t)list->n_items};
    return status;
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
    const struct {
        const char *key;
        struct bytes *text;
        int64_t *id;
        enum said *flag;
    } keys[] = {
        {"tokenizer.ggml.model", .text = &s->model},
        {"tokenizer.ggml.pre", .text = &s->pre},
        {"general.name", .text = &s->name},
        {"general.architecture", .text = &s->arch},
        {"tokenizer.ggml.bos_token_id", .id = &s->bos},
        {"tokenizer.ggml.eos_token_id", .id = &s->eos},
        {"tokenizer.ggml.eot_token_id", .id = &s->eot},
        {"tokenizer.ggml.eom_token_id", .id = &s->eom},
        {"tokenizer.ggml.seperator_token_id", .id = &s->sep},
        {"tokenizer.ggml.unknown_token_id", .id = &s->unknown},
        {"tokenizer.ggml.add_bos_token", .flag = &s->add_bos},
        {"tokenizer.ggml.add_eos_token", .flag = &s->add_eos},
        {"tokenizer.ggml.add_space_prefix", .flag = &s->add_space},
        {"tokenizer.ggml.remove_extra_whitespaces", .flag = &s->merge_spaces},
        {"tokenizer.ggml.normalizer.lowercase", .flag = &s->lowercase},
        {"tokenizer.ggml.normalizer.strip_accents", .flag = &s->strip_accents},
        {"tokenizer.ggml.normalizer.nfc", .flag = &s->nfc},
    };
    enum status status = OK;
    for (size_t i = 0; i < COUNT_OF(keys) && status == OK; i++)
        status = keys[i].text ? read_text(gguf, keys[i].key, keys[i].text, err)
                 : keys[i].id ? read_id(gguf, keys[i].key, keys[i].id, err)
                              : read_flag(gguf, keys[i].key, keys[i].flag, err);
    return status;
}

enum status vocabulary_read(struct tokenizer **out, const struct gguf *gguf, struct err *err)
{
    struct vocabulary_source source = {0};
    struct bytes *tokens = NULL, *merges = NULL;
    void *types = NULL, *scores = NULL;
    enum status status = read_scalars(gguf, &source, err);
    if (status == OK)
        status =
            read_texts(gguf, "tokenizer.ggml.tokens", MAX_VOCAB, &tokens, &source.n_tokens, err);
    if (status == OK)
        status =
            read_texts(gguf, "tokenizer.ggml.merges", MAX_MERGES, &merges, &source.n_merges, err);
    if (status == OK)
        status =
            read_numbers(gguf, "tokenizer.ggml.token_type", GGUF_I32, source.n_tokens, &types, err);
    if (status == OK)
        status = read_scores(gguf, source.n_tokens, &scores, err);
    if (status == OK)
        status = read_ends(gguf, &source, err);
    if (status == OK)
        status = read_charsmap(gguf, &source.charsmap, err);
    source.tokens = tokens;
    source.merges = merges;
    source.types = types;
    source.scores = scores;
    if (status == OK)
        status = tokenizer_open(out, &source, err);
    free(tokens);
    free(merges);
    free(types);
    free(scores);
    return status;
}

// Of a key with a text; n == 0: there is none.
static struct bytes text_at(const struct gguf *gguf, const char *key)
{
    struct bytes text;
    return gguf_get_string(gguf, key, &text, NULL) == OK ? text : (struct bytes){NULL, 0};
}

void template_read(struct template **out, const struct gguf *gguf,
                   const struct tokenizer *tokenizer)
{
    struct template_source source = {
        .text = text_at(gguf, "tokenizer.chat_template"),
        .tools = text_at(gguf, "tokenizer.chat_template.tool_use"),
    };
    if (source.text.n == 0)
        source.text = text_at(gguf, "tokenizer.chat_template.default");
    template_open(out, &source, tokenizer);
}

enum status model_template_open(struct template **out, struct tokenizer **tokenizer,
                                const char *path, struct err *err)
{
    struct gguf *gguf;
    enum status status = gguf_open(&gguf, path, err);
    if (status != OK)
        return status;
    status = vocabulary_read(tokenizer, gguf, err);
    if (status == OK)
        template_read(out, gguf, *tokenizer);
    gguf_close(gguf);
    return status != OK && err ? err_prefix(err, "model file %s", path) : status;
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
