// responses_kept.c - the responses that are kept for previous_response_id, GET and DELETE.
//
// They live in memory, for a day at most and within a budget of bytes: the one that was used
// longest ago gives way. A conversation is a chain: each response holds its own items and a
// reference to those before it, so that a long one is there once. Items stay as long as anything
// that follows them is kept, also when their own response was deleted. Every look-up says whose
// response it must be: of another owner's none is found.
#include "responses.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kept_items *kept_items_make(struct kept *kept, struct kept_items *before, struct bytes json,
                                   uint32_t n_items)
{
    struct kept_items *items = mem_alloc(sizeof(*items) + json.n);
    *items = (struct kept_items){.before = before,
                                 .n_refs = 1,
                                 .n_items = n_items,
                                 .n_all = n_items + (before ? before->n_all : 0),
                                 .n_bytes = json.n,
                                 .n_bytes_all = json.n + (before ? before->n_bytes_all : 0)};
    if (json.n)
        memcpy(items->json, json.p, json.n);
    kept->n_bytes += sizeof(*items) + json.n;
    return items;
}

struct kept_items *kept_items_hold(struct kept_items *items)
{
    items->n_refs++;
    return items;
}

void kept_items_drop(struct kept *kept, struct kept_items *items)
{
    while (items && --items->n_refs == 0) {
        struct kept_items *before = items->before;
        kept->n_bytes -= sizeof(*items) + items->n_bytes;
        free(items);
        items = before;
    }
}

yyjson_doc *kept_items_read(const struct kept_items *items)
{
    struct buf text;
    buf_init(&text, SIZE_MAX);
    if (buf_add(&text, "[", 1) != OK || buf_add(&text, items->json, items->n_bytes) != OK ||
        buf_add(&text, "]", 1) != OK)
        die("out of memory");
    yyjson_doc *doc = yyjson_read((const char *)text.p, text.n, YYJSON_READ_NOFLAG);
    buf_free(&text);
    return doc;
}

// ---- responses ------------------------------------------------------------------------------

static struct kept_response **place_of(struct kept *kept, const struct kept_response *response)
{
    struct kept_response **at = &kept->first;
    while (*at != response)
        at = &(*at)->next;
    return at;
}

void kept_remove(struct kept *kept, struct kept_response *response)
{
    *place_of(kept, response) = response->next;
    kept->n--;
    kept->n_bytes -= sizeof(*response) + response->object.n;
    kept_items_drop(kept, response->items);
    buf_free(&response->object);
    free(response);
}

// What is too old, and while there is too much of them the last, but never `but`.
static void make_room(struct kept *kept, const struct kept_response *but)
{
    const uint64_t now_ms = clock_ms();
    struct kept_response *next;
    for (struct kept_response *r = kept->first; r; r = next) {
        next = r->next;
        if (r->until_ms <= now_ms)
            kept_remove(kept, r);
    }
    while (kept->n > RESPONSES_KEPT_MOST || kept->n_bytes > RESPONSES_KEPT_BYTES) {
        struct kept_response *last = kept->first;
        while (last && last->next)
            last = last->next;
        if (!last || last == but)
            return;
        kept_remove(kept, last);
    }
}

void kept_add(struct kept *kept, uint64_t owner, const char *id, struct kept_items *items,
              struct buf object)
{
    struct kept_response *response = mem_alloc(sizeof(*response));
    *response = (struct kept_response){.next = kept->first,
                                       .owner = owner,
                                       .until_ms = clock_ms() + RESPONSES_KEPT_S * 1000ull,
                                       .items = items,
                                       .object = object};
    snprintf(response->id, sizeof(response->id), "%s", id);
    kept->first = response;
    kept->n++;
    kept->n_bytes += sizeof(*response) + object.n;
    make_room(kept, response);
}

struct kept_response *kept_find(struct kept *kept, uint64_t owner, struct bytes id)
{
    make_room(kept, NULL);
    for (struct kept_response *r = kept->first; r; r = r->next) {
        if (r->owner != owner || !bytes_equal_text(id, r->id))
            continue;
        *place_of(kept, r) = r->next;
        r->next = kept->first;
        kept->first = r;
        return r;
    }
    return NULL;
}

bool kept_missing(struct refusal *refusal, struct bytes id, const char *param)
{
    char text[NAME_TEXT];
    return refuse(
        refusal, param ? 400 : 404, param ? "previous_response_not_found" : NULL, param,
        "There is no response '%s' here: it was not stored, was deleted, is older than %d "
        "hours, or gave way to newer ones.",
        name_text(text, id), RESPONSES_KEPT_S / 3600);
}

// ---- items by their ids ---------------------------------------------------------------------

// KIND_HEX_N: "resp_HEX" into `response`, and N; false: it is no such id.
static bool id_parts(struct bytes id, char response[RESPONSE_ID_BYTES], uint32_t *at)
{
    const uint8_t *first = memchr(id.p, '_', id.n);
    const size_t n_kind = first ? (size_t)(first - id.p) + 1 : 0;
    const uint8_t *second = first ? memchr(id.p + n_kind, '_', id.n - n_kind) : NULL;
    const size_t n_hex = second ? (size_t)(second - id.p) - n_kind : 0,
                 n_digits = second ? id.n - n_kind - n_hex - 1 : 0;
    if (n_hex == 0 || n_hex + 6 > RESPONSE_ID_BYTES || n_digits == 0 || n_digits > 6)
        return false;
    *at = 0;
    for (size_t i = id.n - n_digits; i < id.n; i++) {
        if (id.p[i] < '0' || id.p[i] > '9')
            return false;
        *at = 10 * *at + (id.p[i] - '0');
    }
    snprintf(response, RESPONSE_ID_BYTES, "resp_%.*s", (int)n_hex, (const char *)id.p + n_kind);
    return true;
}

yyjson_doc *kept_item(struct kept *kept, uint64_t owner, struct bytes id, yyjson_val **item)
{
    char name[RESPONSE_ID_BYTES];
    uint32_t at;
    struct kept_response *response =
        id_parts(id, name, &at) ? kept_find(kept, owner, bytes_of(name)) : NULL;
    if (!response)
        return NULL;
    const uint32_t n_input = response->items->before->n_items;
    yyjson_doc *doc = kept_items_read(at < n_input ? response->items->before : response->items);
    *item = yyjson_arr_get(yyjson_doc_get_root(doc), at < n_input ? at : at - n_input);
    if (*item)
        return doc;
    yyjson_doc_free(doc);
    return NULL;
}

struct kept *kept_open(void)
{
    return mem_alloc(sizeof(struct kept));
}

void kept_close(struct kept *kept)
{
    while (kept->first)
        kept_remove(kept, kept->first);
    free(kept);
}
