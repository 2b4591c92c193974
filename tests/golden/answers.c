// answers.c - what models write in, taken apart out: a tool of the golden tier.
//
//   answers < LINES    each line: {"template": TEXT, "tools": [...], "prompt": TEXT,
//                      "answer": TEXT}; each answer a line: {"form": NAME, "content": TEXT,
//                      "thinking": TEXT, "calls": [{"name": TEXT, "arguments": TEXT}],
//                      "refused_at": BYTES}: how far the grammar of calls and free text follows
//                      the answer; -1: to its end; null: this form's calls have no grammar
//
// The answer is fed in pieces of seven bytes.
#include "text/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MOST = 16 << 20, CALLS_MOST = 64, PIECE = 7 };

struct call {
    struct buf name, arguments;
};

struct parts {
    struct buf content, thinking;
    struct call calls[CALLS_MOST];
    int32_t n_calls;
};

static void add(struct buf *buf, struct bytes text)
{
    if (buf_add(buf, text.p, text.n) != OK) {
        fprintf(stderr, "answers: out of memory\n");
        exit(1);
    }
}

static void take(struct parts *parts, struct answer_parser *parser)
{
    struct answer_event event;
    while (answer_take(parser, &event)) {
        if (event.channel == ANSWER_CONTENT) {
            add(&parts->content, event.text);
        } else if (event.channel == ANSWER_THINKING) {
            add(&parts->thinking, event.text);
        } else if (event.call < CALLS_MOST) {
            struct call *call = &parts->calls[event.call];
            if (event.channel == ANSWER_TOOL_NAME) {
                buf_init(&call->name, LINE_MOST);
                buf_init(&call->arguments, LINE_MOST);
                parts->n_calls++;
            }
            add(event.channel == ANSWER_TOOL_NAME ? &call->name : &call->arguments, event.text);
        }
    }
}

// Each byte of the answer is a token; marks are text.
static int64_t refused_at(const struct answer_family *family, const struct value *tools,
                          struct bytes text, bool *none)
{
    const struct answer_rules rules = {.tools = tools, .several = true};
    struct grammar *grammar;
    struct matcher *matcher;
    struct notes notes = {""};
    struct err err;
    int64_t at = 0;
    if (answer_grammar(&grammar, family, &rules, &notes, &err) != OK) {
        fprintf(stderr, "answers: %s\n", err.text);
        exit(1);
    }
    *none = !grammar;
    if (!grammar)
        return 0;
    matcher_open(&matcher, grammar, NULL);
    while (at < (int64_t)text.n && matcher_accept_bytes(matcher, (struct bytes){text.p + at, 1}))
        at++;
    at = at == (int64_t)text.n && matcher_may_end(matcher) ? -1 : at;
    matcher_close(matcher);
    grammar_close(grammar);
    return at;
}

static void write_parts(const char *form, struct parts *parts, bool none, int64_t at)
{
    struct json json;
    json_init(&json, 8 * (size_t)LINE_MOST);
    json_object(&json, NULL);
    json_string(&json, "form", form);
    json_text(&json, "content", buf_view(&parts->content));
    json_text(&json, "thinking", buf_view(&parts->thinking));
    json_array(&json, "calls");
    for (int32_t i = 0; i < parts->n_calls; i++) {
        json_object(&json, NULL);
        json_text(&json, "name", buf_view(&parts->calls[i].name));
        json_text(&json, "arguments", buf_view(&parts->calls[i].arguments));
        json_end(&json);
        buf_free(&parts->calls[i].name);
        buf_free(&parts->calls[i].arguments);
    }
    json_end(&json);
    if (none)
        json_null(&json, "refused_at");
    else
        json_whole(&json, "refused_at", at);
    json_end(&json);
    if (json_done(&json) != OK)
        exit(1);
    printf("%.*s\n", (int)json.text.n, (const char *)json.text.p);
    fflush(stdout);
    json_free(&json);
}

static struct bytes text_at(const struct value *line, const char *name)
{
    const struct value *text = value_get(line, name);
    return text && text->kind == VALUE_TEXT ? text->text : (struct bytes){NULL, 0};
}

static void read_line(const struct value *line)
{
    static struct parts parts;
    struct answer_parser *parser;
    const struct answer_family family = answer_family_find(text_at(line, "template"), NULL);
    const struct answer_options options = {
        .tools = value_get(line, "tools"),
        .in_thought = answer_opens_thought(&family, text_at(line, "prompt"))};
    const struct bytes text = text_at(line, "answer");
    parts = (struct parts){0};
    buf_init(&parts.content, LINE_MOST);
    buf_init(&parts.thinking, LINE_MOST);
    answer_open(&parser, &family, &options);
    for (size_t at = 0; at < text.n; at += PIECE) {
        const size_t n = text.n - at < PIECE ? text.n - at : PIECE;
        answer_feed(parser, (struct bytes){text.p + at, n});
        take(&parts, parser);
    }
    answer_finish(parser);
    take(&parts, parser);
    answer_close(parser);
    bool none;
    const int64_t at = refused_at(&family, options.tools, text, &none);
    write_parts(answer_form_name(&family), &parts, none, at);
    buf_free(&parts.content);
    buf_free(&parts.thinking);
}

int main(void)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t n;
    while ((n = getline(&line, &size, stdin)) > 0) {
        struct arena arena;
        struct value value;
        struct err err;
        arena_init(&arena, 4 * (size_t)LINE_MOST);
        if (value_read(&value, &arena, (struct bytes){(const uint8_t *)line, (size_t)n}, &err) !=
            OK) {
            fprintf(stderr, "answers: %s\n", err.text);
            return 1;
        }
        read_line(&value);
        arena_free(&arena);
    }
    free(line);
    return 0;
}
