// openai.c - the body of OpenAI's chat and completion requests becomes a job.
//
// One table says which fields exist, where, and who reads them. As in OpenAI's API an unknown field
// is ignored and null means "not given"; but a field we know with a value we cannot honour (n = 2,
// tools, logprobs ...) is a 400 that names it: silence would look like obedience. A field that
// stands twice is refused, because two readers of the same text could disagree on it. Strings are
// copied to the job's arena: the parsed document does not outlive this file.
#include "inside.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct reading { // one request being read
    struct job *job;
    struct form *form;
    struct refusal *refusal;
    bool max_seen, has_input; // messages or prompt was there
};

typedef bool field_reader(struct reading *r, const char *name, yyjson_val *value);

struct field {
    const char *name;
    bool chat, completions; // where it exists
    field_reader *read;
};

// ---- refusals -------------------------------------------------------------------------------

static const char *kind_of(yyjson_val *value)
{
    switch (yyjson_get_type(value)) {
    case YYJSON_TYPE_NULL:
        return "null";
    case YYJSON_TYPE_BOOL:
        return "a boolean";
    case YYJSON_TYPE_NUM:
        return "a number";
    case YYJSON_TYPE_STR:
        return "a string";
    case YYJSON_TYPE_ARR:
        return "an array";
    case YYJSON_TYPE_OBJ:
        return "an object";
    default:
        return "something else";
    }
}

static bool wrong_kind(struct reading *r, const char *name, const char *expected, yyjson_val *value)
{
    return refuse(r->refusal, 400, "invalid_type", name, "'%s' must be %s, not %s.", name, expected,
                  kind_of(value));
}

static bool not_supported(struct reading *r, const char *name, const char *what)
{
    return refuse(r->refusal, 400, "unsupported_value", name, "'%s' is not supported: %s.", name,
                  what);
}

static bool no_room(struct reading *r)
{
    return refuse(r->refusal, 413, NULL, NULL, "The request is too large to be worked on.");
}

// ---- values ---------------------------------------------------------------------------------

static bool take_text(struct reading *r, yyjson_val *value, struct bytes *out)
{
    struct bytes text = {(const uint8_t *)yyjson_get_str(value), yyjson_get_len(value)};
    *out = bytes_copy(&r->job->arena, text);
    return out->p ? true : no_room(r);
}

static bool take_number(struct reading *r, const char *name, yyjson_val *value, double least,
                        double most, double *out)
{
    if (!yyjson_is_num(value))
        return wrong_kind(r, name, "a number", value);
    double number = yyjson_get_num(value);
    if (!(number >= least && number <= most))
        return refuse(r->refusal, 400, "invalid_value", name,
                      "'%s' is %g; it must be from %g to %g.", name, number, least, most);
    *out = number;
    return true;
}

static bool take_float(struct reading *r, const char *name, yyjson_val *value, double least,
                       double most, float *out)
{
    double number;
    if (!take_number(r, name, value, least, most, &number))
        return false;
    *out = (float)number;
    return true;
}

static bool take_whole(struct reading *r, const char *name, yyjson_val *value, double least,
                       double most, double *out)
{
    double number;
    if (!take_number(r, name, value, least, most, &number))
        return false;
    if (number != floor(number))
        return refuse(r->refusal, 400, "invalid_value", name,
                      "'%s' is %g; it must be a whole number.", name, number);
    *out = number;
    return true;
}

static bool take_flag(struct reading *r, const char *name, yyjson_val *value, bool *out)
{
    if (!yyjson_is_bool(value))
        return wrong_kind(r, name, "true or false", value);
    *out = yyjson_get_bool(value);
    return true;
}

// ---- fields: sampling and length ------------------------------------------------------------

static bool read_temperature(struct reading *r, const char *name, yyjson_val *value)
{
    return take_float(r, name, value, 0, 2, &r->job->ask.sampling.temperature);
}

static bool read_top_p(struct reading *r, const char *name, yyjson_val *value)
{
    return take_float(r, name, value, 0, 1, &r->job->ask.sampling.top_p);
}

static bool read_min_p(struct reading *r, const char *name, yyjson_val *value)
{
    return take_float(r, name, value, 0, 1, &r->job->ask.sampling.min_p);
}

static bool read_top_k(struct reading *r, const char *name, yyjson_val *value)
{
    double number;
    if (!take_whole(r, name, value, -1, 1000000, &number))
        return false;
    r->job->ask.sampling.top_k = number > 0 ? (int32_t)number : 0; // -1 and 0: off
    return true;
}

static bool read_repeat_penalty(struct reading *r, const char *name, yyjson_val *value)
{
    return take_float(r, name, value, 0.1, 10, &r->job->ask.sampling.repeat_penalty);
}

static bool read_presence_penalty(struct reading *r, const char *name, yyjson_val *value)
{
    return take_float(r, name, value, -2, 2, &r->job->ask.sampling.presence_penalty);
}

static bool read_frequency_penalty(struct reading *r, const char *name, yyjson_val *value)
{
    return take_float(r, name, value, -2, 2, &r->job->ask.sampling.frequency_penalty);
}

static bool read_seed(struct reading *r, const char *name, yyjson_val *value)
{
    double number;
    if (yyjson_is_uint(value))
        r->job->ask.sampling.seed = yyjson_get_uint(value);
    else if (yyjson_is_sint(value))
        r->job->ask.sampling.seed = (uint64_t)yyjson_get_sint(value);
    else if (!take_whole(r, name, value, -9e15, 9e15, &number))
        return false;
    else
        r->job->ask.sampling.seed = (uint64_t)(int64_t)number;
    return true;
}

// max_tokens and its newer name; -1 means "no limit" to several clients.
static bool read_max_tokens(struct reading *r, const char *name, yyjson_val *value)
{
    double number;
    if (!take_whole(r, name, value, -1, 2147483647.0, &number))
        return false;
    if (number == 0)
        return refuse(r->refusal, 400, "invalid_value", name, "'%s' is 0; it must be at least 1.",
                      name);
    int32_t most = number < 0 ? 0 : (int32_t)number;
    if (r->max_seen && most != r->job->ask.max_tokens)
        return refuse(r->refusal, 400, "invalid_value", name,
                      "'max_tokens' and 'max_completion_tokens' are both given, and differ.");
    r->max_seen = true;
    r->job->ask.max_tokens = most;
    return true;
}

static bool stop_good(struct reading *r, const char *name, yyjson_val *value, struct bytes *out)
{
    if (!yyjson_is_str(value))
        return wrong_kind(r, name, "a string or an array of strings", value);
    size_t n = yyjson_get_len(value);
    if (n == 0 || n > STOP_BYTES_MOST)
        return refuse(r->refusal, 400, "invalid_value", name,
                      "A string in '%s' has %zu bytes; it must have 1 to %d.", name, n,
                      STOP_BYTES_MOST);
    return take_text(r, value, out);
}

static bool read_stop(struct reading *r, const char *name, yyjson_val *value)
{
    bool one = yyjson_is_str(value);
    size_t n = one ? 1 : yyjson_arr_size(value);
    if (!one && !yyjson_is_arr(value))
        return wrong_kind(r, name, "a string or an array of strings", value);
    if (n > STOPS_MOST)
        return refuse(r->refusal, 400, "invalid_value", name,
                      "'%s' has %zu strings; at most %d are allowed.", name, n, STOPS_MOST);
    struct bytes *stops = arena_take(&r->job->arena, (n ? n : 1) * sizeof(*stops));
    if (!stops)
        return no_room(r);
    for (size_t i = 0; i < n; i++)
        if (!stop_good(r, name, one ? value : yyjson_arr_get(value, i), &stops[i]))
            return false;
    r->job->ask.stops = stops;
    r->job->ask.n_stops = n;
    return true;
}

// ---- fields: what is asked ------------------------------------------------------------------

static bool read_model(struct reading *r, const char *name, yyjson_val *value)
{
    if (!yyjson_is_str(value))
        return wrong_kind(r, name, "a string", value);
    return take_text(r, value, &r->form->model);
}

static bool read_prompt(struct reading *r, const char *name, yyjson_val *value)
{
    if (yyjson_is_arr(value)) {
        yyjson_val *first = yyjson_arr_get_first(value);
        if (yyjson_is_num(first) || yyjson_is_arr(first))
            return not_supported(r, name, "token ids; send the text");
        if (yyjson_arr_size(value) != 1)
            return not_supported(r, name, "exactly one prompt a request is answered");
        value = first;
    }
    if (!yyjson_is_str(value))
        return wrong_kind(r, name, "a string", value);
    r->has_input = true;
    if (!take_text(r, value, &r->job->ask.prompt))
        return false;
    r->form->prompt = r->job->ask.prompt;
    return true;
}

// [{"type":"text","text":"..."}, ...]: the texts, joined by newlines as peers do.
static bool content_parts(struct reading *r, const char *name, yyjson_val *parts, struct bytes *out)
{
    size_t i, n_parts, n = 0;
    yyjson_val *part;
    yyjson_arr_foreach(parts, i, n_parts, part)
    {
        char path[96];
        yyjson_val *type = yyjson_obj_get(part, "type"), *text = yyjson_obj_get(part, "text");
        snprintf(path, sizeof(path), "%s[%zu].type", name, i);
        if (!yyjson_is_str(type))
            return refuse(r->refusal, 400, "invalid_type", path, "'%s' must be a string.", path);
        if (!yyjson_equals_str(type, "text"))
            return refuse(r->refusal, 400, "unsupported_value", path,
                          "'%s' is \"%.40s\"; this model reads \"text\" only.", path,
                          yyjson_get_str(type));
        snprintf(path, sizeof(path), "%s[%zu].text", name, i);
        if (!yyjson_is_str(text))
            return refuse(r->refusal, 400, "invalid_type", path, "'%s' must be a string.", path);
        n += yyjson_get_len(text) + 1;
    }
    uint8_t *joined = arena_take(&r->job->arena, n + 1);
    if (!joined)
        return no_room(r);
    size_t at = 0;
    yyjson_arr_foreach(parts, i, n_parts, part)
    {
        yyjson_val *text = yyjson_obj_get(part, "text");
        if (i)
            joined[at++] = '\n';
        memcpy(joined + at, yyjson_get_str(text), yyjson_get_len(text));
        at += yyjson_get_len(text);
    }
    *out = (struct bytes){joined, at};
    return true;
}

static bool read_role(struct reading *r, const char *path, yyjson_val *role, struct bytes *out)
{
    static const char *const known[] = {"system", "user", "assistant"};
    if (!yyjson_is_str(role))
        return refuse(r->refusal, 400, "invalid_type", path,
                      "'%s' must be \"system\", \"user\" or \"assistant\".", path);
    *out = bytes_of(known[0]);
    if (yyjson_equals_str(role, "developer")) // OpenAI's newer name for system
        return true;
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        *out = bytes_of(known[i]);
        if (yyjson_equals_str(role, known[i]))
            return true;
    }
    return refuse(r->refusal, 400, "unsupported_value", path,
                  "'%s' is \"%.40s\"; it must be \"system\", \"user\" or \"assistant\".", path,
                  yyjson_get_str(role));
}

// One message; its keys are looked at once each, so that a key that stands twice is seen.
static bool read_message(struct reading *r, size_t at, yyjson_val *object, struct message *message)
{
    static const char *const known[] = {"role", "content", "tool_calls", "function_call"};
    yyjson_val *found[COUNT_OF(known)] = {NULL};
    char path[64];
    size_t i, n;
    yyjson_val *key, *value;
    snprintf(path, sizeof(path), "messages[%zu]", at);
    if (!yyjson_is_obj(object))
        return wrong_kind(r, path, "an object", object);
    yyjson_obj_foreach(object, i, n, key, value)
    {
        for (size_t k = 0; k < COUNT_OF(known); k++) {
            if (!yyjson_equals_str(key, known[k]))
                continue;
            snprintf(path, sizeof(path), "messages[%zu].%s", at, known[k]);
            if (found[k])
                return refuse(r->refusal, 400, "invalid_json", path, "'%s' stands twice.", path);
            found[k] = value;
        }
    }
    for (size_t k = 2; k < COUNT_OF(known); k++) {
        snprintf(path, sizeof(path), "messages[%zu].%s", at, known[k]);
        if (found[k] && !yyjson_is_null(found[k]) && yyjson_get_len(found[k]) > 0)
            return not_supported(r, path, "tools cannot be called yet");
    }
    snprintf(path, sizeof(path), "messages[%zu].role", at);
    if (!read_role(r, path, found[0], &message->role))
        return false;
    snprintf(path, sizeof(path), "messages[%zu].content", at);
    if (yyjson_is_arr(found[1]))
        return content_parts(r, path, found[1], &message->content);
    if (!yyjson_is_str(found[1]))
        return refuse(r->refusal, 400, "invalid_type", path,
                      "'%s' must be a string or an array of text parts.", path);
    return take_text(r, found[1], &message->content);
}

static bool read_messages(struct reading *r, const char *name, yyjson_val *value)
{
    size_t n = yyjson_arr_size(value), i, n_all;
    if (!yyjson_is_arr(value))
        return wrong_kind(r, name, "an array", value);
    if (n == 0 || n > MESSAGES_MOST)
        return refuse(r->refusal, 400, "invalid_value", name,
                      "'%s' has %zu entries; it must have 1 to %d.", name, n, MESSAGES_MOST);
    struct message *messages = arena_take(&r->job->arena, n * sizeof(*messages));
    if (!messages)
        return no_room(r);
    yyjson_val *entry;
    yyjson_arr_foreach(value, i, n_all, entry)
    {
        if (!read_message(r, i, entry, &messages[i]))
            return false;
    }
    r->job->ask.messages = messages;
    r->job->ask.n_messages = n;
    r->has_input = true;
    return true;
}

// ---- fields: how it is answered -------------------------------------------------------------

static bool read_stream(struct reading *r, const char *name, yyjson_val *value)
{
    return take_flag(r, name, value, &r->form->stream);
}

static bool read_stream_options(struct reading *r, const char *name, yyjson_val *value)
{
    if (!yyjson_is_obj(value))
        return wrong_kind(r, name, "an object", value);
    yyjson_val *usage = yyjson_obj_get(value, "include_usage");
    if (!usage || yyjson_is_null(usage))
        return true;
    return take_flag(r, "stream_options.include_usage", usage, &r->form->include_usage);
}

static bool read_echo(struct reading *r, const char *name, yyjson_val *value)
{
    return take_flag(r, name, value, &r->form->echo);
}

// n, best_of
static bool only_one(struct reading *r, const char *name, yyjson_val *value)
{
    if (!yyjson_is_num(value))
        return wrong_kind(r, name, "a number", value);
    if (yyjson_get_num(value) != 1)
        return not_supported(r, name, "one answer a request is given; it must be 1");
    return true;
}

// logprobs (a boolean in chat, a number in completions), top_logprobs
static bool no_logprobs(struct reading *r, const char *name, yyjson_val *value)
{
    if (yyjson_is_false(value) || (yyjson_is_num(value) && yyjson_get_num(value) == 0))
        return true;
    return not_supported(r, name, "log probabilities are not returned yet");
}

// tools, functions, logit_bias, suffix: nothing in them is as good as absent
static bool only_empty(struct reading *r, const char *name, yyjson_val *value)
{
    if (yyjson_is_ctn(value) ? yyjson_get_len(value) == 0
                             : yyjson_is_str(value) && yyjson_get_len(value) == 0)
        return true;
    return not_supported(r, name, "leave it away");
}

static bool no_tool_choice(struct reading *r, const char *name, yyjson_val *value)
{
    if (yyjson_equals_str(value, "none") || yyjson_equals_str(value, "auto"))
        return true;
    return not_supported(r, name, "tools cannot be called yet; \"none\" and \"auto\" are accepted");
}

static bool only_text_format(struct reading *r, const char *name, yyjson_val *value)
{
    if (!yyjson_is_obj(value))
        return wrong_kind(r, name, "an object", value);
    if (yyjson_equals_str(yyjson_obj_get(value, "type"), "text"))
        return true;
    return not_supported(r, "response_format", "only {\"type\":\"text\"} is");
}

static bool only_text_modality(struct reading *r, const char *name, yyjson_val *value)
{
    if (yyjson_is_arr(value) && yyjson_arr_size(value) == 1 &&
        yyjson_equals_str(yyjson_arr_get_first(value), "text"))
        return true;
    return not_supported(r, name, "only [\"text\"] is");
}

static const struct field fields[] = {
    // name, in chat, in completions, reader
    {"model", true, true, read_model},
    {"messages", true, false, read_messages},
    {"prompt", false, true, read_prompt},
    {"stream", true, true, read_stream},
    {"stream_options", true, true, read_stream_options},
    {"max_tokens", true, true, read_max_tokens},
    {"max_completion_tokens", true, false, read_max_tokens},
    {"temperature", true, true, read_temperature},
    {"top_p", true, true, read_top_p},
    {"top_k", true, true, read_top_k},
    {"min_p", true, true, read_min_p},
    {"repeat_penalty", true, true, read_repeat_penalty},
    {"presence_penalty", true, true, read_presence_penalty},
    {"frequency_penalty", true, true, read_frequency_penalty},
    {"seed", true, true, read_seed},
    {"stop", true, true, read_stop},
    {"echo", false, true, read_echo},
    {"n", true, true, only_one},
    {"best_of", false, true, only_one},
    {"logprobs", true, true, no_logprobs},
    {"top_logprobs", true, false, no_logprobs},
    {"logit_bias", true, true, only_empty},
    {"suffix", false, true, only_empty},
    {"tools", true, false, only_empty},
    {"functions", true, false, only_empty},
    {"tool_choice", true, false, no_tool_choice},
    {"function_call", true, false, no_tool_choice},
    {"response_format", true, false, only_text_format},
    {"modalities", true, false, only_text_modality},
};

static bool read_fields(struct reading *r, yyjson_val *root)
{
    bool seen[COUNT_OF(fields)] = {false};
    size_t at, n;
    yyjson_val *key, *value;
    yyjson_obj_foreach(root, at, n, key, value)
    {
        for (size_t i = 0; i < COUNT_OF(fields); i++) {
            const struct field *field = &fields[i];
            if (!(r->form->chat ? field->chat : field->completions) ||
                !yyjson_equals_str(key, field->name))
                continue;
            if (seen[i])
                return refuse(r->refusal, 400, "invalid_json", field->name, "'%s' stands twice.",
                              field->name);
            seen[i] = true;
            if (!yyjson_is_null(value) && !field->read(r, field->name, value))
                return false;
        }
    }
    return true;
}

bool openai_read(struct bytes body, bool chat, struct job *job, struct form *form,
                 struct refusal *refusal)
{
    struct json json;
    if (!json_open(&json, body, refusal))
        return false;
    *form = (struct form){.chat = chat};
    struct reading r = {.job = job, .form = form, .refusal = refusal};
    job->ask.chat = chat;
    random_bytes(&job->ask.sampling.seed, sizeof(job->ask.sampling.seed)); // unless `seed` is given
    bool good = read_fields(&r, yyjson_doc_get_root(json.doc));
    json_close(&json);
    const char *needed = chat ? "messages" : "prompt";
    if (good && !r.has_input)
        return refuse(refusal, 400, "missing_required_parameter", needed, "'%s' is missing.",
                      needed);
    return good;
}
