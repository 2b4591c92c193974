// ollama_context.c - `context` of /api/generate: a conversation as an array of whole numbers, which
// a client sends back unread to go on with it.
//
// Ollama's numbers are token ids. These are the texts themselves, so that the next turn is written
// by the model's chat template as a whole, and ids from elsewhere are told apart and refused:
//   0      MAGIC
//   1      how many bytes follow
//   2...   three bytes each, the first in the lowest bits
// The bytes are one turn behind the other: 's', 'u' or 'a' (system, user, assistant); the length of
// the text in 4 bytes, the lowest first; the text, UTF-8. What comes back is trusted in nothing.
#include "ollama.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAGIC = 0x7461776e,
    HEAD_BYTES = 5,
    TURNS_MOST = MESSAGES_MOST,
    CONTEXT_BYTES_MOST = 1 << 20
};

struct turn {
    char role;
    struct bytes text;
};

struct turns {
    struct turn *items; // [TURNS_MOST]
    size_t n;
};

// ---- read -----------------------------------------------------------------------------------

static bool foreign(struct reading *r)
{
    return refuse(r->refusal, 400, "invalid_value", "context",
                  "'context' is not what an answer of this server gave: send back the array as it "
                  "was, or send the conversation to /api/chat.");
}

static bool unpack(struct reading *r, const int32_t *ids, size_t n_ids, struct bytes *out)
{
    if (n_ids < 2 || ids[0] != MAGIC || (size_t)ids[1] > 3 * (n_ids - 2) ||
        ((size_t)ids[1] + 2) / 3 != n_ids - 2)
        return foreign(r);
    uint8_t *bytes = arena_take(r->arena, 3 * (n_ids - 2) + 1);
    if (!bytes)
        return no_room(r);
    for (size_t i = 2; i < n_ids; i++) {
        if (ids[i] > 0xffffff)
            return foreign(r);
        for (size_t k = 0; k < 3; k++)
            bytes[3 * (i - 2) + k] = (uint8_t)((uint32_t)ids[i] >> 8 * k);
    }
    *out = (struct bytes){bytes, (size_t)ids[1]};
    return true;
}

static bool take_turns(struct reading *r, struct bytes from, struct turns *turns)
{
    while (from.n > 0) {
        uint32_t n = 0;
        if (from.n < HEAD_BYTES || turns->n == TURNS_MOST - 2 || !strchr("sua", from.p[0]))
            return foreign(r);
        for (size_t i = 0; i < 4; i++)
            n |= (uint32_t)from.p[1 + i] << 8 * i;
        const struct bytes text = {from.p + HEAD_BYTES, n};
        if (n > from.n - HEAD_BYTES || !utf8_valid(text))
            return foreign(r);
        turns->items[turns->n++] = (struct turn){(char)from.p[0], text};
        from = (struct bytes){text.p + n, from.n - HEAD_BYTES - n};
    }
    return true;
}

// ---- the conversation -----------------------------------------------------------------------

static struct bytes role_name(char role)
{
    return bytes_of(role == 's' ? "system" : role == 'u' ? "user" : "assistant");
}

static bool take_conversation(struct reading *r, const struct turns *turns)
{
    struct value *list = arena_take(r->arena, sizeof(*list)),
                 *items = arena_take(r->arena, turns->n * sizeof(*items));
    struct member *members = arena_take(r->arena, 2 * turns->n * sizeof(*members));
    if (!list || !items || !members)
        return no_room(r);
    for (size_t i = 0; i < turns->n; i++, members += 2) {
        const struct turn *turn = &turns->items[i];
        members[0] =
            (struct member){bytes_of("role"), {.kind = VALUE_TEXT, .text = role_name(turn->role)}};
        members[1] = (struct member){bytes_of("content"), {.kind = VALUE_TEXT, .text = turn->text}};
        items[i] = (struct value){.kind = VALUE_DICT, .dict = {members, 2}};
    }
    *list = (struct value){.kind = VALUE_LIST, .list = {items, turns->n}};
    r->ask->conversation.messages = list;
    return true;
}

static uint8_t *put_turn(uint8_t *to, char role, struct bytes text)
{
    *to++ = (uint8_t)role;
    for (size_t i = 0; i < 4; i++)
        *to++ = (uint8_t)(text.n >> 8 * i);
    if (text.n > 0)
        memcpy(to, text.p, text.n);
    return to + text.n;
}

static bool take_said(struct reading *r, const struct turns *turns)
{
    size_t n = 0;
    for (size_t i = 0; i < turns->n; i++)
        n += HEAD_BYTES + turns->items[i].text.n;
    uint8_t *bytes = arena_take(r->arena, n + 1), *to = bytes;
    if (!bytes)
        return no_room(r);
    for (size_t i = 0; i < turns->n; i++)
        to = put_turn(to, turns->items[i].role, turns->items[i].text);
    ollama_asked(r)->said = (struct bytes){bytes, n};
    return true;
}

// A text copied to the arena that ends in NUL, as texts in values do.
static bool copy_texts(struct reading *r, struct turns *turns)
{
    for (size_t i = 0; i < turns->n; i++) {
        turns->items[i].text = bytes_copy(r->arena, turns->items[i].text);
        if (!turns->items[i].text.p)
            return no_room(r);
    }
    return true;
}

bool ollama_converse(struct reading *r)
{
    const struct ollama_ask *asked = ollama_asked(r);
    struct turns turns = {arena_take(r->arena, TURNS_MOST * sizeof(struct turn)), 0};
    struct bytes before = {NULL, 0};
    if (!turns.items)
        return no_room(r);
    if (asked->system.n > 0)
        turns.items[turns.n++] = (struct turn){'s', asked->system};
    if (asked->before &&
        (!unpack(r, asked->before, asked->n_before, &before) || !take_turns(r, before, &turns)))
        return false;
    size_t n = asked->system.n > 0; // in place of the one before
    for (size_t i = n; i < turns.n; i++)
        if (asked->system.n == 0 || turns.items[i].role != 's')
            turns.items[n++] = turns.items[i];
    turns.n = n;
    turns.items[turns.n++] = (struct turn){'u', asked->prompt};
    return copy_texts(r, &turns) && take_said(r, &turns) && take_conversation(r, &turns);
}

// ---- write ----------------------------------------------------------------------------------

void ollama_context_write(struct json *json, struct bytes said, struct bytes answer)
{
    const size_t n = said.n + HEAD_BYTES + answer.n;
    if (n > CONTEXT_BYTES_MOST)
        return;
    uint8_t *bytes = mem_alloc(n + 2); // the two behind them are 0
    if (said.n > 0)
        memcpy(bytes, said.p, said.n);
    (void)put_turn(bytes + said.n, 'a', answer);
    json_array(json, "context");
    json_whole(json, NULL, MAGIC);
    json_whole(json, NULL, (int64_t)n);
    for (size_t i = 0; i < n; i += 3)
        json_whole(json, NULL, bytes[i] | (int64_t)bytes[i + 1] << 8 | (int64_t)bytes[i + 2] << 16);
    json_end(json);
    free(bytes);
}
