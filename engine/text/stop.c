// stop.c - finds stop strings in streamed text and sends only what is safe to send.
//
// Invariant: `held` is all text not yet sent. Its end may be the beginning of a stop string, or of
// a UTF-8 sequence; both are held back until the next piece decides. The stop string that is
// complete first wins (so that the result does not depend on how the text was cut into pieces); the
// text before it is the last that is sent. Stops are compared as bytes. What is sent is valid
// UTF-8: invalid bytes become U+FFFD on the way out.

#include "text.h"

#include <stdlib.h>
#include <string.h>

struct stopper {
    struct buf held; // text that may not be sent yet
    struct buf sent; // what the last call returned a view of
    struct bytes *stops;
    size_t n_stops;
    uint8_t *memory; // of the stops
    size_t n_cut;
    struct bytes completed;
};

void stopper_open(struct stopper **out, const struct bytes *stops, size_t n_stops)
{
    struct stopper *s = mem_alloc(sizeof(*s));
    size_t n_bytes = 0;
    for (size_t i = 0; i < n_stops; i++)
        n_bytes += stops[i].n;
    s->memory = mem_alloc(n_bytes + 1);
    s->stops = mem_array(n_stops + 1, sizeof(*s->stops));
    n_bytes = 0;
    for (size_t i = 0; i < n_stops; i++) {
        if (stops[i].n == 0)
            continue; // an empty stop would end everything at once
        memcpy(s->memory + n_bytes, stops[i].p, stops[i].n);
        s->stops[s->n_stops++] = (struct bytes){s->memory + n_bytes, stops[i].n};
        n_bytes += stops[i].n;
    }
    buf_init(&s->held, SIZE_MAX);
    buf_init(&s->sent, SIZE_MAX);
    *out = s;
}

void stopper_close(struct stopper *stopper)
{
    if (!stopper)
        return;
    buf_free(&stopper->held);
    buf_free(&stopper->sent);
    free(stopper->stops);
    free(stopper->memory);
    free(stopper);
}

// Moves the first n held bytes out, made valid.
static struct bytes send(struct stopper *s, size_t n)
{
    s->sent.n = 0;
    if (utf8_clean(&s->sent, (struct bytes){s->held.p, n}) != OK)
        die("out of memory");
    buf_drop_front(&s->held, n);
    return buf_view(&s->sent);
}

// Where in held the stop begins that is complete first (at equal ends the longest), which becomes
// *which; held.n when there is none.
static size_t find_stop(const struct stopper *s, struct bytes *which)
{
    size_t first = s->held.n, first_end = SIZE_MAX;
    for (size_t i = 0; i < s->n_stops; i++) {
        const uint8_t *found =
            s->held.n > 0 ? memmem(s->held.p, s->held.n, s->stops[i].p, s->stops[i].n) : NULL;
        size_t start = found ? (size_t)(found - s->held.p) : 0, end = start + s->stops[i].n;
        if (found && (end < first_end || (end == first_end && start < first))) {
            first = start;
            first_end = end;
            *which = s->stops[i];
        }
    }
    return first;
}

// How many bytes at the end of held could be the beginning of a stop.
static size_t open_stop(const struct stopper *s)
{
    size_t longest = 0;
    for (size_t i = 0; i < s->n_stops; i++) {
        size_t n = s->stops[i].n - 1 < s->held.n ? s->stops[i].n - 1 : s->held.n;
        while (n > longest && memcmp(s->held.p + s->held.n - n, s->stops[i].p, n) != 0)
            n--;
        longest = n > longest ? n : longest;
    }
    return longest;
}

bool stopper_feed(struct stopper *stopper, struct bytes piece, struct bytes *out)
{
    if (piece.n > 0 && buf_add(&stopper->held, piece.p, piece.n) != OK)
        die("out of memory");
    size_t stop = find_stop(stopper, &stopper->completed);
    if (stop < stopper->held.n) {
        *out = send(stopper, stop);
        stopper->n_cut = stopper->held.n;
        stopper->held.n = 0;
        return true;
    }
    size_t safe = stopper->held.n - open_stop(stopper);
    *out = send(stopper, utf8_whole((struct bytes){stopper->held.p, safe}));
    return false;
}

size_t stopper_cut(const struct stopper *stopper)
{
    return stopper->n_cut;
}

struct bytes stopper_completed(const struct stopper *stopper)
{
    return stopper->completed;
}

struct bytes stopper_flush(struct stopper *stopper)
{
    return send(stopper, stopper->held.n);
}
