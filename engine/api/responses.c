// responses.c - OpenAI's Responses dialect: POST /v1/responses.
//
// One table says which fields exist beside those that all dialects share. A response that is stored
// (it is, unless `store` is false) can be gone on from (previous_response_id), fetched and deleted.
// The instructions are those of each request alone. `truncation` "auto" is taken and does not cut:
// a conversation that is too long is refused either way. What is asked for and cannot be done
// (background, conversation, prompt) is a 400 that names the field.
#include "responses.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- fields of its own ----------------------------------------------------------------------

static struct response *of(struct reading *r)
{
    return r->form->of_dialect;
}

static bool take_kept(struct reading *r, const char *name, yyjson_val *value,
                      const struct value **out)
{
    struct value *copy = arena_take(r->arena, sizeof(*copy));
    if (!copy)
        return no_room(r);
    *out = copy;
    return take_value(r, name, value, copy);
}

static bool read_instructions(struct reading *r, const char *name, yyjson_val *value)
{
    if (!yyjson_is_str(value))
        return wrong_kind(r, name, "a string", value);
    return take_text(r, value, &of(r)->instructions);
}

static bool read_previous(struct reading *r, const char *name, yyjson_val *value)
{
    if (!yyjson_is_str(value))
        return wrong_kind(r, name, "a string", value);
    return take_text(r, value, &of(r)->previous);
}

static bool read_store(struct reading *r, const char *name, yyjson_val *value)
{
    return take_flag(r, name, value, &of(r)->store);
}

static bool read_choice(struct reading *r, const char *name, yyjson_val *value)
{
    if (!read_tool_choice(r, name, value))
        return false;
    of(r)->choice = r->ask->tool_choice;
    return true;
}

// A text that is one of `words`, which end with NULL; `expected` lists them.
static bool one_of(struct reading *r, const char *name, yyjson_val *value, const char *const *words,
                   const char *expected)
{
    if (!yyjson_is_str(value))
        return wrong_kind(r, name, expected, value);
    for (; *words; words++)
        if (yyjson_equals_str(value, *words))
            return true;
    return refuse(r->refusal, 400, "unsupported_value", name, "'%s' is \"%.60s\"; it must be %s.",
                  name, yyjson_get_str(value), expected);
}

static bool read_text(struct reading *r, const char *name, yyjson_val *value)
{
    static const char *const words[] = {"low", "medium", "high", NULL};
    if (!yyjson_is_obj(value))
        return wrong_kind(r, name, "an object", value);
    yyjson_val *format = yyjson_obj_get(value, "format"),
               *verbosity = yyjson_obj_get(value, "verbosity");
    if (verbosity && !yyjson_is_null(verbosity) &&
        !one_of(r, "text.verbosity", verbosity, words, "\"low\", \"medium\" or \"high\""))
        return false;
    if (format && !yyjson_is_null(format) && !read_text_format(r, "text.format", format))
        return false;
    return take_kept(r, name, value, &of(r)->text_sent);
}

// effort, and whether the thought is wanted as a summary: there is no shorter one than itself.
static bool read_thinks(struct reading *r, const char *name, yyjson_val *value)
{
    static const char *const names[] = {"summary", "generate_summary"}, *const words[] = {
                                                                            "auto", "concise",
                                                                            "detailed", "none",
                                                                            NULL};
    if (!read_reasoning(r, name, value))
        return false;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        yyjson_val *summary = yyjson_obj_get(value, names[i]);
        if (summary && !yyjson_is_null(summary) &&
            !one_of(r, i == 0 ? "reasoning.summary" : "reasoning.generate_summary", summary, words,
                    "\"auto\", \"concise\", \"detailed\" or \"none\""))
            return false;
        of(r)->summary =
            of(r)->summary || (yyjson_is_str(summary) && !yyjson_equals_str(summary, "none"));
    }
    return take_kept(r, name, value, &of(r)->reasoning);
}

// What could stand beside an answer. Of tools that are not run here there is nothing to include.
static bool read_include(struct reading *r, const char *name, yyjson_val *value)
{
    static const char *const words[] = {"reasoning.encrypted_content",
                                        "message.output_text.logprobs",
                                        "message.input_image.image_url",
                                        "code_interpreter_call.outputs",
                                        "computer_call_output.output.image_url",
                                        "file_search_call.results",
                                        "web_search_call.action.sources",
                                        "web_search_call.results",
                                        NULL};
    size_t i, n;
    yyjson_val *item;
    if (!yyjson_is_arr(value))
        return wrong_kind(r, name, "an array of strings", value);
    yyjson_arr_foreach(value, i, n, item)
    {
        if (!one_of(r, name, item, words,
                    "an array of names of what the answer should include, as "
                    "\"reasoning.encrypted_content\" or \"message.output_text.logprobs\""))
            return false;
        of(r)->encrypted =
            of(r)->encrypted || yyjson_equals_str(item, "reasoning.encrypted_content");
        r->form->logprobs =
            r->form->logprobs || yyjson_equals_str(item, "message.output_text.logprobs");
    }
    return true;
}

static bool read_n_logprobs(struct reading *r, const char *name, yyjson_val *value)
{
    int64_t n;
    if (!take_whole(r, name, value, 0, CHANCES_MOST, &n))
        return false;
    r->form->top_logprobs = (int32_t)n;
    return true;
}

enum { PAIRS_MOST = 16, PAIR_NAME_MOST = 64, PAIR_TEXT_MOST = 512 }; // OpenAI's own

static bool read_metadata(struct reading *r, const char *name, yyjson_val *value)
{
    size_t i, n;
    yyjson_val *key, *text;
    if (!yyjson_is_obj(value))
        return wrong_kind(r, name, "an object", value);
    if (yyjson_obj_size(value) > PAIRS_MOST)
        return refuse(r->refusal, 400, "invalid_value", name,
                      "'%s' has %zu members; at most %d are allowed.", name, yyjson_obj_size(value),
                      PAIRS_MOST);
    yyjson_obj_foreach(value, i, n, key, text)
    {
        char path[96];
        snprintf(path, sizeof(path), "%s.%.*s", name, PAIR_NAME_MOST, yyjson_get_str(key));
        if (!yyjson_is_str(text))
            return wrong_kind(r, path, "a string", text);
        if (yyjson_get_len(key) > PAIR_NAME_MOST || yyjson_get_len(text) > PAIR_TEXT_MOST)
            return refuse(r->refusal, 400, "invalid_value", path,
                          "'%s': a name of %zu bytes and a text of %zu; at most %d and %d are "
                          "allowed.",
                          path, yyjson_get_len(key), yyjson_get_len(text), PAIR_NAME_MOST,
                          PAIR_TEXT_MOST);
    }
    return take_kept(r, name, value, &of(r)->metadata);
}

static bool read_truncation(struct reading *r, const char *name, yyjson_val *value)
{
    static const char *const words[] = {"auto", "disabled", NULL};
    return one_of(r, name, value, words, "\"auto\" or \"disabled\"");
}

// There is one tier here, and it is everyone's.
static bool read_service_tier(struct reading *r, const char *name, yyjson_val *value)
{
    static const char *const words[] = {"auto", "default", "flex", "scale", "priority", NULL};
    return one_of(r, name, value, words,
                  "\"auto\", \"default\", \"flex\", \"scale\" or \"priority\"");
}

static bool read_background(struct reading *r, const char *name, yyjson_val *value)
{
    bool background;
    if (!take_flag(r, name, value, &background))
        return false;
    return background ? not_supported(r, name, "answers come with their requests; leave it away")
                      : true;
}

static bool only_absent(struct reading *r, const char *name, yyjson_val *value)
{
    (void)value;
    return not_supported(r, name, "leave it away, and send 'input' and 'previous_response_id'");
}

static const struct field responses_fields[] = {
    {"input", read_input},
    {"instructions", read_instructions},
    {"previous_response_id", read_previous},
    {"store", read_store},
    {"max_output_tokens", read_max_tokens},
    {"tools", read_response_tools},
    {"tool_choice", read_choice},
    {"parallel_tool_calls", read_parallel_calls},
    {"text", read_text},
    {"reasoning", read_thinks},
    {"include", read_include},
    {"top_logprobs", read_n_logprobs},
    {"metadata", read_metadata},
    {"truncation", read_truncation},
    {"service_tier", read_service_tier},
    {"background", read_background},
    {"conversation", only_absent},
    {"prompt", only_absent},
    {"chat_template_kwargs", read_template_options},
    {NULL, NULL},
};

// ---- what an answer repeats -----------------------------------------------------------------

static void repeat(struct json *json, const char *name, const struct value *value,
                   const char *otherwise)
{
    if (value)
        value_write(json, name, value);
    else
        json_splice(json, name, bytes_of(otherwise));
}

// {"effort", "summary"} as OpenAI has them, both always there.
static void reasoning_write(struct json *json, const struct value *sent)
{
    static const char *const names[] = {"effort", "summary"};
    json_object(json, "reasoning");
    for (size_t i = 0; i < COUNT_OF(names); i++)
        repeat(json, names[i], sent ? value_get(sent, names[i]) : NULL, "null");
    json_end(json);
}

static void text_write(struct json *json, const struct value *sent)
{
    const struct value *format = sent ? value_get(sent, "format") : NULL,
                       *verbosity = sent ? value_get(sent, "verbosity") : NULL;
    json_object(json, "text");
    repeat(json, "format", format && format->kind == VALUE_DICT ? format : NULL,
           "{\"type\":\"text\"}");
    repeat(json, "verbosity", verbosity, "\"medium\"");
    json_end(json);
}

static void head_write(struct json *json, const struct response *response, const struct ask *ask,
                       bool long_ones)
{
    json_object(json, NULL);
    if (response->instructions.p && long_ones)
        json_text(json, "instructions", response->instructions);
    else
        json_null(json, "instructions");
    if (ask->max_tokens > 0)
        json_whole(json, "max_output_tokens", ask->max_tokens);
    else
        json_null(json, "max_output_tokens");
    json_null(json, "max_tool_calls");
    repeat(json, "metadata", long_ones ? response->metadata : NULL, "{}");
    json_bool(json, "parallel_tool_calls", !ask->one_call);
    if (response->previous.n > 0)
        json_text(json, "previous_response_id", response->previous);
    else
        json_null(json, "previous_response_id");
    reasoning_write(json, response->reasoning);
    json_string(json, "service_tier", "default");
    json_bool(json, "store", response->store);
    json_exact(json, "temperature", (double)ask->sampling.temperature);
    text_write(json, long_ones ? response->text_sent : NULL);
    repeat(json, "tool_choice", response->choice, "\"auto\"");
    repeat(json, "tools", long_ones ? response->tools : NULL, "[]");
    json_whole(json, "top_logprobs", ask->n_chances > 0 ? ask->n_chances : 0);
    json_exact(json, "top_p", (double)ask->sampling.top_p);
    json_string(json, "truncation", "disabled");
    json_end(json);
}

// What is too long to be told three times is left out.
static void head_make(struct response *response, const struct ask *ask)
{
    for (int long_ones = 1; long_ones >= 0; long_ones--) {
        struct json json;
        json_init(&json, RESPONSE_HEAD_MOST);
        head_write(&json, response, ask, long_ones);
        const bool good = json_done(&json) == OK &&
                          buf_add(&response->head, json.text.p + 1, json.text.n - 2) == OK;
        json_free(&json);
        if (good)
            return;
    }
    response->head.n = 0; // an id before or a choice that is a novel
}

// ---- from the request to the answer ---------------------------------------------------------

static struct response *response_open(void)
{
    struct response *response = mem_alloc(sizeof(*response));
    response->store = true;
    buf_init(&response->head, SIZE_MAX);
    buf_init(&response->custom, SIZE_MAX);
    buf_init(&response->output, SIZE_MAX);
    buf_init(&response->text, SIZE_MAX);
    buf_init(&response->chances, SIZE_MAX);
    buf_init(&response->call, SIZE_MAX);
    return response;
}

static void response_close(void *arg)
{
    struct response *response = arg;
    if (response->kept)
        kept_items_drop(response->kept, response->items);
    buf_free(&response->head);
    buf_free(&response->custom);
    buf_free(&response->output);
    buf_free(&response->text);
    buf_free(&response->chances);
    buf_free(&response->call);
    free(response);
}

static bool responses_begin(struct reading *r)
{
    r->form->of_dialect = response_open();
    return true;
}

static bool responses_finish(struct reading *r)
{
    const struct response *response = of(r);
    r->ask->chat = true;
    if (!response->input && response->previous.n == 0)
        return refuse(r->refusal, 400, "missing_required_parameter", "input",
                      "'input' is missing; it must be a string or an array of items.");
    if (r->form->logprobs)
        r->ask->n_chances = r->form->top_logprobs;
    return finish_tools(r) && finish_thinking(r);
}

static bool responses_settle(struct api *api, struct reading *r)
{
    struct response *response = of(r);
    response->kept = api->kept;
    response->owner = r->ask->owner;
    response->logprobs = r->form->logprobs;
    head_make(response, r->ask);
    const bool good = response_conversation(response, r);
    response->input = NULL; // what was read lies on the job's arena, which goes away
    response->reasoning = response->text_sent = response->tools = NULL;
    response->choice = response->metadata = NULL;
    response->previous = response->instructions = (struct bytes){NULL, 0};
    return good;
}

const struct dialect openai_responses = {
    .id_prefix = "resp_",
    .input = "input",
    .fields = {shared_fields, constraint_fields, sampling_fields, responses_fields},
    .begin = responses_begin,
    .finish = responses_finish,
    .settle = responses_settle,
    .writer = &response_writer,
    .forget = response_close,
};
