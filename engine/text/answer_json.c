// answer_json.c - one value, as a model writes it, into JSON.
//
// JSON passes as it is, white space too. What else is understood, since it can mean one thing only:
// strings in single quotes or in the form's own, line breaks and other control characters in
// strings, unknown escapes, Python's True, False and None, tuples, keys and words without quotes, a
// comma before the end. Anything else is JSON_BAD, and stays untaken.
//
// Nothing is kept but what is open: a word, an escape or a comma is taken when its end is seen.
#include "answer_inside.h"

#include <stdlib.h>
#include <string.h>

void answer_json_init(struct answer_json *json, const char *quote)
{
    *json = (struct answer_json){.quote = quote};
}

static void add(struct buf *out, const void *p, size_t n)
{
    if (out && n > 0 && buf_add(out, p, n) != OK)
        die("out of memory");
}

static void add_text(struct buf *out, const char *text)
{
    add(out, text, strlen(text));
}

static void add_point(struct buf *out, unsigned point)
{
    static const char hex[] = "0123456789abcdef";
    const char text[] = {'\\', 'u', '0', '0', hex[point >> 4 & 15], hex[point & 15]};
    add(out, text, sizeof(text));
}

static void add_plain(struct buf *out, uint8_t c)
{
    if (c == '"' || c == '\\')
        add(out, "\\", 1);
    if (c >= 0x20)
        add(out, &c, 1);
    else if (c == '\n')
        add_text(out, "\\n");
    else if (c == '\t')
        add_text(out, "\\t");
    else if (c == '\r')
        add_text(out, "\\r");
    else
        add_point(out, c);
}

void answer_json_escape(struct buf *out, struct bytes text)
{
    for (size_t i = 0; i < text.n; i++)
        add_plain(out, text.p[i]);
}

// ---- strings ------------------------------------------------------------------------------------

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool all_hex(struct bytes in, size_t from, size_t n)
{
    for (size_t i = from; i < from + n; i++)
        if (i >= in.n || hex_value(in.p[i]) < 0)
            return false;
    return true;
}

// Bytes taken of what begins with a backslash; 0: it may go on.
static size_t escape(struct bytes in, bool final, struct buf *out)
{
    if (in.n < 2)
        return final ? 1 : 0; // half an escape at the very end says nothing
    const uint8_t c = in.p[1];
    if (memchr("\"\\/bfnrt", c, 8)) {
        add(out, in.p, 2);
        return 2;
    }
    if (c == '\'') {
        add(out, "'", 1);
        return 2;
    }
    const size_t n = c == 'u' ? 6 : c == 'x' ? 4 : 0;
    if (n > in.n && !final && all_hex(in, 2, in.n - 2))
        return 0;
    if (n == 0 || !all_hex(in, 2, n - 2)) {
        add_text(out, "\\\\"); // a backslash that was meant as one
        return 1;
    }
    if (c == 'u')
        add(out, in.p, 6);
    else
        add_point(out, (unsigned)(hex_value(in.p[2]) * 16 + hex_value(in.p[3])));
    return n;
}

static void string_opens(struct answer_json *json, uint8_t how, bool is_key, struct buf *out)
{
    json->string = how;
    json->is_key = is_key;
    add(out, "\"", 1);
}

static void value_ends(struct answer_json *json)
{
    json->wants = WANTS_NEXT;
    if (json->n_open == 0)
        json->state = JSON_DONE;
}

static void string_ends(struct answer_json *json, struct buf *out)
{
    json->string = 0;
    add(out, "\"", 1);
    if (json->is_key)
        json->wants = WANTS_COLON;
    else
        value_ends(json);
}

static size_t string_feed(struct answer_json *json, struct bytes in, bool final, struct buf *out)
{
    size_t at = 0;
    while (at < in.n && json->string) {
        const struct bytes rest = bytes_from(in, at);
        const bool own = json->string == 'q';
        if (own && bytes_begin(rest, json->quote)) {
            at += strlen(json->quote);
            string_ends(json, out);
        } else if (own && !final && bytes_may_begin(rest, json->quote)) {
            return at;
        } else if (!own && *rest.p == json->string) {
            at++;
            string_ends(json, out);
        } else if (!own && *rest.p == '\\') {
            const size_t n = escape(rest, final, out);
            if (n == 0)
                return at;
            at += n;
        } else {
            add_plain(out, *rest.p);
            at++;
        }
    }
    return at;
}

// ---- words --------------------------------------------------------------------------------------

static bool is_word(uint8_t c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_' ||
           c == '.' || c == '+' || c == '-';
}

static size_t digits(struct bytes word, size_t at)
{
    size_t n = 0;
    while (at + n < word.n && word.p[at + n] >= '0' && word.p[at + n] <= '9')
        n++;
    return n;
}

// As RFC 8259 writes a number.
static bool is_number(struct bytes word)
{
    size_t at = word.n > 0 && word.p[0] == '-', n = digits(word, at);
    if (n == 0 || (n > 1 && word.p[at] == '0'))
        return false;
    at += n;
    if (at < word.n && word.p[at] == '.') {
        n = digits(word, at + 1);
        if (n == 0)
            return false;
        at += 1 + n;
    }
    if (at < word.n && (word.p[at] | 0x20) == 'e') {
        at++;
        at += at < word.n && (word.p[at] == '+' || word.p[at] == '-');
        n = digits(word, at);
        if (n == 0)
            return false;
        at += n;
    }
    return at == word.n;
}

static void add_word(struct buf *out, struct bytes word, bool is_key)
{
    static const char *const names[][2] = {{"true", "true"}, {"false", "false"}, {"null", "null"},
                                           {"True", "true"}, {"False", "false"}, {"None", "null"}};
    for (size_t i = 0; i < COUNT_OF(names) && !is_key; i++) {
        if (bytes_equal_text(word, names[i][0])) {
            add_text(out, names[i][1]);
            return;
        }
    }
    if (!is_key && is_number(word)) {
        add(out, word.p, word.n);
        return;
    }
    add(out, "\"", 1);
    add(out, word.p, word.n);
    add(out, "\"", 1);
}

static size_t word_feed(struct answer_json *json, struct bytes in, bool final, struct buf *out)
{
    size_t n = 0;
    while (n < in.n && is_word(in.p[n]))
        n++;
    if (n == 0 || n > NAME_MOST) {
        json->state = JSON_BAD;
        return 0;
    }
    const bool is_key = json->wants == WANTS_KEY || json->wants == WANTS_FIRST_KEY;
    if (n == in.n && (!final || is_key))
        return 0;
    add_word(out, (struct bytes){in.p, n}, is_key);
    if (is_key)
        json->wants = WANTS_COLON;
    else
        value_ends(json);
    return n;
}

// ---- structure ----------------------------------------------------------------------------------

static size_t open_feed(struct answer_json *json, uint8_t c, struct buf *out)
{
    if (json->n_open == JSON_DEPTH) {
        json->state = JSON_BAD;
        return 0;
    }
    json->close[json->n_open++] = c == '{' ? '}' : c == '[' ? ']' : ')';
    json->wants = c == '{' ? WANTS_FIRST_KEY : WANTS_FIRST;
    add_text(out, c == '{' ? "{" : "[");
    return 1;
}

static size_t close_feed(struct answer_json *json, struct buf *out)
{
    const uint8_t c = json->close[--json->n_open];
    add_text(out, c == '}' ? "}" : "]");
    value_ends(json);
    return 1;
}

// Behind a value: the end of what is open, or a comma, which is dropped before such an end.
static size_t next_feed(struct answer_json *json, struct bytes in, bool final, struct buf *out)
{
    const uint8_t closes = json->close[json->n_open - 1];
    if (*in.p == closes)
        return close_feed(json, out);
    if (*in.p != ',') {
        json->state = JSON_BAD;
        return 0;
    }
    const size_t blank = bytes_blank(bytes_from(in, 1));
    if (1 + blank == in.n && blank <= BLANK_MOST)
        return final ? in.n : 0;
    if (blank > BLANK_MOST || in.p[1 + blank] != closes) {
        add(out, ",", 1);
        json->wants = closes == '}' ? WANTS_KEY : WANTS_VALUE;
    }
    return 1;
}

static size_t value_feed(struct answer_json *json, struct bytes in, bool final, struct buf *out)
{
    const uint8_t c = *in.p;
    const bool is_key = json->wants == WANTS_KEY || json->wants == WANTS_FIRST_KEY;
    const bool first = json->wants == WANTS_FIRST_KEY || json->wants == WANTS_FIRST;
    if (first && c == json->close[json->n_open - 1])
        return close_feed(json, out);
    if (c == '"' || c == '\'') {
        string_opens(json, c, is_key, out);
        return 1;
    }
    if (bytes_begin(in, json->quote)) {
        string_opens(json, 'q', is_key, out);
        return strlen(json->quote);
    }
    if (bytes_may_begin(in, json->quote))
        return final ? in.n : 0;
    if (!is_key && (c == '{' || c == '[' || c == '('))
        return open_feed(json, c, out);
    return word_feed(json, in, final, out);
}

static size_t token_feed(struct answer_json *json, struct bytes in, bool final, struct buf *out)
{
    const size_t blank = bytes_blank(in);
    if (blank > 0) {
        add(out, in.p, blank);
        return blank;
    }
    if (json->wants == WANTS_NEXT)
        return next_feed(json, in, final, out);
    if (json->wants != WANTS_COLON)
        return value_feed(json, in, final, out);
    if (*in.p != ':') {
        json->state = JSON_BAD;
        return 0;
    }
    add(out, ":", 1);
    json->wants = WANTS_VALUE;
    return 1;
}

size_t answer_json_feed(struct answer_json *json, struct bytes in, bool final, struct buf *out)
{
    size_t at = 0;
    while (json->state == JSON_MORE && at < in.n) {
        const struct bytes rest = bytes_from(in, at);
        const size_t n =
            json->string ? string_feed(json, rest, final, out) : token_feed(json, rest, final, out);
        if (n == 0)
            break;
        at += n;
    }
    return at;
}

size_t answer_json_skip(struct bytes in, const char *quote, bool final, enum json_state *state)
{
    struct answer_json json;
    answer_json_init(&json, quote);
    const size_t n = answer_json_feed(&json, in, final, NULL);
    *state = json.state;
    return json.state == JSON_DONE ? n : 0;
}
