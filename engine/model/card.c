// card.c - what a model file says of itself, for who asks: its keys and tensors as JSON, by their
// own names.
//
// The file is opened anew and its weights are not touched, so a card can be had on any thread and
// beside a model that computes. Lists as long as a vocabulary are left empty unless all is wanted.
#include "parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_SHORT = 5, NAME_BYTES = 256 };

struct model_card {
    struct gguf *gguf;
};

enum status model_card_open(struct model_card **out, const char *path, struct err *err)
{
    struct model_card *card = mem_alloc(sizeof(*card));
    enum status status = gguf_open_head(&card->gguf, path, err);
    if (status == OK)
        *out = card;
    else
        free(card);
    return status;
}

void model_card_close(struct model_card *card)
{
    if (!card)
        return;
    gguf_close(card->gguf);
    free(card);
}

struct bytes model_card_text(const struct model_card *card, const char *key)
{
    struct bytes text = {NULL, 0};
    if (gguf_get_string(card->gguf, key, &text, NULL) != OK)
        return (struct bytes){NULL, 0};
    return text;
}

// A float with as few digits as tell it apart from other floats.
static void write_float(struct json *json, const char *name, float value)
{
    char text[32];
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, (double)value);
        if (!((float)strtod(text, NULL) < value) && !((float)strtod(text, NULL) > value))
            break;
    }
    json_exact(json, name, strtod(text, NULL));
}

#define TAKE(type, from)                                                                           \
    type value;                                                                                    \
    memcpy(&value, from, sizeof(value))

static void write_scalar(struct json *json, const char *name, uint32_t type, const uint8_t *p)
{
    if (type == GGUF_BOOL) {
        json_bool(json, name, p[0]);
    } else if (type == GGUF_U8) {
        json_whole(json, name, p[0]);
    } else if (type == GGUF_I8) {
        json_whole(json, name, (int8_t)p[0]);
    } else if (type == GGUF_U16) {
        TAKE(uint16_t, p);
        json_whole(json, name, value);
    } else if (type == GGUF_I16) {
        TAKE(int16_t, p);
        json_whole(json, name, value);
    } else if (type == GGUF_U32) {
        TAKE(uint32_t, p);
        json_whole(json, name, value);
    } else if (type == GGUF_I32) {
        TAKE(int32_t, p);
        json_whole(json, name, value);
    } else if (type == GGUF_F32) {
        TAKE(float, p);
        write_float(json, name, value);
    } else if (type == GGUF_U64) {
        TAKE(uint64_t, p);
        if (value <= INT64_MAX)
            json_whole(json, name, (int64_t)value);
        else
            json_real(json, name, (double)value, 0);
    } else if (type == GGUF_I64) {
        TAKE(int64_t, p);
        json_whole(json, name, value);
    } else if (type == GGUF_F64) {
        TAKE(double, p);
        json_exact(json, name, value);
    } else {
        json_null(json, name);
    }
}

static void write_list(struct json *json, const char *name, const struct gguf_value *list,
                       bool whole)
{
    const size_t size = gguf_scalar_bytes(list->item_type);
    const uint8_t *at = list->p;
    json_array(json, name);
    for (uint64_t i = 0; i < list->n_items && (whole || list->n_items <= LIST_SHORT); i++)
        if (list->item_type == GGUF_STRING)
            json_text(json, NULL, gguf_next_string(&at));
        else if (size > 0)
            write_scalar(json, NULL, list->item_type, list->p + i * size);
    json_end(json);
}

static bool is_key(const struct gguf_value *value, const char *key)
{
    return bytes_equal_text(value->key, key);
}

void model_card_keys(const struct model_card *card, struct json *json, int32_t n_ctx, bool whole)
{
    char name[NAME_BYTES], context[NAME_BYTES];
    const struct bytes arch = model_card_text(card, "general.architecture");
    snprintf(context, sizeof(context), "%.*s.context_length", (int)(arch.n < 100 ? arch.n : 100),
             (const char *)arch.p);
    for (uint64_t i = 0; i < card->gguf->n_values; i++) {
        const struct gguf_value *value = &card->gguf->values[i];
        if (value->key.n >= sizeof(name) || is_key(value, "tokenizer.chat_template"))
            continue;
        memcpy(name, value->key.p, value->key.n);
        name[value->key.n] = 0;
        const uint8_t *at = value->p;
        if (n_ctx > 0 && strcmp(name, context) == 0)
            json_whole(json, name, n_ctx);
        else if (value->type == GGUF_STRING)
            json_text(json, name, gguf_next_string(&at));
        else if (value->type == GGUF_ARRAY)
            write_list(json, name, value, whole);
        else
            write_scalar(json, name, value->type, value->p);
    }
}

void model_card_tensors(const struct model_card *card, struct json *json)
{
    for (uint64_t i = 0; i < card->gguf->n_tensors; i++) {
        const struct gguf_tensor *tensor = &card->gguf->tensors[i];
        json_object(json, NULL);
        json_text(json, "name", tensor->name);
        json_string(json, "type", gguf_tensor_type_name(tensor->type));
        json_array(json, "shape");
        for (uint32_t d = 0; d < tensor->n_dims; d++)
            json_whole(json, NULL, (int64_t)tensor->dims[d]);
        json_end(json);
        json_end(json);
    }
}
