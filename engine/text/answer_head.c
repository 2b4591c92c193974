// answer_head.c - what stands before a call's arguments, in every shape: is this a call, of which
// tool, and where do its arguments begin.
//
// A head is looked at whole, again and again as it grows, and nothing of it is taken before it is
// known to be one: HEAD_NOT leaves the text as it is. So a head has a limit, above any name and
// above the arguments that some models write before it. head->name is set when the name is whole:
// an answer that is cut off behind it is a call, whose arguments are empty.
#include "answer_inside.h"

#include <string.h>

// ---- tools --------------------------------------------------------------------------------------

const struct value *answer_function(const struct value *tools, size_t i)
{
    const struct value *tool = &tools->list.items[i], *function = value_get(tool, "function");
    return function && function->kind == VALUE_DICT ? function : tool;
}

const struct value *answer_tool(const struct answer_parser *a, struct bytes name)
{
    const struct value *tools = a->options.tools;
    for (size_t i = 0; tools && tools->kind == VALUE_LIST && i < tools->list.n; i++) {
        const struct value *function = answer_function(tools, i);
        const struct value *its = value_get(function, "name");
        if (its && its->kind == VALUE_TEXT && bytes_equal(its->text, name))
            return function;
    }
    return NULL;
}

static bool is_name(struct bytes name)
{
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] <= ' ' || strchr("\"'\\<>{}[](),;=`", name.p[i]))
            return false;
    return name.n > 0 && name.n <= NAME_MOST;
}

static struct bytes trimmed(struct bytes text)
{
    text = bytes_from(text, bytes_blank(text));
    while (text.n > 0 && bytes_blank(bytes_from(text, text.n - 1)) == 1)
        text.n--;
    return text;
}

// ---- {"name": ..., "arguments": ...} ------------------------------------------------------------

struct object { // a head being read
    const struct answer_parser *a;
    struct bytes in;
    size_t at;
    struct head *head;
};

// A member's name, and its ':'. HEAD_CALL: it is read.
static enum head_verdict read_key(struct object *o, struct bytes *key)
{
    const struct bytes rest = bytes_from(o->in, o->at);
    enum json_state state;
    const size_t n = answer_json_skip(rest, NULL, false, &state);
    if (rest.n > 0 && *rest.p != '"' && *rest.p != '\'')
        return HEAD_NOT;
    if (n == 0)
        return state == JSON_BAD ? HEAD_NOT : HEAD_MORE;
    *key = (struct bytes){rest.p + 1, n - 2};
    o->at += n;
    o->at += bytes_blank(bytes_from(o->in, o->at));
    if (o->at == o->in.n)
        return HEAD_MORE;
    if (o->in.p[o->at++] != ':')
        return HEAD_NOT;
    o->at += bytes_blank(bytes_from(o->in, o->at));
    return o->at == o->in.n ? HEAD_MORE : HEAD_CALL;
}

static bool key_is(struct bytes key, const char *const names[])
{
    for (size_t i = 0; names[i]; i++)
        if (bytes_equal_text(key, names[i]))
            return true;
    return false;
}

static enum answer_state value_state(uint8_t first)
{
    return first == '"' ? IN_STRING : IN_VALUE;
}

// One member. HEAD_CALL: it is read, or it opens an object, or (*whole) the arguments begin. Where
// a call may stand without a mark, an object with other members, or of no such tool, is just an
// object: it is not held back until its end.
static enum head_verdict read_member(struct object *o, bool *whole)
{
    static const char *const names[] = {"name", "tool_name", "function", NULL};
    static const char *const arguments[] = {"arguments", "parameters", NULL};
    static const char *const others[] = {"type", "id", "tool_call_id", NULL};
    struct head *head = o->head;
    struct bytes key;
    enum head_verdict verdict = read_key(o, &key);
    if (verdict != HEAD_CALL)
        return verdict;
    const struct bytes rest = bytes_from(o->in, o->at);
    if (bytes_equal_text(key, "function") && *rest.p == '{') {
        o->at++;
        head->n_levels++;
        return HEAD_CALL;
    }
    const bool is_arguments = key_is(key, arguments);
    if (is_arguments && head->name.n > 0) {
        head->state = value_state(*rest.p);
        *whole = true;
        return HEAD_CALL;
    }
    const bool is_tool = head->name.n == 0 && key_is(key, names);
    if (o->a->form->bare && !is_arguments && !is_tool && !key_is(key, others))
        return HEAD_NOT;
    enum json_state state;
    const size_t n = answer_json_skip(rest, NULL, false, &state);
    if (n == 0)
        return state == JSON_BAD ? HEAD_NOT : HEAD_MORE;
    if (is_arguments) {
        head->from = o->at;
        head->to = o->at + n;
    } else if (is_tool) {
        head->name = (struct bytes){rest.p + 1, n - 2};
        if ((*rest.p != '"' && *rest.p != '\'') || !is_name(head->name))
            return HEAD_NOT;
        if (o->a->form->bare && !answer_tool(o->a, head->name))
            return HEAD_NOT;
    }
    o->at += n;
    return HEAD_CALL;
}

// in begins with '{'
static enum head_verdict object_head(const struct answer_parser *a, struct bytes in,
                                     struct head *head)
{
    struct object o = {.a = a, .in = in, .at = 1, .head = head};
    bool whole = false;
    head->n_levels = 1;
    while (!whole) {
        o.at += bytes_blank(bytes_from(in, o.at));
        if (o.at == in.n)
            return HEAD_MORE;
        if (in.p[o.at] == ',') {
            o.at++;
            continue;
        }
        if (in.p[o.at] == '}') {
            o.at++;
            if (--head->n_levels == 0)
                break;
            continue;
        }
        const enum head_verdict verdict = read_member(&o, &whole);
        if (verdict != HEAD_CALL)
            return verdict;
        whole = whole || (head->name.n > 0 && head->to > 0);
    }
    if (head->name.n == 0)
        return HEAD_NOT;
    if (head->to > 0 || head->n_levels == 0)
        head->state = IN_REST;
    head->n = o.at;
    return HEAD_CALL;
}

// ---- name(a=1) ----------------------------------------------------------------------------------

static bool is_identifier(uint8_t c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_' ||
           c == '.' || c == '-' || c == ':' || c == '/';
}

static enum head_verdict keywords_head(struct bytes in, struct head *head)
{
    size_t n = 0;
    while (n < in.n && n <= NAME_MOST && is_identifier(in.p[n]))
        n++;
    if (n == in.n)
        return HEAD_MORE;
    head->name = (struct bytes){in.p, n};
    if (in.p[n] != '(' || !is_name(head->name))
        return HEAD_NOT;
    if (n > 5 && memcmp(in.p + n - 5, ".call", 5) == 0) // Llama's tools of its own
        head->name.n -= 5;
    head->n = n + 1;
    head->state = IN_KEYWORDS;
    return HEAD_CALL;
}

// ---- a name, and what ends it -------------------------------------------------------------------

// functions.NAME:3
static void written_id(struct head *head)
{
    head->id = head->name;
    if (bytes_begin(head->name, "functions."))
        head->name = bytes_from(head->name, 10);
    const uint8_t *colon = memrchr(head->name.p, ':', head->name.n);
    if (colon)
        head->name.n = (size_t)(colon - head->name.p);
}

// The name that `in` begins with, and in head->n where it and its mark end.
static enum head_verdict read_name(const struct answer_form *form, struct bytes in,
                                   struct head *head)
{
    size_t at = in.n, open = 0, which = 0;
    for (size_t i = 0; i < FORM_ENDS && form->name_end[i]; i++) {
        const size_t found = bytes_find(in, form->name_end[i]);
        const size_t part = bytes_open_end(in, form->name_end[i]);
        which = found < at ? i : which;
        at = found < at ? found : at;
        open = part > open ? part : open;
    }
    if (at == in.n) {
        const struct bytes sure = trimmed((struct bytes){in.p, in.n - open});
        return sure.n == 0 || is_name(sure) ? HEAD_MORE : HEAD_NOT;
    }
    head->name = trimmed((struct bytes){in.p, at});
    if (!is_name(head->name))
        return HEAD_NOT;
    if (form->written_id)
        written_id(head);
    const char *end = form->name_end[which];
    const bool stays = *end == '{' || (form->shape == SHAPE_TAGGED && which > 0);
    head->n = at + (stays ? 0 : strlen(end));
    if (which == 1 && form->skip_to) {
        const size_t to = bytes_find(bytes_from(in, head->n), form->skip_to);
        if (head->n + to == in.n)
            return HEAD_MORE;
        head->n += to + strlen(form->skip_to);
    }
    return head->name.n > 0 ? HEAD_CALL : HEAD_NOT;
}

// Skips white space and the first of the texts that stands there; false: it may be one that has not
// come whole.
static bool skip(struct bytes in, size_t *at, const char *const texts[], size_t n_texts)
{
    *at += bytes_blank(bytes_from(in, *at));
    const struct bytes rest = bytes_from(in, *at);
    for (size_t i = 0; i < n_texts; i++) {
        if (bytes_may_begin(rest, texts[i]))
            return false;
        if (bytes_begin(rest, texts[i])) {
            *at += strlen(texts[i]);
            return true;
        }
    }
    return true;
}

static enum head_verdict named_head(const struct answer_parser *a, struct bytes in,
                                    struct head *head)
{
    static const char *const fences[] = {"```json", "```"};
    const struct answer_form *form = a->form;
    size_t at = 0;
    if (form->call_open && !bytes_begin(in, form->call_open))
        return bytes_may_begin(in, form->call_open) ? HEAD_MORE : HEAD_NOT;
    at += form->call_open ? strlen(form->call_open) : 0;
    if (!skip(in, &at, form->prefix, COUNT_OF(form->prefix)))
        return HEAD_MORE;
    enum head_verdict verdict = read_name(form, bytes_from(in, at), head);
    if (verdict != HEAD_CALL)
        return verdict;
    head->n += at;
    if (form->shape == SHAPE_TAGGED) {
        head->state = IN_PARAMETERS;
        return HEAD_CALL;
    }
    if (!skip(in, &head->n, fences, COUNT_OF(fences)))
        return HEAD_MORE;
    head->n += bytes_blank(bytes_from(in, head->n));
    if (head->n == in.n)
        return HEAD_MORE;
    head->state = value_state(in.p[head->n]);
    return in.p[head->n] == '{' || in.p[head->n] == '"' ? HEAD_CALL : HEAD_NOT;
}

// ---- any shape ----------------------------------------------------------------------------------

static enum head_verdict read_head(const struct answer_parser *a, struct bytes in,
                                   struct head *head)
{
    size_t at = bytes_blank(in);
    if (at == in.n)
        return HEAD_MORE;
    if (in.p[at] == '[' && !a->form->quote) {
        at++;
        at += bytes_blank(bytes_from(in, at));
        if (at == in.n)
            return HEAD_MORE;
        head->listed = true;
        if (in.p[at] != '{' && a->form->shape != SHAPE_KEYWORDS)
            return HEAD_NOT;
    }
    const struct bytes rest = bytes_from(in, at);
    enum head_verdict verdict = *rest.p == '{'                     ? object_head(a, rest, head)
                                : a->form->shape == SHAPE_KEYWORDS ? keywords_head(rest, head)
                                : a->form->shape == SHAPE_OBJECTS  ? HEAD_NOT
                                                                   : named_head(a, rest, head);
    head->n += at;
    head->from += at;
    head->to += head->to ? at : 0;
    return verdict;
}

enum head_verdict answer_head(const struct answer_parser *a, struct bytes in, struct head *head)
{
    *head = (struct head){0};
    enum head_verdict verdict = read_head(a, in, head);
    if (verdict == HEAD_MORE && a->final && head->name.n > 0) { // cut off behind its name
        *head = (struct head){.name = head->name, .id = head->id, .n = in.n, .state = IN_VALUE};
        verdict = HEAD_CALL;
    }
    const bool is_long = verdict == HEAD_MORE ? in.n > HEAD_MOST : head->n > HEAD_MOST;
    return is_long ? HEAD_NOT : verdict;
}
