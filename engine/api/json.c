// json.c - JSON at the door: strict in, and a reply out.
//
// The parser (yyjson) is strict by default: RFC 8259, no comments, no trailing commas, no NaN,
// valid UTF-8 only. Depth is capped before it runs, the memory of its tree while it runs
// (JSON_BYTES), the size of the text by net/. Duplicate keys are caught where keys are read
// (openai.c).
#include "inside.h"

#include <stdio.h>
#include <stdlib.h>

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

// yyjson's allocator: counts what is taken and refuses what passes JSON_BYTES. It is not told the
// size of what it frees, so freeing gives nothing back to the count; the reader frees only at its
// end. Out of memory below the cap ends the process, as everywhere (base.h).
static void *tree_take(void *arg, size_t n)
{
    struct json *json = arg;
    if (n > JSON_BYTES - json->n_bytes)
        return NULL;
    json->n_bytes += n;
    return mem_alloc(n);
}

static void *tree_resize(void *arg, void *p, size_t n_before, size_t n)
{
    struct json *json = arg;
    if (n > n_before && n - n_before > JSON_BYTES - json->n_bytes)
        return NULL;
    json->n_bytes = json->n_bytes - n_before + n;
    return mem_resize(p, n);
}

static void tree_free(void *arg, void *p)
{
    (void)arg;
    free(p);
}

void json_close(struct json *json)
{
    yyjson_doc_free(json->doc);
    *json = (struct json){0};
}

bool json_open(struct json *json, struct bytes text, struct refusal *refusal)
{
    if (text.n == 0)
        return refuse(refusal, 400, "invalid_json", NULL,
                      "The body is empty; a JSON object is expected.");
    size_t depth = depth_of(text);
    if (depth > JSON_DEPTH)
        return refuse(refusal, 400, "invalid_json", NULL,
                      "The JSON is nested %zu deep; at most %d is allowed.", depth, JSON_DEPTH);
    yyjson_read_err error = {0};
    *json = (struct json){0};
    const yyjson_alc counted = {tree_take, tree_resize, tree_free, json};
    // without YYJSON_READ_INSITU the text is only read
    json->doc =
        yyjson_read_opts((char *)(uintptr_t)text.p, text.n, YYJSON_READ_NOFLAG, &counted, &error);
    if (!json->doc && error.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION)
        return refuse(refusal, 413, "request_too_large", NULL,
                      "The JSON has too many values: its tree takes more than the %d MiB that one "
                      "request may use.",
                      JSON_BYTES >> 20);
    if (!json->doc)
        return refuse(refusal, 400, "invalid_json", NULL,
                      "The body is not valid JSON: %s at byte %zu.",
                      error.msg ? error.msg : "it cannot be read", error.pos);
    if (!yyjson_is_obj(yyjson_doc_get_root(json->doc))) {
        json_close(json);
        return refuse(refusal, 400, "invalid_json", NULL, "The body must be a JSON object.");
    }
    return true;
}

void json_reply(struct exchange *exchange, int http, struct buf *body, enum status status)
{
    if (status == OK)
        exchange_reply(exchange, http, "application/json", buf_view(body));
    else
        exchange_reply(exchange, 500, "application/json",
                       bytes_of("{\"error\":{\"message\":\"The answer is too long to be sent.\","
                                "\"type\":\"server_error\",\"param\":null,\"code\":null}}"));
    buf_free(body);
}
