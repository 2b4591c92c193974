// lookup.c - what may come next, by what came before: the last tokens of a text are looked up in
// the text itself, and what followed them there is the guess (prompt lookup).
//
// The text is what a client predicts of the answer, if it does, then the prompt and the answer as
// it grows. Each place is filed under its last two tokens, places of the same two in a chain, the
// latest first: adding a token is a constant, and a guess looks at CANDIDATES places and MATCH_MOST
// tokens before each. The one that has most in common with the end wins; of equals the latest. A
// guess that runs into the text's own end goes on with itself, as a repetition does.
#include "inside.h"

#include <stdlib.h>
#include <string.h>

enum {
    HEADS_LEAST = 1 << 8,
    HEADS_MOST = 1 << 16,
    CANDIDATES = 16,
    NOWHERE = -1,
};

struct lookup {
    int32_t *token;  // [n]; BREAK between texts
    int32_t *before; // [n]: the place before with the same two tokens, or of the same head
    int32_t n, allocated;
    int32_t *head; // [n_heads]: the latest place; NOWHERE
    uint32_t n_heads;
};

static uint32_t head_of(const struct lookup *l, int32_t i)
{
    const uint32_t hash =
        (uint32_t)l->token[i - 1] * 2654435761u ^ (uint32_t)l->token[i] * 2246822519u;
    return (hash ^ hash >> 15) & (l->n_heads - 1);
}

void lookup_open(struct lookup **out, int32_t n_expected)
{
    struct lookup *l = mem_alloc(sizeof(*l));
    l->n_heads = HEADS_LEAST;
    while (l->n_heads < HEADS_MOST && l->n_heads < (uint32_t)n_expected)
        l->n_heads *= 2;
    l->head = mem_array(l->n_heads, sizeof(*l->head));
    memset(l->head, 0xff, l->n_heads * sizeof(*l->head)); // NOWHERE
    *out = l;
}

void lookup_close(struct lookup *l)
{
    if (!l)
        return;
    free(l->token);
    free(l->before);
    free(l->head);
    free(l);
}

void lookup_add(struct lookup *l, int32_t token)
{
    if (l->n == l->allocated) {
        l->allocated = l->allocated ? 2 * l->allocated : 256;
        l->token = mem_resize(l->token, (size_t)l->allocated * sizeof(*l->token));
        l->before = mem_resize(l->before, (size_t)l->allocated * sizeof(*l->before));
    }
    const int32_t i = l->n++;
    l->token[i] = token;
    l->before[i] = NOWHERE;
    if (i == 0 || token == LOOKUP_BREAK || l->token[i - 1] == LOOKUP_BREAK)
        return;
    int32_t *head = &l->head[head_of(l, i)];
    l->before[i] = *head;
    *head = i;
}

// How many tokens that end at i are those that end the text.
static int32_t match_at(const struct lookup *l, int32_t i)
{
    int32_t n = 0;
    while (n < LOOKUP_MATCH_MOST && n <= i && l->token[i - n] != LOOKUP_BREAK &&
           l->token[i - n] == l->token[l->n - 1 - n])
        n++;
    return n;
}

int32_t lookup_guess(const struct lookup *l, int32_t *out, int32_t n_most, int32_t *n_matched)
{
    int32_t best = NOWHERE, n_best = LOOKUP_MATCH_LEAST - 1, n = 0;
    int32_t at = l->n > 0 ? l->before[l->n - 1] : NOWHERE;
    for (int i = 0; i < CANDIDATES && at != NOWHERE; i++, at = l->before[at]) {
        const int32_t matched = match_at(l, at);
        if (matched > n_best) {
            best = at;
            n_best = matched;
        }
        if (matched == LOOKUP_MATCH_MOST)
            break;
    }
    *n_matched = best == NOWHERE ? 0 : n_best;
    if (best == NOWHERE)
        return 0;
    const int32_t period = l->n - 1 - best;
    for (; n < n_most; n++) {
        out[n] = n < period ? l->token[best + 1 + n] : out[n - period];
        if (out[n] == LOOKUP_BREAK)
            break;
    }
    return n;
}
