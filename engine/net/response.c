// response.c - the reader of responses behind response.h: llhttp, and the caps around it.
//
// What llhttp hands back in pieces is collected in text: names and values, one behind the other.
// Two fields of one name are kept both, and the first counts; but two lengths that differ, or a
// length beside chunks, are refused, since then nobody knows where the body ends.
#include "response.h"

#include <string.h>

static int fault(struct response *response, const char *why)
{
    if (!response->fault)
        response->fault = why;
    return HPE_USER;
}

static int keep(struct response *response, uint16_t *at, uint16_t *n, const char *p, size_t n_p)
{
    if (n_p > sizeof(response->text) - response->n)
        return fault(response, "has a head of more than 32 KiB");
    if (*n == 0)
        *at = (uint16_t)response->n;
    memcpy(response->text + response->n, p, n_p);
    response->n += n_p;
    *n = (uint16_t)(*n + n_p);
    return 0;
}

static int on_name(llhttp_t *parser, const char *at, size_t n)
{
    struct response *response = parser->data;
    if (response->head_done)
        return 0; // a trailer: read and dropped
    if (response->n_fields == RESPONSE_FIELDS)
        return fault(response, "has more than 96 header fields");
    struct response_field *field = &response->fields[response->n_fields];
    return keep(response, &field->name, &field->n_name, at, n);
}

static int on_name_complete(llhttp_t *parser)
{
    struct response *response = parser->data;
    if (response->head_done)
        return 0;
    const struct response_field *field = &response->fields[response->n_fields++];
    for (size_t i = field->name; i < (size_t)field->name + field->n_name; i++)
        if (response->text[i] >= 'A' && response->text[i] <= 'Z')
            response->text[i] |= 0x20;
    return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t n)
{
    struct response *response = parser->data;
    if (response->head_done)
        return 0;
    struct response_field *field = &response->fields[response->n_fields - 1];
    return keep(response, &field->value, &field->n_value, at, n);
}

static struct bytes value_of(const struct response *response, size_t i)
{
    const struct response_field *field = &response->fields[i];
    struct bytes value = {(const uint8_t *)response->text + field->value, field->n_value};
    while (value.n > 0 && (value.p[value.n - 1] == ' ' || value.p[value.n - 1] == '\t'))
        value.n--;
    return value;
}

static struct bytes name_of(const struct response *response, size_t i)
{
    const struct response_field *field = &response->fields[i];
    return (struct bytes){(const uint8_t *)response->text + field->name, field->n_name};
}

struct bytes response_field(const struct response *response, const char *lower_case_name)
{
    for (size_t i = 0; i < response->n_fields; i++)
        if (bytes_equal_text(name_of(response, i), lower_case_name))
            return value_of(response, i);
    return (struct bytes){NULL, 0};
}

static bool number(struct bytes text, uint64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9' || *out > UINT64_MAX / 100)
            return false;
        *out = *out * 10 + (uint64_t)(text.p[i] - '0');
    }
    return text.n > 0;
}

static int read_framing(struct response *response)
{
    const struct bytes coding = response_field(response, "content-encoding");
    const bool chunked = response_field(response, "transfer-encoding").p != NULL;
    for (size_t i = 0; i < response->n_fields; i++) {
        uint64_t length;
        if (!bytes_equal_text(name_of(response, i), "content-length"))
            continue;
        if (!number(value_of(response, i), &length) || length > 1ULL << 50 ||
            (response->has_length && length != response->length) || chunked)
            return fault(response, "does not say clearly how long it is");
        response->has_length = true;
        response->length = length;
    }
    if (coding.p && coding.n > 0 && !bytes_equal_text(coding, "identity"))
        return fault(response, "is compressed, which was not asked for");
    return 0;
}

static int on_head_complete(llhttp_t *parser)
{
    struct response *response = parser->data;
    const bool interim = parser->status_code / 100 == 1;
    response->code = (int)parser->status_code;
    if (response->code < 100)
        return fault(response, "has a status code that is none (RFC 9110, section 15)");
    if (parser->status_code == 101 || parser->upgrade)
        return fault(response, "switches to another protocol, which was not asked for");
    if (interim)
        return 0;
    response->head_done = true;
    if (read_framing(response) != 0)
        return HPE_USER;
    return response->head_only ? 1 : 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t n)
{
    struct response *response = parser->data;
    return buf_add(&response->content, at, n) == OK ? 0 : fault(response, "is longer than it says");
}

static int on_message_complete(llhttp_t *parser)
{
    struct response *response = parser->data;
    if (response->head_done) {
        response->done = true;
        return HPE_PAUSED; // what comes behind it nobody asked for
    }
    response->n = response->n_fields = 0; // it was an interim one
    memset(response->fields, 0, sizeof(response->fields));
    return 0;
}

static const llhttp_settings_t callbacks = {
    .on_header_field = on_name,
    .on_header_field_complete = on_name_complete,
    .on_header_value = on_value,
    .on_headers_complete = on_head_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

void response_init(struct response *response, bool head_only)
{
    memset(response, 0, offsetof(struct response, text));
    response->head_only = head_only;
    buf_init(&response->content, RESPONSE_CONTENT_BYTES);
    llhttp_init(&response->parser, HTTP_RESPONSE, &callbacks);
    response->parser.data = response;
}

void response_free(struct response *response)
{
    buf_free(&response->content);
}

enum status response_feed(struct response *response, struct bytes in)
{
    if (response->fault)
        return BAD_INPUT;
    if (response->done)
        return OK;
    llhttp_errno_t error = llhttp_execute(&response->parser, (const char *)in.p, in.n);
    if (response->done && (error == HPE_PAUSED || error == HPE_OK))
        return OK;
    if (error == HPE_OK)
        return AGAIN;
    (void)fault(response, "is not HTTP");
    return BAD_INPUT;
}

bool response_ended(struct response *response)
{
    if (response->done)
        return true;
    if (response->head_done && !response->fault && !response->has_length)
        (void)llhttp_finish(&response->parser); // pauses when it is, as on_message_complete says
    return response->done;
}
