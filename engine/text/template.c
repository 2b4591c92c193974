// template.c - the chat format: ChatML, as ids.
//
//   <|im_start|>ROLE\nCONTENT<|im_end|>\n  for each message, then  <|im_start|>assistant\n
//
// A last message of the assistant's is left open, and nothing follows it: the answer goes on there.
//
// ROLE\nCONTENT is tokenized as one text (words may span the line break) in which control texts
// mean nothing, so that content cannot open or close a turn.

#include "text.h"

#include <stdlib.h>
#include <string.h>

struct ids {
    int32_t *p;
    size_t n, cap;
};

static enum status add_id(struct ids *ids, int32_t id, struct err *err)
{
    if (ids->n == ids->cap)
        return err_set(err, TOO_LARGE, "the conversation is more than the %zu tokens that fit",
                       ids->cap);
    ids->p[ids->n++] = id;
    return OK;
}

static enum status add_turn(const struct tokenizer *tokenizer, struct bytes role,
                            struct bytes content, struct ids *ids, struct err *err)
{
    uint8_t *text = mem_alloc(role.n + content.n + 1);
    if (role.n > 0)
        memcpy(text, role.p, role.n);
    text[role.n] = '\n';
    if (content.n > 0)
        memcpy(text + role.n + 1, content.p, content.n);
    enum status status = tokenizer_append(tokenizer, (struct bytes){text, role.n + content.n + 1},
                                          false, ids->p, ids->cap, &ids->n, err);
    free(text);
    return status;
}

static struct bytes text_of(const struct value *message, const char *name)
{
    const struct value *text = value_get(message, name);
    return text && text->kind == VALUE_TEXT ? text->text : (struct bytes){NULL, 0};
}

static uint64_t bytes_in(const struct value *value)
{
    uint64_t n = 0;
    if (!value)
        return 0;
    if (value->kind == VALUE_TEXT)
        return value->text.n;
    for (size_t i = 0; value->kind == VALUE_LIST && i < value->list.n; i++)
        n += bytes_in(&value->list.items[i]);
    for (size_t i = 0; value->kind == VALUE_DICT && i < value->dict.n; i++)
        n += value->dict.members[i].name.n + bytes_in(&value->dict.members[i].value);
    return n;
}

uint64_t conversation_bytes(const struct conversation *conversation)
{
    return bytes_in(conversation->messages) + bytes_in(conversation->tools);
}

enum status template_encode(const struct tokenizer *tokenizer,
                            const struct conversation *conversation, int32_t *ids, size_t cap,
                            size_t *n, struct err *err)
{
    const struct value *messages = conversation->messages->list.items;
    size_t n_messages = conversation->messages->list.n;
    int32_t im_start = tokenizer_find_special(tokenizer, "<|im_start|>");
    int32_t im_end = tokenizer_find_special(tokenizer, "<|im_end|>");
    if (im_start < 0 || im_end < 0)
        return err_set(err, UNSUPPORTED,
                       "the model's vocabulary has no <|im_start|> and <|im_end|>; ChatML is the "
                       "one chat format so far: "
                       "use /v1/completions with this model");
    struct ids out = {ids, 0, cap};
    enum status status =
        tokenizer_add_bos(tokenizer) ? add_id(&out, tokenizer_bos(tokenizer), err) : OK;
    bool open = false; // the assistant's turn is the last, and the answer goes on where it ends
    for (size_t i = 0; i < n_messages && status == OK; i++) {
        struct bytes role = text_of(&messages[i], "role");
        open = i + 1 == n_messages && bytes_equal_text(role, "assistant");
        status = add_id(&out, im_start, err);
        if (status == OK)
            status = add_turn(tokenizer, role, text_of(&messages[i], "content"), &out, err);
        if (status != OK || open)
            break;
        status = add_id(&out, im_end, err);
        if (status == OK)
            status =
                tokenizer_append(tokenizer, bytes_of("\n"), false, out.p, out.cap, &out.n, err);
    }
    if (status == OK && !open)
        status = add_id(&out, im_start, err);
    if (status == OK && !open)
        status = add_turn(tokenizer, bytes_of("assistant"), (struct bytes){NULL, 0}, &out, err);
    if (status == OK)
        *n = out.n;
    return status;
}
