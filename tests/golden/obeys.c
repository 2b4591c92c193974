// obeys.c - walks through grammars at random: a tool of the golden tier.
//
//   obeys MODEL.gguf SEED    reads JSON schemas, one a line; for each it writes one line of JSON:
//       {"us": to compile, "error": "..."}                            it was refused
//       {"us":, "notes":, "whole": true, "text":, "tokens":, "mask_us":, "allow_ns":}
//
// Every token is drawn with equal chance from those that the mask allows, which is stranger than
// any model at any temperature; behind LONG tokens mostly what closes, where that is allowed. So
// what comes out is checked to obey the schema, and not only to be likely. whole: the walk came to
// an end within MOST tokens. mask_us: of a mask that was not asked for before, on average;
// allow_ns: of one token tried alone.
#include "model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LONG = 60, MOST = 3000, LINE_MOST = 8 << 20 };

struct walking {
    const struct tokenizer *tokenizer;
    struct matcher *matcher;
    uint32_t *bits;
    uint64_t random;
    uint64_t mask_ns, allow_ns;
    uint32_t n_tokens, n_tried;
};

static uint64_t now_ns(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

static uint32_t draw(struct walking *w, uint32_t n)
{
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(w->random >> 33) % n;
}

static bool masked(const struct walking *w, int32_t id)
{
    return w->bits[id / 32] >> (id % 32) & 1;
}

// The token of those allowed whose text closes something, or the shortest; -1: none.
static int32_t closing(struct walking *w)
{
    static const char order[] = "\"}]";
    int32_t best = -1, rank_best = 100;
    const int32_t n = tokenizer_n_vocab(w->tokenizer), from = (int32_t)draw(w, (uint32_t)n);
    for (int32_t i = 0; i < n; i++) {
        const int32_t id = (from + i) % n;
        if (!masked(w, id) || tokenizer_is_end(w->tokenizer, id))
            continue;
        const struct bytes text = tokenizer_decode(w->tokenizer, id);
        const char *at = text.n == 1 ? strchr(order, text.p[0]) : NULL;
        int32_t rank = at && text.p[0] ? (int32_t)(at - order) : 10 + (text.n > 1);
        if (rank < rank_best) {
            rank_best = rank;
            best = id;
        }
    }
    return best;
}

static int32_t any(struct walking *w)
{
    const int32_t n = tokenizer_n_vocab(w->tokenizer);
    uint32_t n_allowed = 0;
    for (int32_t id = 0; id < n; id++)
        n_allowed += masked(w, id) && !tokenizer_is_end(w->tokenizer, id);
    uint32_t pick = n_allowed ? draw(w, n_allowed) : 0;
    for (int32_t id = 0; id < n; id++)
        if (masked(w, id) && !tokenizer_is_end(w->tokenizer, id) && pick-- == 0)
            return id;
    return -1;
}

// What a sampler does first: the likeliest tokens, one by one.
static void try_some(struct walking *w)
{
    uint64_t from = now_ns();
    for (int i = 0; i < 16; i++)
        (void)matcher_allows(w->matcher,
                             (int32_t)draw(w, (uint32_t)tokenizer_n_vocab(w->tokenizer)));
    w->allow_ns += now_ns() - from;
    w->n_tried += 16;
}

static bool walk(struct walking *w, struct buf *text, struct err *err)
{
    for (w->n_tokens = 0; w->n_tokens < MOST; w->n_tokens++) {
        if (matcher_must_end(w->matcher) || (matcher_may_end(w->matcher) && draw(w, 2)))
            return true;
        try_some(w);
        uint64_t from = now_ns();
        if (matcher_mask(w->matcher, w->bits, err) != OK)
            return false;
        w->mask_ns += now_ns() - from;
        int32_t id = w->n_tokens < LONG || draw(w, 4) == 0 ? any(w) : closing(w);
        if (id < 0)
            return matcher_may_end(w->matcher);
        const struct bytes piece = tokenizer_decode(w->tokenizer, id);
        if (!matcher_accept(w->matcher, id) || buf_add(text, piece.p, piece.n) != OK)
            die("token %d is allowed and not accepted", (int)id);
    }
    return false;
}

static void tell(struct walking *w, const struct grammar *g, struct json *json)
{
    struct err err = {0};
    struct buf text;
    buf_init(&text, SIZE_MAX);
    matcher_open(&w->matcher, g, w->tokenizer);
    w->mask_ns = w->allow_ns = w->n_tried = 0;
    bool whole = walk(w, &text, &err);
    json_bool(json, "whole", whole);
    json_text(json, "text", buf_view(&text));
    json_string(json, "stuck", err.text);
    json_whole(json, "tokens", w->n_tokens);
    json_real(json, "mask_us", w->n_tokens ? (double)w->mask_ns / 1e3 / w->n_tokens : 0, 1);
    json_real(json, "allow_ns", w->n_tried ? (double)w->allow_ns / w->n_tried : 0, 0);
    matcher_close(w->matcher);
    buf_free(&text);
}

static void try_schema(struct walking *w, struct bytes line)
{
    struct arena arena;
    struct value schema;
    struct notes notes = {0};
    struct grammar *g = NULL;
    struct json json;
    struct err err = {0};
    arena_init(&arena, 64 << 20);
    if (value_read(&schema, &arena, line, &err) != OK)
        die("%s", err.text);
    json_init(&json, SIZE_MAX);
    json_object(&json, NULL);
    uint64_t from = now_ns();
    const struct grammar_options options = {.path = "schema"};
    bool good = grammar_compile_schema(&g, &schema, &options, &notes, &err) == OK;
    json_real(&json, "us", (double)(now_ns() - from) / 1e3, 1);
    json_string(&json, "notes", notes.text);
    if (good)
        tell(w, g, &json);
    else
        json_string(&json, "error", err.text);
    json_end(&json);
    if (json_done(&json) != OK)
        die("an answer does not fit");
    fwrite(json.text.p, 1, json.text.n, stdout);
    putchar('\n');
    json_free(&json);
    grammar_close(g);
    arena_free(&arena);
}

int main(int argc, char **argv)
{
    struct tokenizer *tokenizer;
    struct err err;
    if (argc != 3) {
        fprintf(stderr, "obeys MODEL.gguf SEED < SCHEMAS\n");
        return 2;
    }
    if (model_tokenizer_open(&tokenizer, argv[1], &err) != OK) {
        fprintf(stderr, "obeys: %s\n", err.text);
        return 1;
    }
    char *line = mem_alloc(LINE_MOST);
    struct walking w = {.tokenizer = tokenizer, .random = strtoull(argv[2], NULL, 10)};
    w.bits = mem_array((size_t)tokenizer_n_vocab(tokenizer) / 32 + 1, sizeof(*w.bits));
    while (fgets(line, LINE_MOST, stdin))
        try_schema(&w, bytes_of(line));
    free(line);
    free(w.bits);
    tokenizer_close(tokenizer);
    return 0;
}
