// reference.c - GET /v1/reference: every endpoint, the fields of each dialect, and the settings,
// out of the tables by which requests and settings are read: there is no second list that could
// say something else.
//
// What a field takes is asked of its reader: it is given values that most fields do not take, and
// the sentence by which it refuses one says what it wants. Readers are made for hostile input, so
// nothing can come of it.
#include "fields.h"

#include <stdio.h>
#include <string.h>

enum { REFERENCE_BYTES = 1 << 20, TAKES_BYTES = 200 };

static const struct of_handler {
    route_handler *handler;
    const struct dialect *dialect;
} dialects[] = {
    {model_defaults_post, &model_defaults},
    {chat_post, &openai_chat},
    {apply_template_post, &openai_prompt},
    {completions_post, &openai_completions},
    {infill_post, &llama_infill},
    {responses_post, &openai_responses},
    {completion_post, &llama_completion},
    {tokenize_post, &llama_tokenize},
    {detokenize_post, &llama_detokenize},
    {messages_post, &anthropic_messages},
    {count_tokens_post, &anthropic_count},
    {embeddings_post, &openai_embeddings},
    {rerank_post, &jina_rerank},
    {ollama_chat_post, &ollama_chat},
    {ollama_generate_post, &ollama_generate},
    {ollama_embed_post, &ollama_embed},
    {ollama_embeddings_post, &ollama_embeddings},
};

static const struct dialect *dialect_of(route_handler *handler)
{
    for (size_t i = 0; i < COUNT_OF(dialects); i++)
        if (dialects[i].handler == handler)
            return dialects[i].dialect;
    return NULL;
}

// What the field's reader says of the value: false, and why in *refusal, where it does not take it.
static bool takes(const struct dialect *dialect, const struct field *field, yyjson_val *value,
                  struct refusal *refusal)
{
    struct job *job = job_open();
    struct form form = {.dialect = dialect, .n_prompts = 1};
    struct reading r = {.ask = &job->ask, .arena = &job->arena, .form = &form, .refusal = refusal};
    *refusal = (struct refusal){0};
    const bool good =
        (!dialect->begin || dialect->begin(&r)) && field->read(&r, field->name, value);
    dialect_forget(dialect, form.of_dialect);
    job_close(job);
    return good;
}

// "'top_k' must be a whole number, not a boolean." -> "a whole number"; "'top_k' is -1e300; it must
// be a whole number from -1 to 1000000." -> "a whole number from -1 to 1000000"; another sentence
// stays as it is.
static void wanted(char out[TAKES_BYTES], const char *sentence)
{
    static const char MUST[] = "must be ";
    const char *at = strstr(sentence, MUST);
    at = at ? at + strlen(MUST) : sentence;
    const char *end = strstr(at, ", not ");
    size_t n = end ? (size_t)(end - at) : strlen(at);
    if (n > 0 && at[n - 1] == '.')
        n--;
    snprintf(out, TAKES_BYTES, "%.*s", (int)n, at);
}

static void takes_text(char out[TAKES_BYTES], const struct dialect *dialect,
                       const struct field *field, yyjson_val *probes)
{
    struct refusal refusal;
    size_t at, n;
    yyjson_val *value;
    snprintf(out, TAKES_BYTES, "anything");
    yyjson_arr_foreach(probes, at, n, value)
    {
        if (takes(dialect, field, value, &refusal))
            continue;
        wanted(out, refusal.text);
        break;
    }
    if (strcmp(out, "a number") != 0 && strcmp(out, "a whole number") != 0)
        return;
    if (!takes(dialect, field, yyjson_arr_get_last(probes), &refusal)) // and from where to where
        wanted(out, refusal.text);
}

static void fields_write(struct json *json, const struct dialect *dialect, yyjson_val *probes)
{
    char text[TAKES_BYTES];
    json_array(json, "fields");
    for (size_t t = 0; dialect->fields[t]; t++)
        for (const struct field *field = dialect->fields[t]; field->name; field++) {
            takes_text(text, dialect, field, probes);
            json_object(json, NULL);
            json_string(json, "name", field->name);
            json_text(json, "takes", bytes_of(text));
            json_end(json);
        }
    json_end(json);
}

static void endpoint_write(struct json *json, const struct endpoint *endpoint, yyjson_val *probes)
{
    const struct dialect *dialect = dialect_of(endpoint->handler);
    const uint32_t scopes = endpoint->scopes ? endpoint->scopes : SCOPE_CHAT;
    json_object(json, NULL);
    json_string(json, "method", endpoint->method);
    json_string(json, "path", endpoint->path);
    json_bool(json, "open", endpoint->open);
    json_array(json, "scopes");
    for (uint32_t scope = 1; scope <= scopes && !endpoint->open; scope <<= 1) {
        char name[64];
        if (scopes & scope)
            json_string(json, NULL, scopes_text(scope, name));
    }
    json_end(json);
    if (endpoint->body_bytes > 0)
        json_whole(json, "body_bytes_most", endpoint->body_bytes);
    if (dialect)
        fields_write(json, dialect, probes);
    json_end(json);
}

static void settings_write(struct json *json)
{
    struct setting setting;
    json_array(json, "settings");
    for (size_t i = 0; settings_describe(i, &setting); i++) {
        json_object(json, NULL);
        json_string(json, "name", setting.name);
        json_string(json, "value", setting.value);
        json_string(json, "default", setting.fallback);
        json_string(json, "about", setting.what);
        json_end(json);
    }
    json_end(json);
}

void reference_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    static const char PROBES[] = "[true,{},-1e300]"; // the last one: for bounds
    yyjson_doc *doc = yyjson_read(PROBES, strlen(PROBES), 0);
    struct endpoint endpoint;
    struct json json;
    (void)request;
    if (!doc)
        die("reference.c: the probes are no JSON");
    json_init(&json, REFERENCE_BYTES);
    json_object(&json, NULL);
    json_string(&json, "object", "reference");
    json_string(&json, "version", api->version);
    json_array(&json, "endpoints");
    for (size_t i = 0; route_at(i, &endpoint); i++)
        endpoint_write(&json, &endpoint, yyjson_doc_get_root(doc));
    json_end(&json);
    settings_write(&json);
    json_end(&json);
    yyjson_doc_free(doc);
    exchange_reply_header(exchange, "Cache-Control", "no-store");
    json_reply(exchange, 200, &json);
}
