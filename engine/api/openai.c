// openai.c - OpenAI's dialect: POST /v1/chat/completions and /v1/completions.
//
// One table says which fields exist beside those that all dialects share, and who reads them; below
// it stands what writes an answer. What is asked for and cannot be done is a
// 400 that names the field. A stream begins with the role, is never silent for long (a
// chunk whose delta is empty: every client takes it, where some choke on a comment line), and ends
// with a finish_reason, the usage where it was asked for, and [DONE]. An error inside a stream is a
// `data: {"error":...}` event, and the end after it is a proper one.
#include "fields.h"

#include <stdio.h>
#include <string.h>

// ---- fields of its own ----------------------------------------------------------------------

static bool take_prompt(struct reading *r, const char *name, yyjson_val *value)
{
    struct text_ask text;
    if (yyjson_is_arr(value)) {
        const bool good = take_ids(r, name, value, &text);
        r->ask->prompt_ids = good ? text.ids : NULL;
        r->ask->n_prompt_ids = good ? text.n_ids : 0;
        return good;
    }
    if (!yyjson_is_str(value))
        return wrong_kind(r, name, "a string, an array of token ids, or an array of these", value);
    return take_text(r, value, &r->ask->prompt);
}

// One, or several, of which one is read at a time; each is looked at with the first.
static bool read_prompt(struct reading *r, const char *name, yyjson_val *value)
{
    const size_t n = yyjson_arr_size(value);
    if (!yyjson_is_arr(value) || yyjson_is_num(yyjson_arr_get_first(value)))
        return take_prompt(r, name, value);
    if (n == 0 || n > PROMPTS_MOST)
        return refuse(r->refusal, 400, "invalid_value", name,
                      "'%s' has %zu entries; it must have 1 to %d prompts.", name, n, PROMPTS_MOST);
    r->form->n_prompts = n;
    for (size_t i = 0; i < n && r->form->prompt_at == 0; i++) {
        yyjson_val *one = yyjson_arr_get(value, i);
        char path[48];
        snprintf(path, sizeof(path), "%s[%zu]", name, i);
        if (!yyjson_is_str(one) && !yyjson_is_arr(one))
            return wrong_kind(r, path, "a string or an array of token ids", one);
    }
    return take_prompt(r, name, yyjson_arr_get(value, r->form->prompt_at));
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

// {"type": "content", "content": a text, or an array of text parts}
static bool read_prediction(struct reading *r, const char *name, yyjson_val *value)
{
    yyjson_val *content = yyjson_obj_get(value, "content");
    const size_t n = yyjson_arr_size(content);
    size_t n_bytes = 0;
    if (!yyjson_is_obj(value))
        return wrong_kind(r, name, "an object", value);
    if (!yyjson_equals_str(yyjson_obj_get(value, "type"), "content"))
        return refuse(r->refusal, 400, "invalid_value", "prediction.type",
                      "'prediction.type' must be \"content\".");
    if (yyjson_is_str(content))
        return take_text(r, content, &r->ask->prediction);
    if (!yyjson_is_arr(content))
        return wrong_kind(r, "prediction.content", "a string or an array of text parts", content);
    for (size_t i = 0; i < n; i++) {
        yyjson_val *text = yyjson_obj_get(yyjson_arr_get(content, i), "text");
        if (!yyjson_is_str(text))
            return wrong_kind(r, "prediction.content", "an array of text parts",
                              yyjson_arr_get(content, i));
        n_bytes += yyjson_get_len(text);
    }
    uint8_t *all = arena_take(r->arena, n_bytes + 1);
    if (!all)
        return no_room(r);
    r->ask->prediction = (struct bytes){all, n_bytes};
    for (size_t i = 0; i < n; i++) {
        yyjson_val *text = yyjson_obj_get(yyjson_arr_get(content, i), "text");
        memcpy(all, yyjson_get_str(text), yyjson_get_len(text));
        all += yyjson_get_len(text);
    }
    return true;
}

static bool read_echo(struct reading *r, const char *name, yyjson_val *value)
{
    return take_flag(r, name, value, &r->form->echo);
}

static bool read_count(struct reading *r, const char *name, yyjson_val *value, size_t *out)
{
    int64_t n;
    if (!take_whole(r, name, value, 1, CHOICES_MOST, &n))
        return false;
    *out = (size_t)n;
    return true;
}

static bool read_n(struct reading *r, const char *name, yyjson_val *value)
{
    return read_count(r, name, value, &r->form->n_choices);
}

static bool read_best_of(struct reading *r, const char *name, yyjson_val *value)
{
    return read_count(r, name, value, &r->form->n_tries);
}

// How many answers there are; the best are found by their log-probabilities.
static bool finish_choices(struct reading *r)
{
    struct form *form = r->form;
    if (form->n_choices == 0)
        form->n_choices = 1;
    if (form->n_tries == 0)
        form->n_tries = form->n_choices;
    if (form->n_tries < form->n_choices)
        return refuse(r->refusal, 400, "invalid_value", "best_of",
                      "'best_of' is %zu; it must be at least 'n', which is %zu.", form->n_tries,
                      form->n_choices);
    if (form->n_tries == form->n_choices)
        return true;
    if (form->stream)
        return refuse(r->refusal, 400, "invalid_value", "best_of",
                      "'best_of' is %zu and 'n' is %zu; with 'stream' they must be equal, as the "
                      "best are known when all are written.",
                      form->n_tries, form->n_choices);
    if (r->ask->n_chances < 0)
        r->ask->n_chances = 0;
    return true;
}

// What stands behind a gap that is to be filled in; an empty one is as good as absent.
static bool read_suffix(struct reading *r, const char *name, yyjson_val *value)
{
    if (!yyjson_is_str(value))
        return wrong_kind(r, name, "a string", value);
    if (yyjson_get_len(value) == 0)
        return true;
    struct infill *infill = arena_take(r->arena, sizeof(*infill));
    if (!infill)
        return no_room(r);
    r->ask->infill = infill;
    infill->path = "suffix";
    return take_text(r, value, &infill->behind);
}

// The prompt is what stands before the gap.
static bool finish_suffix(struct reading *r)
{
    if (!r->ask->infill)
        return true;
    if (r->ask->prompt_ids)
        return not_supported(r, "suffix", "a prompt of token ids is taken as it is; send the text");
    struct infill *infill = arena_take(r->arena, sizeof(*infill));
    if (!infill)
        return no_room(r);
    *infill = *r->ask->infill;
    infill->before = r->ask->prompt;
    r->ask->infill = infill;
    return true;
}

// What tools and tool_choice were called before there could be several calls.
static bool old_tools(struct reading *r, const char *name, yyjson_val *value)
{
    if (yyjson_is_ctn(value) && yyjson_get_len(value) == 0)
        return true;
    return not_supported(r, name, "send 'tools' and 'tool_choice'");
}

static bool only_text_modality(struct reading *r, const char *name, yyjson_val *value)
{
    if (yyjson_is_arr(value) && yyjson_arr_size(value) == 1 &&
        yyjson_equals_str(yyjson_arr_get_first(value), "text"))
        return true;
    return not_supported(r, name, "only [\"text\"] is");
}

static const struct field both_fields[] = {
    {"stream_options", read_stream_options},
    {"n", read_n},
    {"prediction", read_prediction},
    {NULL, NULL},
};

static const struct field chat_fields[] = {
    {"messages", read_messages},
    {"max_completion_tokens", read_max_tokens},
    {"tools", read_tools},
    {"functions", old_tools},
    {"tool_choice", read_tool_choice},
    {"parallel_tool_calls", read_parallel_calls},
    {"function_call", old_tools},
    {"modalities", only_text_modality},
    {"chat_template_kwargs", read_template_options},
    {"reasoning_effort", read_effort},
    {"reasoning", read_reasoning},
    {"thinking", read_thinking},
    {"enable_thinking", read_enable_thinking},
    {"thinking_budget_tokens", read_thinking_budget},
    {NULL, NULL},
};

static const struct field completions_fields[] = {
    {"prompt", read_prompt}, {"echo", read_echo}, {"best_of", read_best_of},
    {"suffix", read_suffix}, {NULL, NULL},
};

static bool chat_finish(struct reading *r)
{
    r->ask->chat = true;
    if (!r->ask->conversation.messages)
        return field_missing(r, "messages");
    return finish_tools(r) && finish_thinking(r) && finish_logprobs(r) && finish_choices(r);
}

// The prompt alone is asked for, whole.
static bool prompt_finish(struct reading *r)
{
    r->ask->only_prompt = true;
    r->form->stream = false;
    r->form->n_choices = 1;
    return chat_finish(r);
}

static bool completions_finish(struct reading *r)
{
    if (!r->ask->prompt.p && !r->ask->prompt_ids)
        return field_missing(r, "prompt");
    // with log-probabilities the engine tells the prompt, token by token
    r->ask->echoes = r->form->echo && r->form->logprobs;
    r->form->echo = r->form->echo && !r->ask->echoes;
    if (r->form->echo && r->ask->prompt_ids)
        return not_supported(r, "echo",
                             "a prompt of token ids has no text; send the text, or ask for "
                             "'logprobs' too");
    return finish_choices(r) && finish_suffix(r);
}

// ---- what all objects of an answer share ----------------------------------------------------

static const char *finish_name(const struct reply *reply, enum finish finish)
{
    return finish == FINISH_LENGTH ? "length" : reply->n_calls > 0 ? "tool_calls" : "stop";
}

// The beginning of every object.
static void head(struct json *json, const struct reply *reply, const char *kind)
{
    char fingerprint[80];
    snprintf(fingerprint, sizeof(fingerprint), "tawny-%s", reply->api->version);
    json_init(json, 8 * (size_t)ANSWER_BYTES_MOST);
    json_object(json, NULL);
    json_string(json, "id", reply->name);
    json_string(json, "object", kind);
    json_whole(json, "created", reply->created);
    json_string(json, "model", reply_model(reply));
    json_string(json, "system_fingerprint", fingerprint);
}

static double per_second(int32_t n, uint64_t us)
{
    return us ? n * 1e6 / (double)us : 0;
}

static void usage_write(struct json *json, const struct usage *usage)
{
    json_object(json, "usage");
    json_whole(json, "prompt_tokens", usage->n_prompt);
    json_whole(json, "completion_tokens", usage->n_generated);
    json_whole(json, "total_tokens", usage->n_prompt + usage->n_generated);
    json_object(json, "prompt_tokens_details");
    json_whole(json, "cached_tokens", usage->n_prompt_cached);
    json_end(json);
    json_object(json, "completion_tokens_details");
    json_whole(json, "reasoning_tokens", usage->n_thinking);
    json_whole(json, "accepted_prediction_tokens", usage->n_draft_kept);
    json_whole(json, "rejected_prediction_tokens", usage->n_drafted - usage->n_draft_kept);
    json_end(json);
    json_end(json);
    timings_write(json, usage); // an extension, named as peers do
}

// Who guessed; "" where nobody did.
static void guessers_write(struct json *json, uint32_t drafted_by)
{
    static const struct {
        uint32_t bit;
        const char *name;
    } all[] = {
        {GUESSED_BY_LOOKUP, "lookup"}, {GUESSED_BY_BLOCK, "mtp"}, {GUESSED_BY_DRAFT, "draft"}};
    char text[32] = "";
    for (size_t i = 0; i < COUNT_OF(all); i++)
        if (drafted_by & all[i].bit)
            snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", text[0] ? "," : "",
                     all[i].name);
    json_string(json, "draft_by", text);
}

void timings_write(struct json *json, const struct usage *usage)
{
    int32_t n_read = usage->n_prompt - usage->n_prompt_cached,
            n_after_first = usage->n_generated > 1 ? usage->n_generated - 1 : 0;
    json_object(json, "timings");
    json_real(json, "queue_ms", (double)usage->queue_us / 1e3, 1);
    json_whole(json, "cache_n", usage->n_prompt_cached);
    json_whole(json, "cache_disk_n", usage->n_prompt_read); // of these
    json_whole(json, "prompt_n", n_read);
    json_real(json, "prompt_ms", (double)usage->prompt_us / 1e3, 1);
    json_real(json, "prompt_per_second", per_second(n_read, usage->prompt_us), 1);
    json_whole(json, "predicted_n", usage->n_generated);
    json_real(json, "predicted_ms", (double)usage->generate_us / 1e3, 1);
    json_real(json, "predicted_per_second", per_second(n_after_first, usage->generate_us), 1);
    json_whole(json, "draft_n", usage->n_drafted);
    json_whole(json, "draft_n_accepted", usage->n_draft_kept);
    guessers_write(json, usage->drafted_by);
    json_end(json);
}

static void choice_begin(struct json *json, const struct reply *reply)
{
    json_object(json, NULL);
    json_whole(json, "index", (int64_t)reply->index);
}

static void choice_end(struct json *json, const struct reply *reply, const char *finish)
{
    logprobs_write(json, reply);
    json_string(json, "finish_reason", finish);
    json_end(json);
}

// ---- streams --------------------------------------------------------------------------------

static bool is_chat(const struct reply *reply)
{
    return reply->dialect == &openai_chat;
}

// A call: where `name` is not NULL all that it begins with, else a piece of its arguments.
static void call_write(struct json *json, int32_t index, struct bytes id, const struct bytes *name,
                       struct bytes arguments)
{
    json_object(json, NULL);
    if (index >= 0)
        json_whole(json, "index", index);
    if (name) {
        json_text(json, "id", id);
        json_string(json, "type", "function");
    }
    json_object(json, "function");
    if (name)
        json_text(json, "name", *name);
    json_text(json, "arguments", arguments);
    json_end(json);
    json_end(json);
}

// What an event adds to a message.
static void delta_write(struct json *json, const struct event *event)
{
    const struct bytes text = {event->text + event->n_id, event->n_text - event->n_id},
                       id = {event->text, event->n_id};
    const bool begins = event->channel == ANSWER_TOOL_NAME;
    if (event->channel == ANSWER_CONTENT) {
        json_text(json, "content", text);
    } else if (event->channel == ANSWER_THINKING) {
        json_text(json, "reasoning_content", text);
    } else {
        json_array(json, "tool_calls");
        call_write(json, event->call, id, begins ? &text : NULL, begins ? bytes_of("") : text);
        json_end(json);
    }
}

// One chunk; a role, a text, an event and the reason of the end are each left out when NULL.
static void chunk(struct reply *reply, const char *role, const struct bytes *text,
                  const struct event *event, const char *finish)
{
    struct json json;
    head(&json, reply, is_chat(reply) ? "chat.completion.chunk" : "text_completion");
    json_array(&json, "choices");
    choice_begin(&json, reply);
    if (is_chat(reply)) {
        json_object(&json, "delta");
        if (role)
            json_string(&json, "role", role);
        if (text)
            json_text(&json, "content", *text);
        if (event)
            delta_write(&json, event);
        json_end(&json);
    } else {
        json_text(&json, "text", text ? *text : bytes_of(""));
    }
    choice_end(&json, reply, finish);
    json_end(&json);
    reply->chances_at += logprobs_characters(buf_view(&reply->chances));
    reply->chances.n = 0;
    if (reply->include_usage)
        json_null(&json, "usage");
    json_end(&json);
    reply_data(reply, &json);
}

static void stream_begin(struct reply *reply)
{
    struct bytes text = buf_view(&reply->text); // the echo, or nothing
    if (is_chat(reply) || text.n)
        chunk(reply, "assistant", &text, NULL, NULL);
}

static void stream_text(struct reply *reply, const struct event *event)
{
    const struct bytes text = {event->text, event->n_text};
    if (is_chat(reply))
        chunk(reply, NULL, NULL, event, NULL);
    else
        chunk(reply, NULL, &text, NULL, NULL);
}

static void stream_alive(struct reply *reply)
{
    chunk(reply, NULL, NULL, NULL, NULL);
}

static void stream_done(struct reply *reply)
{
    if (sse_data(reply->exchange, bytes_of("[DONE]")) != OK)
        log_debug("%s: the client left before the end", reply->name);
}

static void stream_end(struct reply *reply, enum finish finish, const struct usage *usage)
{
    chunk(reply, NULL, NULL, NULL, finish_name(reply, finish));
    if (reply->include_usage) {
        struct json json;
        head(&json, reply, is_chat(reply) ? "chat.completion.chunk" : "text_completion");
        json_array(&json, "choices");
        json_end(&json);
        usage_write(&json, usage);
        json_end(&json);
        reply_data(reply, &json);
    }
    stream_done(reply);
}

// Clients that know error events stop at the first of these three; the others end as they always
// do.
static void stream_fail(struct reply *reply, const struct refusal *refusal)
{
    struct json json;
    json_init(&json, 16384);
    refusal_write(&json, refusal);
    reply_data(reply, &json);
    chunk(reply, NULL, NULL, NULL, finish_name(reply, FINISH_LENGTH));
    stream_done(reply);
}

// ---- whole answers --------------------------------------------------------------------------

// Content is null where there is a call and nothing else.
static void message_write(struct json *json, const struct reply *reply)
{
    json_object(json, "message");
    json_string(json, "role", "assistant");
    if (reply->n_calls > 0 && reply->text.n == 0)
        json_null(json, "content");
    else
        json_text(json, "content", buf_view(&reply->text));
    if (reply->thinking.n > 0)
        json_text(json, "reasoning_content", buf_view(&reply->thinking));
    if (reply->n_calls > 0)
        json_array(json, "tool_calls");
    for (size_t i = 0; i < reply->n_calls; i++) {
        const struct reply_call *call = &reply->calls[i];
        const struct bytes text = buf_view(&call->text), id = {text.p, call->n_id},
                           name = {text.p + call->n_id, call->n_name};
        const size_t n = call->n_id + call->n_name;
        call_write(json, -1, id, &name, (struct bytes){text.p + n, text.n - n});
    }
    if (reply->n_calls > 0)
        json_end(json);
    json_null(json, "refusal");
    json_end(json);
}

static void choice_whole(struct json *json, const struct reply *reply, bool name_index,
                         enum finish finish)
{
    if (name_index)
        choice_begin(json, reply);
    else
        json_object(json, NULL);
    if (is_chat(reply))
        message_write(json, reply);
    else
        json_text(json, "text", buf_view(&reply->text));
    choice_end(json, reply, finish_name(reply, finish));
}

static void part(struct reply *reply, enum finish finish)
{
    if (reply->stream) {
        chunk(reply, NULL, NULL, NULL, finish_name(reply, finish));
        return;
    }
    struct json json;
    json_init(&json, 8 * (size_t)ANSWER_BYTES_MOST);
    choice_whole(&json, reply, false, finish);
    if (json_done(&json) != OK || choices_add(reply, buf_view(&json.text)) != OK)
        reply_too_long(reply);
    json_free(&json);
}

static void whole(const struct reply *reply, struct json *json, enum finish finish,
                  const struct usage *usage)
{
    head(json, reply, is_chat(reply) ? "chat.completion" : "text_completion");
    json_array(json, "choices");
    if (reply->choices.n > 0)
        json_splice(json, NULL, buf_view(&reply->choices));
    if (!choices_pick(reply))
        choice_whole(json, reply, true, finish);
    json_end(json);
    usage_write(json, usage);
    json_end(json);
}

static const struct writer writer = {
    .begin = stream_begin,
    .text = stream_text,
    .alive = stream_alive,
    .end = stream_end,
    .fail = stream_fail,
    .part = part,
    .whole = whole,
};

const struct dialect openai_chat = {
    .id_prefix = "chatcmpl-",
    .input = "messages",
    .fields = {shared_fields, both_fields, constraint_fields, sampling_fields, chat_logprobs_fields,
               chat_fields},
    .finish = chat_finish,
    .writer = &writer,
};

// The prompt that a chat request becomes, as llama-server's /apply-template gives it.
static void prompt_whole(const struct reply *reply, struct json *json, enum finish finish,
                         const struct usage *usage)
{
    (void)finish, (void)usage;
    json_init(json, 8 * (size_t)ANSWER_BYTES_MOST);
    json_object(json, NULL);
    json_text(json, "prompt", buf_view(&reply->text));
    json_end(json);
}

static const struct writer prompt_writer = {.whole = prompt_whole}; // it is never streamed

const struct dialect openai_prompt = {
    .id_prefix = "prompt-",
    .input = "messages",
    .fields = {shared_fields, both_fields, constraint_fields, sampling_fields, chat_fields},
    .finish = prompt_finish,
    .writer = &prompt_writer,
};

const struct dialect openai_completions = {
    .id_prefix = "cmpl-",
    .input = "prompt",
    .fields = {shared_fields, both_fields, constraint_fields, sampling_fields,
               completions_logprobs_fields, completions_fields},
    .finish = completions_finish,
    .writer = &writer,
};
