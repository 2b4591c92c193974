// json.c - JSON at the door: strict in, escaped out.
//
// The parser (yyjson) is strict by default: RFC 8259, no comments, no trailing commas, no NaN,
// valid UTF-8 only. Depth is capped before it runs; size is capped by net/. Duplicate keys are
// caught where keys are read (openai.c).
#include "inside.h"

#include <stdio.h>

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

bool json_open(yyjson_doc **out, struct bytes text, struct refusal *refusal)
{
    if (text.n == 0)
        return refuse(refusal, 400, "invalid_json", NULL,
                      "The body is empty; a JSON object is expected.");
    size_t depth = depth_of(text);
    if (depth > JSON_DEPTH)
        return refuse(refusal, 400, "invalid_json", NULL,
                      "The JSON is nested %zu deep; at most %d is allowed.", depth, JSON_DEPTH);
    yyjson_read_err error = {0};
    // without YYJSON_READ_INSITU the text is only read
    yyjson_doc *doc =
        yyjson_read_opts((char *)(uintptr_t)text.p, text.n, YYJSON_READ_NOFLAG, NULL, &error);
    if (!doc)
        return refuse(refusal, 400, "invalid_json", NULL,
                      "The body is not valid JSON: %s at byte %zu.",
                      error.msg ? error.msg : "it cannot be read", error.pos);
    if (!yyjson_is_obj(yyjson_doc_get_root(doc))) {
        yyjson_doc_free(doc);
        return refuse(refusal, 400, "invalid_json", NULL, "The body must be a JSON object.");
    }
    *out = doc;
    return true;
}

enum status json_text(struct buf *out, struct bytes text)
{
    size_t before = out->n, from = 0;
    enum status status = buf_add(out, "\"", 1);
    for (size_t i = 0; i < text.n && status == OK; i++) {
        uint8_t c = text.p[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        char escape[8] = {'\\', (char)c, 0};
        if (c == '\n')
            escape[1] = 'n';
        else if (c == '\r')
            escape[1] = 'r';
        else if (c == '\t')
            escape[1] = 't';
        else if (c < 0x20)
            snprintf(escape, sizeof(escape), "\\u%04x", c);
        status = buf_add(out, text.p + from, i - from);
        if (status == OK)
            status = buf_add(out, escape, bytes_of(escape).n);
        from = i + 1;
    }
    if (status == OK && from < text.n)
        status = buf_add(out, text.p + from, text.n - from);
    if (status == OK)
        status = buf_add(out, "\"", 1);
    if (status != OK)
        out->n = before;
    return status;
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
