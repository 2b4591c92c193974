// json.c - JSON written piece by piece.
//
// A writer remembers its first error and then writes nothing more, so that whoever writes asks
// once, at the end (json_done). Commas set themselves: one is due unless the text so far ends where
// a value may begin. Text that is not UTF-8 is cleaned on its way in, so what leaves is always
// valid.
#include "base.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void json_init(struct json *json, size_t cap_bytes)
{
    *json = (struct json){.status = OK};
    buf_init(&json->text, cap_bytes);
}

void json_free(struct json *json)
{
    buf_free(&json->text);
}

static void raw(struct json *json, const char *text, size_t n)
{
    if (json->status == OK)
        json->status = buf_add(&json->text, text, n);
}

static void string(struct json *json, struct bytes text)
{
    if (json->status != OK)
        return;
    if (utf8_valid(text)) {
        json->status = buf_json(&json->text, text);
        return;
    }
    struct buf clean;
    buf_init(&clean, SIZE_MAX);
    json->status = utf8_clean(&clean, text);
    if (json->status == OK)
        json->status = buf_json(&json->text, buf_view(&clean));
    buf_free(&clean);
}

// What stands before a value: a comma where one is due, and the member's name.
static void begin(struct json *json, const char *name)
{
    size_t n = json->text.n;
    if (n && !strchr("{[:", json->text.p[n - 1]))
        raw(json, ",", 1);
    if (name) {
        string(json, bytes_of(name));
        raw(json, ":", 1);
    }
}

static void open(struct json *json, const char *name, const char *bracket, char close)
{
    if (json->n_open == sizeof(json->close))
        die("JSON is written deeper than %zu", sizeof(json->close));
    begin(json, name);
    raw(json, bracket, 1);
    json->close[json->n_open++] = close;
}

void json_object(struct json *json, const char *name)
{
    open(json, name, "{", '}');
}

void json_array(struct json *json, const char *name)
{
    open(json, name, "[", ']');
}

void json_end(struct json *json)
{
    if (json->n_open == 0)
        die("JSON: nothing is open");
    raw(json, &json->close[--json->n_open], 1);
}

void json_text(struct json *json, const char *name, struct bytes text)
{
    begin(json, name);
    string(json, text);
}

void json_string(struct json *json, const char *name, const char *text)
{
    if (text && text[0])
        json_text(json, name, bytes_of(text));
    else
        json_null(json, name);
}

static void number(struct json *json, const char *name, const char *format, ...) PRINTF_LIKE(3, 4);
static void number(struct json *json, const char *name, const char *format, ...)
{
    char text[400]; // of the largest double, in full
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    begin(json, name);
    raw(json, text, (size_t)n);
}

void json_whole(struct json *json, const char *name, int64_t value)
{
    number(json, name, "%lld", (long long)value);
}

void json_real(struct json *json, const char *name, double value, int n_decimals)
{
    if (isfinite(value))
        number(json, name, "%.*f", n_decimals, value);
    else
        json_null(json, name);
}

void json_exact(struct json *json, const char *name, double value)
{
    char text[32];
    for (int digits = 15; digits <= 17; digits++) { // 17 tell every double apart
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    if (isfinite(value))
        number(json, name, "%s", text);
    else
        json_null(json, name);
}

void json_bool(struct json *json, const char *name, bool value)
{
    begin(json, name);
    raw(json, value ? "true" : "false", value ? 4 : 5);
}

void json_null(struct json *json, const char *name)
{
    begin(json, name);
    raw(json, "null", 4);
}

enum status json_done(struct json *json)
{
    if (json->status == OK && json->n_open)
        die("JSON: %u objects and arrays are still open", json->n_open);
    return json->status;
}
