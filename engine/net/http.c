// http.c - the strict HTTP/1.1 request reader behind http.h.
//
// The head is collected in http->text and given to llhttp line by line, each as soon as it is
// whole; a byte that cannot be right is refused when it comes, so that garbage without a line end
// is not waited for. llhttp's callbacks hand back spans of those same lines, so the fields need no
// copy. The body goes to llhttp as it comes. What llhttp lets pass and we do not is refused in
// take_byte (line ends, control characters, sizes), in check_request_line and in finish_head. One
// thing to know: llhttp calls on_message_complete in the same run as on_headers_complete when there
// is no body.
#include "http.h"
#include "net.h"

#include <string.h>

static const uint64_t length_most = 1ULL << 50; // of a body that can be announced at all

static const char too_long[] = "the request body is longer than is read here";

static enum status reject(struct http_fault *fault, int code, const char *why)
{
    *fault = (struct http_fault){code, why};
    return BAD_INPUT;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_alpha(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int hex_value(uint8_t c)
{
    if (is_digit(c))
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_token_char(uint8_t c)
{
    return is_digit(c) || is_alpha(c) || (c != 0 && strchr("!#$%&'*+-.^_`|~", c));
}

bool http_is_token(struct bytes text)
{
    for (size_t i = 0; i < text.n; i++)
        if (!is_token_char(text.p[i]))
            return false;
    return text.n > 0;
}

static struct bytes trim(struct bytes text)
{
    while (text.n > 0 && (text.p[0] == ' ' || text.p[0] == '\t')) {
        text.p++;
        text.n--;
    }
    while (text.n > 0 && (text.p[text.n - 1] == ' ' || text.p[text.n - 1] == '\t'))
        text.n--;
    return text;
}

static bool equals_ignoring_case(struct bytes text, const char *lower)
{
    size_t n = strlen(lower);
    if (text.n != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = text.p[i];
        if (c >= 'A' && c <= 'Z')
            c |= 0x20;
        if (c != (uint8_t)lower[i])
            return false;
    }
    return true;
}

struct bytes http_field(const struct http *http, const char *lower_case_name)
{
    for (size_t i = 0; i < http->n_fields; i++)
        if (bytes_equal_text(http->fields[i].name, lower_case_name))
            return http->fields[i].value;
    return (struct bytes){NULL, 0};
}

// ---- request line ------------------------------------------------------------------------------

static bool has_dot_segment(struct bytes path)
{
    for (size_t at = 0; at < path.n;) { // path.p[at] is '/'
        size_t end = at + 1;
        while (end < path.n && path.p[end] != '/')
            end++;
        size_t n = end - at - 1;
        if ((n == 1 && path.p[at + 1] == '.') ||
            (n == 2 && path.p[at + 1] == '.' && path.p[at + 2] == '.')) {
            return true;
        }
        at = end;
    }
    return false;
}

// Undoes %XX from `raw` into http->path_text; raw is no longer than it.
static enum status decode_path(struct http *http, struct bytes raw)
{
    size_t n = 0;
    for (size_t i = 0; i < raw.n; i++) {
        uint8_t c = raw.p[i];
        if (c == '%') {
            int high = raw.n - i > 2 ? hex_value(raw.p[i + 1]) : -1;
            int low = raw.n - i > 2 ? hex_value(raw.p[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return reject(
                    &http->fault, 400,
                    "in the request target a % is not followed by two hexadecimal digits");
            }
            c = (uint8_t)(high << 4 | low);
            i += 2;
            if (c < 0x20 || c == 0x7F) {
                return reject(&http->fault, 400,
                              "the request target holds an encoded control character");
            }
        }
        http->path_text[n++] = c;
    }
    http->path = (struct bytes){http->path_text, n};
    if (!utf8_valid(http->path))
        return reject(&http->fault, 400, "the request target is not UTF-8 once decoded");
    if (has_dot_segment(http->path))
        return reject(&http->fault, 400, "the request target holds a . or .. segment");
    return OK;
}

// Takes "http://authority" or "https://authority" off the front of *raw.
static enum status take_authority(struct http *http, struct bytes *raw)
{
    size_t scheme = 0;
    if (raw->n > 8 && equals_ignoring_case((struct bytes){raw->p, 8}, "https://")) {
        scheme = 8;
    } else if (raw->n > 7 && equals_ignoring_case((struct bytes){raw->p, 7}, "http://")) {
        scheme = 7;
    } else {
        return reject(&http->fault, 400,
                      "the request target must begin with / (or be * for OPTIONS)");
    }
    size_t end = scheme;
    while (end < raw->n && raw->p[end] != '/' && raw->p[end] != '?')
        end++;
    http->host = (struct bytes){raw->p + scheme, end - scheme};
    if (!host_is_good(http->host)) {
        return reject(&http->fault, 400,
                      "the host in the request target is not a name or an address");
    }
    *raw = (struct bytes){raw->p + end, raw->n - end};
    return OK;
}

static enum status read_target(struct http *http)
{
    struct bytes raw = http->target;
    if (memchr(raw.p, '#', raw.n))
        return reject(&http->fault, 400, "the request target holds a #");
    if (bytes_equal_text(raw, "*")) {
        http->path = raw;
        return bytes_equal_text(http->method, "OPTIONS")
                   ? OK
                   : reject(&http->fault, 400, "the request target * is for OPTIONS only");
    }
    if (raw.p[0] != '/' && take_authority(http, &raw) != OK)
        return BAD_INPUT;
    const uint8_t *mark = raw.n == 0 ? NULL : memchr(raw.p, '?', raw.n);
    if (mark) {
        http->query = (struct bytes){mark + 1, raw.n - (size_t)(mark - raw.p) - 1};
        raw.n = (size_t)(mark - raw.p);
    }
    if (raw.n == 0)
        raw = bytes_of("/"); // "http://host" and "http://host?query"
    return decode_path(http, raw);
}

// The line is whole and llhttp has seen it: what it forgives (versions, several spaces) is refused
// here.
static enum status check_request_line(struct http *http, size_t n_line)
{
    if (http->target.n == 0 ||
        n_line != http->method.n + 1 + http->target.n + strlen(" HTTP/1.1")) {
        return reject(&http->fault, 400,
                      "the request line must be: method, space, target, space, HTTP/1.1");
    }
    if (http->parser.http_major != 1 || http->parser.http_minor > 1)
        return reject(&http->fault, 505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
    if (http->method.n > LIMIT_METHOD)
        return reject(&http->fault, 400, "the method is longer than 16 characters");
    if (http->target.n > LIMIT_TARGET)
        return reject(&http->fault, 414, "the request target is longer than 4096 bytes");
    http->minor = http->parser.http_minor;
    return read_target(http);
}

// ---- header fields -----------------------------------------------------------------------------

// The whole value must be digits; whether it is too long is asked when the body is to be read.
static enum status read_content_length(struct http *http, struct bytes value)
{
    uint64_t length = 0;
    for (size_t i = 0; i < value.n; i++) {
        if (!is_digit(value.p[i]))
            return reject(&http->fault, 400, "Content-Length is not a number");
        length = length > length_most ? length : length * 10 + (uint64_t)(value.p[i] - '0');
    }
    if (value.n == 0)
        return reject(&http->fault, 400, "Content-Length is empty");
    if (length > length_most)
        return reject(&http->fault, 413, "Content-Length is beyond all bounds");
    http->length = length;
    return OK;
}

static void read_connection(struct http *http, struct bytes value)
{
    while (value.n > 0) {
        const uint8_t *comma = memchr(value.p, ',', value.n);
        size_t n = !comma ? value.n : (size_t)(comma - value.p);
        if (equals_ignoring_case(trim((struct bytes){value.p, n}), "close"))
            http->keep_alive = false;
        n += comma != NULL;
        value = (struct bytes){value.p + n, value.n - n};
    }
}

static enum status refuse_repeats(struct http *http)
{
    static const char *const once[] = {"host",          "content-length", "transfer-encoding",
                                       "authorization", "x-api-key",      "content-type",
                                       "origin",        "expect"};
    for (size_t i = 0; i < COUNT_OF(once); i++) {
        size_t n = 0;
        for (size_t k = 0; k < http->n_fields; k++)
            n += bytes_equal_text(http->fields[k].name, once[i]);
        if (n > 1)
            return reject(&http->fault, 400, "a header field that may come once came twice");
    }
    return OK;
}

static enum status read_framing(struct http *http, bool *has_length, bool *chunked)
{
    for (size_t i = 0; i < http->n_fields; i++) {
        const struct http_field *field = &http->fields[i];
        if (bytes_equal_text(field->name, "content-length")) {
            *has_length = true;
            if (read_content_length(http, field->value) != OK)
                return BAD_INPUT;
        } else if (bytes_equal_text(field->name, "transfer-encoding")) {
            *chunked = true;
            if (!equals_ignoring_case(field->value, "chunked")) {
                return reject(&http->fault, 501,
                              "the only Transfer-Encoding understood is chunked");
            }
        } else if (bytes_equal_text(field->name, "connection")) {
            read_connection(http, field->value);
        } else if (bytes_equal_text(field->name, "expect")) {
            http->expects_continue = http->minor == 1;
            if (!equals_ignoring_case(field->value, "100-continue"))
                return reject(&http->fault, 417, "the only expectation understood is 100-continue");
        }
    }
    return OK;
}

static enum status finish_head(struct http *http)
{
    bool has_length = false, chunked = false;
    http->keep_alive = http->minor == 1;
    for (size_t i = 0; i < http->n_fields; i++)
        http->fields[i].value = trim(http->fields[i].value);
    if (refuse_repeats(http) != OK || read_framing(http, &has_length, &chunked) != OK)
        return BAD_INPUT;
    if (chunked && (has_length || http->minor == 0)) {
        return reject(&http->fault, 400,
                      has_length ? "Transfer-Encoding and Content-Length exclude each other"
                                 : "Transfer-Encoding does not exist in HTTP/1.0");
    }
    struct bytes host = http_field(http, "host");
    if (!host.p && http->minor == 1)
        return reject(&http->fault, 400, "the Host field is missing");
    if (host.p && !host_is_good(host))
        return reject(&http->fault, 400, "the Host field is not a name or an address");
    if (!http->host.p)
        http->host = host;
    http->body_told = has_length || chunked;
    return OK;
}

// ---- llhttp's callbacks ------------------------------------------------------------------------

static void extend(struct bytes *span, const char *at, size_t n)
{
    if (!span->p)
        span->p = (const uint8_t *)at;
    span->n += n; // pieces of one span follow each other in text
}

static int on_method(llhttp_t *parser, const char *at, size_t n)
{
    extend(&((struct http *)parser->data)->method, at, n);
    return 0;
}

static int on_url(llhttp_t *parser, const char *at, size_t n)
{
    extend(&((struct http *)parser->data)->target, at, n);
    return 0;
}

static int on_field_name(llhttp_t *parser, const char *at, size_t n)
{
    struct http *http = parser->data;
    if (http->head_done)
        return 0; // a trailer field: read and dropped
    if (http->n_fields == LIMIT_FIELDS) {
        reject(&http->fault, 431, "there are more than 64 header fields");
        return HPE_USER;
    }
    extend(&http->fields[http->n_fields].name, at, n);
    return 0;
}

static int on_field_name_complete(llhttp_t *parser)
{
    struct http *http = parser->data;
    if (http->head_done)
        return 0;
    struct bytes name = http->fields[http->n_fields++].name;
    for (uint8_t *c = http->text + (name.p - http->text); c < name.p + name.n; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c |= 0x20;
    return 0;
}

static int on_field_value(llhttp_t *parser, const char *at, size_t n)
{
    struct http *http = parser->data;
    if (!http->head_done)
        extend(&http->fields[http->n_fields - 1].value, at, n);
    return 0;
}

static int on_head_complete(llhttp_t *parser)
{
    struct http *http = parser->data;
    parser->upgrade =
        0; // we never switch protocols: an Upgrade field is ignored, as RFC 9110 section 7.8 allows
    http->head_done = true;
    return finish_head(http) == OK ? 0 : -1;
}

static int on_chunk(llhttp_t *parser)
{
    struct http *http = parser->data;
    if (parser->content_length <= http->cap - http->n_content)
        return 0;
    reject(&http->fault, 413, too_long);
    return -1;
}

static int on_content(llhttp_t *parser, const char *at, size_t n)
{
    struct http *http = parser->data;
    if (n > http->cap - http->n_content || buf_add(http->content, at, n) != OK) {
        reject(&http->fault, 413, too_long);
        return HPE_USER;
    }
    http->n_content += n;
    return 0;
}

static int on_message_complete(llhttp_t *parser)
{
    ((struct http *)parser->data)->message_done = true;
    return HPE_PAUSED; // what follows is the next request: not ours to look at
}

static const llhttp_settings_t callbacks = {
    .on_method = on_method,
    .on_url = on_url,
    .on_header_field = on_field_name,
    .on_header_field_complete = on_field_name_complete,
    .on_header_value = on_field_value,
    .on_headers_complete = on_head_complete,
    .on_chunk_header = on_chunk,
    .on_body = on_content,
    .on_message_complete = on_message_complete,
};

// Runs llhttp over `in`; *n_used: up to the end of the message.
static enum status run(struct http *http, struct bytes in, size_t *n_used)
{
    llhttp_errno_t error = llhttp_execute(&http->parser, (const char *)in.p, in.n);
    *n_used = in.n;
    if (error == HPE_PAUSED && http->message_done) {
        *n_used = (size_t)((const uint8_t *)llhttp_get_error_pos(&http->parser) - in.p);
        return OK;
    }
    if (error == HPE_OK)
        return AGAIN;
    if (http->fault.code == 0) {
        bool version = error == HPE_INVALID_VERSION || error == HPE_PAUSED_H2_UPGRADE;
        const char *reason = llhttp_get_error_reason(&http->parser);
        reject(&http->fault, version ? 505 : 400,
               version                    ? "only HTTP/1.1 and HTTP/1.0 are spoken here"
               : reason && reason[0] != 0 ? reason
                                          : "this is not an HTTP request");
    }
    return BAD_INPUT;
}

// ---- head --------------------------------------------------------------------------------------

void http_init(struct http *http)
{
    memset(http, 0, offsetof(struct http, text));
    llhttp_init(&http->parser, HTTP_REQUEST, &callbacks);
    http->parser.data = http;
}

// The line text[line .. n) is whole, CR LF included. OK: it was the blank one, the head is
// complete.
static enum status take_line(struct http *http)
{
    struct bytes line = {http->text + http->line, http->n - http->line};
    size_t n_used;
    if (http->n_lines == 0 && line.n == 2 && http->n_blank < LIMIT_BLANK_LINES) {
        http->n_blank++; // RFC 9112 section 2.2: empty lines in front are forgiven
        http->n = 0;
        return AGAIN;
    }
    if (line.p[0] == ' ' || line.p[0] == '\t') {
        return reject(&http->fault, 400,
                      "a line begins with white space (folded lines are not accepted)");
    }
    http->line = http->n;
    if (run(http, line, &n_used) == BAD_INPUT)
        return BAD_INPUT;
    if (http->n_lines++ == 0)
        return check_request_line(http, line.n - 2) == OK ? AGAIN : BAD_INPUT;
    http->has_body = !http->message_done;
    return http->head_done ? OK : AGAIN;
}

static enum status take_byte(struct http *http, uint8_t c)
{
    bool after_cr = http->n > http->line && http->text[http->n - 1] == '\r';
    if ((c < 0x20 && c != '\t' && c != '\r' && c != '\n') || c == 0x7F)
        return reject(&http->fault, 400, "the request head holds a control character");
    if (after_cr != (c == '\n'))
        return reject(&http->fault, 400, "lines must end with CR LF: a bare CR or LF was found");
    if (http->n_lines == 0) {
        if (c == '\t' || c >= 0x80 || (http->n == 0 && !is_token_char(c) && c != '\r'))
            return reject(&http->fault, 400, "this is not an HTTP request");
        if (http->n > LIMIT_METHOD + 1 + LIMIT_TARGET + 11)
            return reject(&http->fault, 414, "the request line is longer than 4096 bytes");
    }
    if (http->n == LIMIT_HEAD)
        return reject(&http->fault, 431, "the request head is larger than 16 KiB");
    http->text[http->n++] = c;
    return c == '\n' ? take_line(http) : AGAIN;
}

enum status http_head_feed(struct http *http, struct bytes in, size_t *n_used)
{
    enum status status = http->fault.code != 0 ? BAD_INPUT : AGAIN;
    size_t at = 0;
    while (at < in.n && status == AGAIN)
        status = take_byte(http, in.p[at++]);
    *n_used = at;
    return status;
}

// ---- body --------------------------------------------------------------------------------------

enum status http_body_cap(struct http *http, uint64_t cap_bytes)
{
    http->cap = cap_bytes;
    return http->length > cap_bytes ? reject(&http->fault, 413, too_long) : OK;
}

enum status http_body_feed(struct http *http, struct bytes in, size_t *n_used, struct buf *content)
{
    *n_used = 0;
    if (http->fault.code != 0)
        return BAD_INPUT;
    if (http->message_done)
        return OK;
    uint64_t before = http->n_content;
    http->content = content;
    enum status status = run(http, in, n_used);
    http->n_between = http->n_content > before ? 0 : http->n_between + *n_used;
    if (status == AGAIN && http->n_between > LIMIT_FRAMING) {
        return reject(&http->fault, 431,
                      "chunk extensions or trailer fields are larger than 4 KiB");
    }
    return status;
}
