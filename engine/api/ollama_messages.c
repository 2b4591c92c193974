// ollama_messages.c - which call a tool's answer belongs to, in conversations without ids.
//
// Ollama's messages name the tool (tool_name), or nothing at all: then answers come in the order of
// the calls. Templates want ids or names, so every call that has no id gets one (nine letters and
// digits, which Mistral's templates insist on), and each answer the id and the name of the first
// call of its name, or of any where it names none, that is not answered yet.
#include "ollama.h"

#include <stdio.h>
#include <string.h>

enum { ID_BYTES = 10, CALLS_OPEN_MOST = 1024 };

struct call { // that waits for its answer
    struct bytes id, name;
};

struct matching {
    struct reading *r;
    struct call *open; // [n_open], in the order they were made
    size_t n_open;
    uint32_t n_made; // ids
};

// `dict` with one member more, or another value under that name; p == NULL: no room.
static struct value with_member(struct arena *arena, const struct value *dict, const char *name,
                                const struct value *value)
{
    struct member *members = arena_take(arena, (dict->dict.n + 1) * sizeof(*members));
    size_t n = 0;
    for (size_t i = 0; members && i < dict->dict.n; i++)
        if (!bytes_equal_text(dict->dict.members[i].name, name))
            members[n++] = dict->dict.members[i];
    if (members)
        members[n++] = (struct member){bytes_of(name), *value};
    return (struct value){.kind = VALUE_DICT, .dict = {members, n}};
}

static struct bytes text_of(const struct value *dict, const char *name)
{
    const struct value *value = value_get(dict, name);
    return value && value->kind == VALUE_TEXT ? value->text : (struct bytes){NULL, 0};
}

// A call becomes one with an id, and waits.
static bool open_call(struct matching *m, struct value *call)
{
    struct bytes id = text_of(call, "id");
    if (id.n == 0) {
        char *made = arena_take(m->r->arena, ID_BYTES);
        if (!made)
            return no_room(m->r);
        snprintf(made, ID_BYTES, "call%05u", (unsigned)(m->n_made++ % 100000));
        id = bytes_of(made);
        *call =
            with_member(m->r->arena, call, "id", &(struct value){.kind = VALUE_TEXT, .text = id});
        if (!call->dict.members)
            return no_room(m->r);
    }
    if (m->n_open < CALLS_OPEN_MOST)
        m->open[m->n_open++] = (struct call){id, text_of(value_get(call, "function"), "name")};
    return true;
}

static bool open_calls(struct matching *m, struct value *message)
{
    const struct value *calls = value_get(message, "tool_calls");
    if (!calls || calls->kind != VALUE_LIST)
        return true;
    struct value *items = arena_take(m->r->arena, (calls->list.n + 1) * sizeof(*items));
    if (!items)
        return no_room(m->r);
    m->n_open = 0; // what is still open was never answered
    for (size_t i = 0; i < calls->list.n; i++) {
        items[i] = calls->list.items[i];
        if (!open_call(m, &items[i]))
            return false;
    }
    const struct value list = {.kind = VALUE_LIST, .list = {items, calls->list.n}};
    *message = with_member(m->r->arena, message, "tool_calls", &list);
    return message->dict.members ? true : no_room(m->r);
}

static bool close_call(struct matching *m, struct value *message)
{
    const struct bytes id = text_of(message, "tool_call_id"), name = text_of(message, "name");
    size_t at = 0;
    while (at < m->n_open && (id.n > 0     ? !bytes_equal(m->open[at].id, id)
                              : name.n > 0 ? !bytes_equal(m->open[at].name, name)
                                           : false))
        at++;
    if (at == m->n_open)
        return true;
    const struct call call = m->open[at];
    memmove(&m->open[at], &m->open[at + 1], (--m->n_open - at) * sizeof(*m->open));
    const struct value texts[] = {{.kind = VALUE_TEXT, .text = call.name},
                                  {.kind = VALUE_TEXT, .text = call.id}};
    if (name.n == 0 && call.name.n > 0)
        *message = with_member(m->r->arena, message, "name", &texts[0]);
    if (id.n == 0 && message->dict.members)
        *message = with_member(m->r->arena, message, "tool_call_id", &texts[1]);
    return message->dict.members ? true : no_room(m->r);
}

bool ollama_match_results(struct reading *r)
{
    const struct value *messages = r->ask->conversation.messages;
    struct value *list = arena_take(r->arena, sizeof(*list)),
                 *items = arena_take(r->arena, messages->list.n * sizeof(*items));
    struct matching m = {r, arena_take(r->arena, CALLS_OPEN_MOST * sizeof(*m.open)), 0, 0};
    if (!list || !items || !m.open)
        return no_room(r);
    for (size_t i = 0; i < messages->list.n; i++) {
        items[i] = messages->list.items[i];
        const struct bytes role = text_of(&items[i], "role");
        if (bytes_equal_text(role, "assistant") && !open_calls(&m, &items[i]))
            return false;
        if (bytes_equal_text(role, "tool") && !close_call(&m, &items[i]))
            return false;
    }
    *list = (struct value){.kind = VALUE_LIST, .list = {items, messages->list.n}};
    r->ask->conversation.messages = list;
    return true;
}
