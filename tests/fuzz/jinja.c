// jinja.c - fuzz target: any template with fixed variables, and any variables with a fixed one.
// What comes out is valid UTF-8, of the length that is told, and every refusal has its sentence.
//
// Input: a template; behind a byte 0, JSON of the variable `messages`. Kept inputs: jinja/.
#include "text/jinja.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char otherwise[] =
    "[{\"role\":\"user\",\"content\":\"Hi <|x|> \\u00e9\"},{\"role\":\"assistant\","
    "\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{\"a\":[1,2.5,null]}}}]}]";

static void check(const struct jinja_text *text)
{
    for (size_t i = 0; i < text->n; i++)
        if (text->client[i] > 1)
            abort();
    if (!utf8_valid((struct bytes){text->p, text->n}))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *zero = size > 0 ? memchr(data, 0, size) : NULL;
    struct bytes source = {data, zero ? (size_t)(zero - data) : size},
                 json = zero ? (struct bytes){zero + 1, size - source.n - 1} : bytes_of(otherwise);
    struct err err = {OK, ""};
    struct jinja *jinja;
    struct arena arena;
    struct value messages, bos = {.kind = VALUE_TEXT, .text = bytes_of("<s>")};
    struct jinja_text text;
    if (jinja_open(&jinja, source, &err) != OK) {
        if (!err.text[0])
            abort();
        return 0;
    }
    arena_init(&arena, 1 << 20);
    if (value_read(&messages, &arena, json, &err) == OK) {
        const struct jinja_variable variables[] = {{"messages", &messages, false},
                                                   {"bos_token", &bos, true}};
        err.text[0] = 0;
        if (jinja_render(&text, jinja, variables, 2, 0, &err) == OK) {
            check(&text);
            jinja_text_free(&text);
        }
    }
    arena_free(&arena);
    jinja_close(jinja);
    return 0;
}
