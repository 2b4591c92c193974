// schema.c - fuzz target: any JSON as a JSON schema (engine/text/schema*.c). What is refused says
// why, and begins with the schema's name; what is taken is walked through by bytes that are
// allowed, and what is whole then is JSON.
//
// Kept inputs: schema/ (each keyword, each fault, and what fuzzing found).
#include "text/matcher.h"

#include <stdlib.h>
#include <string.h>

enum { INPUT_MOST = 8192, STEPS = 300 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_be_json(struct bytes text)
{
    struct arena arena;
    struct value value;
    struct err err;
    arena_init(&arena, 1 << 20);
    enum status status = value_read(&value, &arena, text, &err);
    if (status != OK && status != NO_ROOM && status != TOO_LARGE)
        abort();
    arena_free(&arena);
}

// Which of the bytes that are allowed comes next depends on the input.
static void walk(const struct grammar *g, const uint8_t *data, size_t size)
{
    struct matcher *m;
    uint8_t text[STEPS];
    size_t n = 0;
    matcher_open(&m, g, NULL);
    while (n < STEPS && !matcher_must_end(m)) {
        uint8_t byte = data[n % size];
        int tried = 0;
        while (tried < 256 && !matcher_accept_bytes(m, (struct bytes){&byte, 1})) {
            byte++;
            tried++;
        }
        if (tried == 256 && m->overworked)
            break;
        if (tried == 256)
            abort(); // nothing leads on, and it may not end
        text[n++] = byte;
        if (matcher_may_end(m))
            must_be_json((struct bytes){text, n});
    }
    matcher_close(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char name[] = "schema";
    struct arena arena;
    struct value schema;
    struct notes notes = {0};
    struct grammar *g = NULL;
    struct err err = {0};
    if (size == 0 || size > INPUT_MOST)
        return 0;
    uint8_t *copy = malloc(size); // not a byte longer than the input
    if (!copy)
        abort();
    memcpy(copy, data, size);
    arena_init(&arena, 16 << 20);
    if (value_read(&schema, &arena, (struct bytes){copy, size}, &err) == OK) {
        const struct grammar_options options = {.path = name, .lenient = size % 2};
        enum status status = grammar_compile_schema(&g, &schema, &options, &notes, &err);
        if (status == OK)
            walk(g, data, size);
        else if (strncmp(err.text, name, strlen(name)) != 0 || err.status != status)
            abort();
        if (!memchr(notes.text, 0, sizeof(notes.text)))
            abort();
    }
    grammar_close(g);
    arena_free(&arena);
    free(copy);
    return 0;
}
