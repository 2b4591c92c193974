// body.c - the JSON body of a request: strict, capped, and with every key once.
//
// The parser (yyjson) is strict by default: RFC 8259, no comments, no trailing commas, no NaN,
// valid UTF-8 only. Depth is capped before it runs, the memory of its tree while it runs
// (BODY_TREE_BYTES), the size of the text by net/. A key that stands twice in one object is refused
// wherever it is, as two readers of the same text could disagree on it.
#include "inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Deepest nesting of arrays and objects, counted without parsing.
static size_t depth_of(struct bytes text)
{
    size_t depth = 0, most = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.p[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > most)
                most = depth;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return most;
}

// ---- memory ---------------------------------------------------------------------------------

// yyjson's allocator: counts what is taken and refuses what passes BODY_TREE_BYTES. It is not told
// the size of what it frees, so freeing gives nothing back to the count; the reader frees only at
// its end. Out of memory below the cap ends the process, as everywhere (base.h).
static void *tree_take(void *arg, size_t n)
{
    struct body *body = arg;
    if (n > BODY_TREE_BYTES - body->n_bytes)
        return NULL;
    body->n_bytes += n;
    return mem_alloc(n);
}

static void *tree_resize(void *arg, void *p, size_t n_before, size_t n)
{
    struct body *body = arg;
    if (n > n_before && n - n_before > BODY_TREE_BYTES - body->n_bytes)
        return NULL;
    body->n_bytes = body->n_bytes - n_before + n;
    return mem_resize(p, n);
}

static void tree_free(void *arg, void *p)
{
    (void)arg;
    free(p);
}

// ---- keys that stand twice ------------------------------------------------------------------

struct json_place { // of a value: the names and numbers that lead to it
    const struct json_place *outer;
    yyjson_val *key; // NULL: in an array
    size_t at;
};

static void place_write(struct buf *out, const struct json_place *place)
{
    char number[32];
    if (place->outer)
        place_write(out, place->outer);
    enum status status;
    if (place->key) {
        struct bytes name = string_of(place->key);
        status = buf_add(out, ".", out->n ? 1 : 0);
        if (status == OK)
            status = buf_add(out, name.p, name.n);
    } else {
        snprintf(number, sizeof(number), "[%zu]", place->at);
        status = buf_add(out, number, strlen(number));
    }
    if (status != OK) // too long to be said whole: its beginning is enough
        out->cap_bytes = out->n;
}

static bool stands_twice(const struct json_place *place, struct refusal *refusal)
{
    struct buf path;
    buf_init(&path, 300);
    place_write(&path, place);
    struct bytes view = buf_view(&path);
    char text[301];
    memcpy(text, view.p, view.n);
    text[view.n] = 0;
    buf_free(&path);
    return refuse(refusal, 400, "invalid_json", text, "'%s' stands twice.", text);
}

static uint64_t hash_of(struct bytes text, uint64_t seed)
{
    uint64_t hash = seed;
    for (size_t i = 0; i < text.n; i++)
        hash = (hash ^ text.p[i]) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 32;
}

// The first key of an object that was there before, or NULL. An open hash table, as one object may
// hold a million keys; its seed is not known to who chose them.
static yyjson_val *key_again(yyjson_val *object, uint64_t seed)
{
    size_t n_slots = 16, i, n;
    yyjson_val *key, *value, *again = NULL, *few[16] = {NULL};
    while (n_slots < 2 * yyjson_obj_size(object))
        n_slots *= 2;
    yyjson_val **slots = n_slots > COUNT_OF(few) ? mem_array(n_slots, sizeof(yyjson_val *)) : few;
    yyjson_obj_foreach(object, i, n, key, value)
    {
        struct bytes name = string_of(key);
        size_t at = hash_of(name, seed) & (n_slots - 1);
        while (slots[at] && !bytes_equal(string_of(slots[at]), name))
            at = (at + 1) & (n_slots - 1);
        if (slots[at]) {
            again = key;
            break;
        }
        slots[at] = key;
    }
    if (slots != few)
        free(slots);
    return again;
}

// Depth was capped, so this may call itself. outer: where the value is, NULL: the whole.
static bool keys_once(yyjson_val *value, const struct json_place *outer, uint64_t seed,
                      struct refusal *refusal)
{
    struct json_place place = {.outer = outer};
    size_t n;
    yyjson_val *element;
    if (yyjson_is_obj(value)) {
        place.key = key_again(value, seed);
        if (place.key)
            return stands_twice(&place, refusal);
        yyjson_obj_foreach(value, place.at, n, place.key, element)
        {
            if (yyjson_is_ctn(element) && !keys_once(element, &place, seed, refusal))
                return false;
        }
    } else if (yyjson_is_arr(value)) {
        yyjson_arr_foreach(value, place.at, n, element)
        {
            if (yyjson_is_ctn(element) && !keys_once(element, &place, seed, refusal))
                return false;
        }
    }
    return true;
}

// ---- the whole ------------------------------------------------------------------------------

void body_close(struct body *body)
{
    yyjson_doc_free(body->doc);
    *body = (struct body){0};
}

static bool parse(struct body *body, struct bytes text, struct refusal *refusal)
{
    yyjson_read_err error = {0};
    const yyjson_alc counted = {tree_take, tree_resize, tree_free, body};
    // without YYJSON_READ_INSITU the text is only read
    body->doc =
        yyjson_read_opts((char *)(uintptr_t)text.p, text.n, YYJSON_READ_NOFLAG, &counted, &error);
    if (body->doc)
        return true;
    if (error.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION)
        return refuse(refusal, 413, "request_too_large", NULL,
                      "The JSON has too many values: its tree takes more than the %d MiB that one "
                      "request may use.",
                      BODY_TREE_BYTES >> 20);
    return refuse(refusal, 400, "invalid_json", NULL, "The body is not valid JSON: %s at byte %zu.",
                  error.msg ? error.msg : "it cannot be read", error.pos);
}

bool body_open(struct body *body, struct bytes text, struct refusal *refusal)
{
    *body = (struct body){0};
    if (text.n == 0)
        return refuse(refusal, 400, "invalid_json", NULL,
                      "The body is empty; a JSON object is expected.");
    size_t depth = depth_of(text);
    if (depth > BODY_DEPTH)
        return refuse(refusal, 400, "invalid_json", NULL,
                      "The JSON is nested %zu deep; at most %d is allowed.", depth, BODY_DEPTH);
    if (!parse(body, text, refusal))
        return false;
    uint64_t seed;
    random_bytes(&seed, sizeof(seed));
    bool good = yyjson_is_obj(yyjson_doc_get_root(body->doc));
    if (!good)
        (void)refuse(refusal, 400, "invalid_json", NULL, "The body must be a JSON object.");
    good = good && keys_once(yyjson_doc_get_root(body->doc), NULL, seed, refusal);
    if (!good)
        body_close(body);
    return good;
}
