// refusal.c - how a request is refused: in each dialect's shape, with a sentence that names what
// was wrong and what is expected.
//
//   {"error":{"message":"...","type":"invalid_request_error","param":"temperature","code":null}}
//   {"error":"..."}                                                                      Ollama
//   {"type":"error","error":{"type":"invalid_request_error","message":"..."},"request_id":"..."}
//                                                                                        Anthropic
//
// One table says which code of HTTP and of OpenAI's a status becomes. 503 is what another try may
// mend, and says when (Retry-After). 500 is what it will not: x-should-retry keeps clients that
// repeat every 5xx (OpenAI's own) from doing so for ever.
#include "inside.h"

#include <stdio.h>
#include <string.h>

static const struct outcome {
    enum status status;
    int http;
    const char *code;
    bool input; // it is the input's fault: `param` names it
} outcomes[] = {
    {TOO_LARGE, 400, "context_length_exceeded", true},
    {BAD_INPUT, 400, "invalid_value", true},
    {UNSUPPORTED, 400, "unsupported_value", true}, // well formed, but the client must change it
    {DENIED, 401, "invalid_api_key", false},
    {NOT_FOUND, 404, "model_not_found", false},
    {NO_ROOM, 503, "busy", false},
    {AGAIN, 503, "busy", false},
    {CANCELLED, 503, "stopping", false},
    {BROKEN, 500, "model_broken", false},
    {DEVICE_ERROR, 500, "device_failed", false},
};

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
    refusal->param[utf8_whole(bytes_of(refusal->param))] = 0;
    return false;
}

bool refuse_err(struct refusal *refusal, const struct err *err, const char *input)
{
    static const struct outcome other = {OK, 500, "internal_error", false};
    const struct outcome *outcome = &other;
    for (size_t i = 0; i < COUNT_OF(outcomes); i++)
        if (outcomes[i].status == err->status)
            outcome = &outcomes[i];
    return refuse(refusal, outcome->http, outcome->code, outcome->input ? input : NULL, "%s",
                  err->text);
}

const char *shown_text(char out[SHOWN_TEXT], struct bytes text)
{
    const size_t n =
        text.n < SHOWN_TEXT ? text.n : utf8_whole((struct bytes){text.p, SHOWN_TEXT - 4});
    for (size_t i = 0; i < n; i++)
        out[i] = text.p[i] < 0x20 || text.p[i] == 0x7f ? '?' : (char)text.p[i];
    out[n] = 0;
    return out;
}

// error.type of OpenAI and of Anthropic.
static const struct {
    int http;
    const char *openai, *anthropic;
} types[] = {
    {401, "authentication_error", "authentication_error"},
    {403, "permission_error", "permission_error"},
    {404, "not_found_error", "not_found_error"},
    {413, "invalid_request_error", "request_too_large"},
    {429, "rate_limit_error", "rate_limit_error"},
    {503, "server_error", "overloaded_error"},
};

static const char *type_of(const struct refusal *refusal)
{
    const bool openai = refusal->shape == ERRORS_OPENAI;
    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (types[i].http == refusal->http)
            return openai ? types[i].openai : types[i].anthropic;
    if (refusal->http >= 500)
        return openai ? "server_error" : "api_error";
    return "invalid_request_error";
}

// Claude Code makes a conversation shorter when it reads exactly this, and takes the numbers from
// it.
static bool prompt_too_long(struct json *json, const struct refusal *refusal)
{
    char text[80];
    if (refusal->shape != ERRORS_ANTHROPIC || refusal->n_most <= 0 ||
        refusal->n_prompt <= refusal->n_most)
        return false;
    snprintf(text, sizeof(text), "prompt is too long: %d tokens > %d maximum",
             (int)refusal->n_prompt, (int)refusal->n_most);
    json_string(json, "message", text);
    return true;
}

static void error_object(struct json *json, const struct refusal *refusal)
{
    json_object(json, "error");
    json_string(json, "type", type_of(refusal));
    if (!prompt_too_long(json, refusal))
        json_text(json, "message", bytes_of(refusal->text));
    if (refusal->shape == ERRORS_ANTHROPIC && refusal->code &&
        strcmp(refusal->code, THREAD_UNSUPPORTED) == 0) {
        json_object(json, "details");
        json_string(json, "error_code", refusal->code);
        json_end(json);
    }
    if (refusal->shape == ERRORS_OPENAI) {
        json_string(json, "param", refusal->param);
        json_string(json, "code", refusal->code);
    }
    json_end(json);
}

void refusal_write(struct json *json, const struct refusal *refusal)
{
    json_object(json, NULL);
    if (refusal->shape == ERRORS_ANTHROPIC)
        json_string(json, "type", "error");
    if (refusal->shape == ERRORS_OLLAMA)
        json_text(json, "error", bytes_of(refusal->text));
    else
        error_object(json, refusal);
    if (refusal->shape == ERRORS_ANTHROPIC)
        json_string(json, "request_id", refusal->request);
    json_end(json);
}

void refusal_reply(struct exchange *exchange, struct refusal *refusal)
{
    struct json json;
    if (refusal->shape == ERRORS_ANTHROPIC) {
        snprintf(refusal->request, sizeof(refusal->request), "%s", exchange_id(exchange));
        exchange_reply_header(exchange, "request-id", refusal->request);
    }
    if (refusal->http == 401)
        exchange_reply_header(exchange, "WWW-Authenticate", "Bearer realm=\"tawny\"");
    if (refusal->http == 503 || refusal->retry_after_s) {
        char seconds[16];
        snprintf(seconds, sizeof(seconds), "%d",
                 refusal->retry_after_s ? (int)refusal->retry_after_s : 3);
        exchange_reply_header(exchange, "Retry-After", seconds);
    }
    if (refusal->http == 500)
        exchange_reply_header(exchange, "x-should-retry", "false");
    json_init(&json, 16384);
    refusal_write(&json, refusal);
    json_reply(exchange, refusal->http, &json);
}

void json_splice(struct json *json, const char *name, struct bytes text)
{
    json_null(json, name); // what stands before a value, and four bytes that give way to it
    if (json->status != OK)
        return;
    json->text.n -= 4;
    json->status = buf_add(&json->text, text.p, text.n);
}

void json_reply(struct exchange *exchange, int http, struct json *json)
{
    if (json_done(json) == OK)
        exchange_reply(exchange, http, "application/json", buf_view(&json->text));
    else
        exchange_reply(exchange, 500, "application/json",
                       bytes_of("{\"error\":{\"message\":\"The answer is too long to be sent.\","
                                "\"type\":\"server_error\",\"param\":null,\"code\":null}}"));
    json_free(json);
}
