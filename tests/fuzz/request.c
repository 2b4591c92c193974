// request.c - fuzz target: any bytes as the body of an OpenAI request (engine/api/fields.c,
// openai.c). What is refused says why, in JSON that can be read again; what is taken keeps to its
// bounds.
//
// The first byte says which dialect it is. Kept inputs: request/ (every field once, each fault
// once, and what fuzzing found).
#include "api/fields.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void refusal_is_good(const struct refusal *refusal)
{
    struct json json;
    struct body again;
    struct refusal ignored = {0};
    if (refusal->http < 400 || refusal->http > 599 || !refusal->text[0])
        abort();
    json_init(&json, 1 << 16);
    refusal_write(&json, refusal);
    if (json_done(&json) != OK || !body_open(&again, buf_view(&json.text), &ignored))
        abort();
    body_close(&again);
    json_free(&json);
}

static bool is_text(const struct value *value)
{
    return value && value->kind == VALUE_TEXT && utf8_valid(value->text);
}

// What templates rely on.
static void conversation_is_good(const struct conversation *conversation)
{
    const struct value *messages = conversation->messages, *tools = conversation->tools;
    if (!messages || messages->kind != VALUE_LIST || messages->list.n == 0 ||
        messages->list.n > MESSAGES_MOST)
        abort();
    for (size_t i = 0; i < messages->list.n; i++) {
        const struct value *message = &messages->list.items[i],
                           *calls = value_get(message, "tool_calls");
        if (!is_text(value_get(message, "role")) || !is_text(value_get(message, "content")))
            abort();
        for (size_t k = 0; calls && k < calls->list.n; k++)
            if (!is_text(value_get(value_get(&calls->list.items[k], "function"), "name")))
                abort();
    }
    if (tools && (tools->kind != VALUE_LIST || tools->list.n == 0 || tools->list.n > TOOLS_MOST))
        abort();
    if (conversation->options && conversation->options->kind != VALUE_DICT)
        abort();
}

static void job_is_good(const struct job *job)
{
    const struct ask *ask = &job->ask;
    const struct sampling *s = &ask->sampling;
    if (!isfinite(s->temperature) || !isfinite(s->top_p) || !isfinite(s->min_p) ||
        !isfinite(s->repeat_penalty) || !isfinite(s->presence_penalty) ||
        !isfinite(s->frequency_penalty))
        abort();
    if (s->temperature < 0 || s->top_p < 0 || s->top_p > 1 || s->min_p < 0 || s->min_p > 1)
        abort();
    if (ask->n_stops > STOPS_MOST)
        abort();
    if (ask->chat)
        conversation_is_good(&ask->conversation);
    for (size_t i = 0; i < ask->n_stops; i++)
        if (ask->stops[i].n == 0 || ask->stops[i].n > STOP_BYTES_MOST || !utf8_valid(ask->stops[i]))
            abort();
}

static bool settles(struct job *job, struct form *form, struct refusal *refusal)
{
    static struct api api;
    struct reading r = {.ask = &job->ask, .arena = &job->arena, .form = form, .refusal = refusal};
    if (!api.kept)
        api.kept = kept_open();
    return !form->dialect->settle || form->dialect->settle(&api, &r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct form form = {0};
    struct refusal refusal = {0};
    if (size < 1)
        return 0;
    struct job *job = job_open();
    uint8_t *copy = malloc(size);
    if (!copy)
        abort();
    memcpy(copy, data + 1, size - 1);
    const struct dialect *dialect = data[0] & 0x80 ? &openai_responses
                                    : data[0] & 1  ? &openai_chat
                                                   : &openai_completions;
    bool taken = ask_read(dialect, (struct bytes){copy, size - 1}, job, &form, &refusal) &&
                 settles(job, &form, &refusal);
    free(copy); // what was taken views the job's memory alone
    if (taken)
        job_is_good(job);
    else
        refusal_is_good(&refusal);
    dialect_forget(dialect, form.of_dialect);
    job_close(job);
    return 0;
}
