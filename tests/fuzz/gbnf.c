// gbnf.c - fuzz target: any bytes as a GBNF grammar (engine/text/gbnf.c) or, after a first byte of
// '/', as a regular expression (regex.c). What is refused says why; what is taken is followed along
// texts made of its own bytes, and where nothing can follow the text is whole.
//
// Kept inputs: gbnf/ (each construct, each fault, and what fuzzing found).
#include "text/matcher.h"

#include <stdlib.h>
#include <string.h>

enum { INPUT_MOST = 4096, STEPS = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void follow(const struct grammar *g, struct bytes text)
{
    struct matcher *m;
    matcher_open(&m, g, NULL);
    for (size_t i = 0; i < text.n && i < STEPS; i++) {
        const struct bytes byte = {text.p + i, 1};
        if (matcher_accept_bytes(m, byte) && i % 5 == 4)
            matcher_forget(m, NULL, 0);
    }
    if (matcher_must_end(m) && !matcher_may_end(m))
        abort();
    matcher_close(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct grammar *g = NULL;
    struct err err = {0};
    if (size == 0 || size > INPUT_MOST)
        return 0;
    bool expression = data[0] == '/';
    size_t n = size - expression;
    uint8_t *copy = malloc(n ? n : 1); // not a byte longer than the input
    if (!copy)
        abort();
    memcpy(copy, data + expression, n);
    const struct bytes text = {copy, n};
    enum status status =
        expression ? grammar_compile_regex(&g, text, &err) : grammar_compile_gbnf(&g, text, &err);
    if (status == OK)
        follow(g, text);
    else if (!err.text[0] || err.status != status)
        abort();
    grammar_close(g);
    free(copy);
    return 0;
}
