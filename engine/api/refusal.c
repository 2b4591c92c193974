// refusal.c - how a request is refused: OpenAI's error object, whose sentence names what was wrong
// and what is expected.
//
//   {"error":{"message":"...","type":"invalid_request_error","param":"temperature","code":null}}
#include "inside.h"

#include <stdio.h>
#include <string.h>

bool refuse(struct refusal *refusal, int http, const char *code, const char *param,
            const char *format, ...)
{
    *refusal = (struct refusal){.http = http, .code = code};
    snprintf(refusal->param, sizeof(refusal->param), "%s", param ? param : "");
    va_list args;
    va_start(args, format);
    vsnprintf(refusal->text, sizeof(refusal->text), format, args);
    va_end(args);
    refusal->text[utf8_whole(bytes_of(refusal->text))] = 0;
    return false;
}

static const char *type_of(const struct refusal *refusal)
{
    if (refusal->type)
        return refusal->type;
    if (refusal->http == 401)
        return "authentication_error";
    if (refusal->http == 404)
        return "not_found_error";
    return refusal->http >= 500 ? "server_error" : "invalid_request_error";
}

static enum status text_or_null(struct buf *out, const char *name, const char *text)
{
    enum status status = buf_format(out, ",\"%s\":", name);
    if (status != OK)
        return status;
    return text && text[0] ? buf_json(out, bytes_of(text)) : buf_format(out, "null");
}

enum status refusal_json(struct buf *out, const struct refusal *refusal)
{
    struct buf clean; // a sentence may quote bytes from outside
    buf_init(&clean, sizeof(refusal->text) * 3);
    enum status status = utf8_clean(&clean, bytes_of(refusal->text));
    if (status == OK)
        status = buf_format(out, "{\"error\":{\"message\":");
    if (status == OK)
        status = buf_json(out, buf_view(&clean));
    buf_free(&clean);
    if (status == OK)
        status = buf_format(out, ",\"type\":\"%s\"", type_of(refusal));
    if (status == OK)
        status = text_or_null(out, "param", refusal->param);
    if (status == OK)
        status = text_or_null(out, "code", refusal->code);
    if (status == OK)
        status = buf_format(out, "}}");
    return status;
}

void refusal_reply(struct exchange *exchange, const struct refusal *refusal)
{
    struct buf body;
    buf_init(&body, 16384);
    if (refusal->http == 401)
        exchange_reply_header(exchange, "WWW-Authenticate", "Bearer realm=\"tawny\"");
    if (refusal->http == 503)
        exchange_reply_header(exchange, "Retry-After", "3");
    json_reply(exchange, refusal->http, &body, refusal_json(&body, refusal));
}
