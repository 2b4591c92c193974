// ollama.c - Ollama's dialect: POST /api/chat and /api/generate, a line of JSON for each piece of
// the answer unless `stream` is false.
//
// A field that is known and cannot be honoured is a 400 that names it, as everywhere here. Three
// things are taken and do nothing, since clients send them by default and nothing is lost:
// truncate and shift (a conversation that does not fit is refused with both numbers and never cut
// in silence), and a num_ctx above the context that is loaded (Home Assistant always sends 8192):
// the answer's header x-tawny-notes says so, and a prompt that does not fit is refused. No prompt,
// or no messages: the model is loaded, or with keep_alive 0 it is given up.
#include "chores.h"
#include "ollama.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { NOTES_BYTES = 300 };

// ---- times ---------------------------------------------------------------------------------

const char *ollama_time(char out[OLLAMA_TIME], int64_t unix_ns)
{
    const time_t seconds = (time_t)(unix_ns / 1000000000);
    struct tm parts;
    char day[24];
    gmtime_r(&seconds, &parts);
    strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(out, OLLAMA_TIME, "%s.%09lldZ", day, (long long)(unix_ns % 1000000000));
    return out;
}

// ---- fields ---------------------------------------------------------------------------------

struct ollama_ask *ollama_asked(const struct reading *r)
{
    return r->form->asked;
}

static bool read_name(struct reading *r, const char *name, yyjson_val *value)
{
    return read_model(r, name, value) && take_text(r, value, &ollama_asked(r)->model);
}

// An empty list is none.
static bool read_chat_messages(struct reading *r, const char *name, yyjson_val *value)
{
    return (yyjson_is_arr(value) && yyjson_arr_size(value) == 0) || read_messages(r, name, value);
}

static bool read_think(struct reading *r, const char *name, yyjson_val *value)
{
    return yyjson_is_str(value) ? read_effort(r, name, value)
                                : read_enable_thinking(r, name, value);
}

static bool take_own_text(struct reading *r, const char *name, yyjson_val *value, struct bytes *out)
{
    if (!yyjson_is_str(value))
        return wrong_kind(r, name, "a string", value);
    return take_text(r, value, out);
}

static bool read_prompt(struct reading *r, const char *name, yyjson_val *value)
{
    return take_own_text(r, name, value, &ollama_asked(r)->prompt);
}

static bool read_system(struct reading *r, const char *name, yyjson_val *value)
{
    return take_own_text(r, name, value, &ollama_asked(r)->system);
}

static bool read_raw(struct reading *r, const char *name, yyjson_val *value)
{
    return take_flag(r, name, value, &ollama_asked(r)->raw);
}

static bool only_empty(struct reading *r, const char *name, yyjson_val *value, const char *why)
{
    if (yyjson_is_arr(value) ? yyjson_arr_size(value) == 0
                             : yyjson_is_str(value) && yyjson_get_len(value) == 0)
        return true;
    return not_supported(r, name, why);
}

static bool read_template(struct reading *r, const char *name, yyjson_val *value)
{
    return only_empty(r, name, value,
                      "the model's own chat template is used; to write the whole prompt yourself, "
                      "send it with \"raw\": true");
}

// What stands behind a gap, of which the prompt is what stands before.
static bool read_suffix(struct reading *r, const char *name, yyjson_val *value)
{
    return take_own_text(r, name, value, &ollama_asked(r)->suffix);
}

static bool read_images(struct reading *r, const char *name, yyjson_val *value)
{
    return only_empty(r, name, value, "this model reads text only");
}

static bool read_context(struct reading *r, const char *name, yyjson_val *value)
{
    struct text_ask text;
    if (!yyjson_is_arr(value))
        return wrong_kind(r, name, "an array of numbers, as an answer gave it", value);
    if (!take_ids(r, name, value, &text))
        return false;
    ollama_asked(r)->before = text.n_ids > 0 ? text.ids : NULL;
    ollama_asked(r)->n_before = text.n_ids;
    return true;
}

// truncate, shift
static bool read_ignored_flag(struct reading *r, const char *name, yyjson_val *value)
{
    bool ignored;
    return take_flag(r, name, value, &ignored);
}

static const struct field both_fields[] = {
    {"model", read_name},
    {"stream", read_stream},
    {"options", ollama_read_options},
    {"think", read_think},
    {"keep_alive", read_keep_alive},
    {"truncate", read_ignored_flag},
    {"shift", read_ignored_flag},
    {NULL, NULL},
};

static const struct field chat_fields[] = {
    {"messages", read_chat_messages},
    {"tools", read_tools},
    {NULL, NULL},
};

static const struct field generate_fields[] = {
    {"prompt", read_prompt},     {"system", read_system},
    {"template", read_template}, {"suffix", read_suffix},
    {"raw", read_raw},           {"context", read_context},
    {"images", read_images},     {NULL, NULL},
};

// ---- the whole request ----------------------------------------------------------------------

static bool begin(struct reading *r)
{
    struct ollama_ask *asked = arena_take(r->arena, sizeof(*asked));
    if (!asked)
        return no_room(r);
    r->form->asked = asked;
    r->form->stream = true;
    return true;
}

static bool chat_finish(struct reading *r)
{
    struct ollama_ask *asked = ollama_asked(r);
    r->ask->chat = true;
    asked->nothing = !r->ask->conversation.messages;
    return asked->nothing ||
           (ollama_match_results(r) && finish_tools(r) && finish_thinking(r) && finish_logprobs(r));
}

// The engine puts the model's marks around the gap: there is no conversation.
static bool finish_gap(struct reading *r)
{
    struct ollama_ask *asked = ollama_asked(r);
    if (asked->raw || asked->system.n > 0 || asked->before)
        return not_supported(r, "suffix",
                             "a gap is filled in between two texts, without 'raw', "
                             "'system' and 'context'");
    struct infill *infill = arena_take(r->arena, sizeof(*infill));
    if (!infill)
        return no_room(r);
    *infill = (struct infill){.behind = asked->suffix, .path = "suffix"};
    infill->before = asked->prompt.n > 0 ? asked->prompt : bytes_of("");
    r->ask->infill = infill;
    return finish_logprobs(r);
}

static bool generate_finish(struct reading *r)
{
    struct ollama_ask *asked = ollama_asked(r);
    asked->generate = true;
    asked->nothing = asked->prompt.n == 0 && asked->suffix.n == 0;
    if (asked->nothing)
        return true;
    if (asked->suffix.n > 0)
        return finish_gap(r);
    if (asked->raw && (asked->system.n > 0 || asked->before))
        return refuse(r->refusal, 400, "invalid_value", "raw",
                      "'raw' says that the prompt is whole, so 'system' and 'context' cannot be "
                      "sent with it.");
    if (asked->raw) {
        r->ask->prompt = asked->prompt;
        return finish_logprobs(r);
    }
    r->ask->chat = true;
    return ollama_converse(r) && finish_thinking(r) && finish_logprobs(r);
}

static void chat_told(struct api *api, const struct chore *chore)
{
    (void)api;
    ollama_nothing(chore->exchange, bytes_of(chore->said), false,
                   chore->kind == CHORE_LOAD ? "load" : "unload");
}

static void generate_told(struct api *api, const struct chore *chore)
{
    (void)api;
    ollama_nothing(chore->exchange, bytes_of(chore->said), true,
                   chore->kind == CHORE_LOAD ? "load" : "unload");
}

// Nothing is asked: to be loaded, or to be given up. One that is not there is gone already.
static void answer_nothing(struct api *api, struct exchange *exchange, const struct job *job,
                           const struct ollama_ask *asked)
{
    static const struct chore_teller chat_teller = {ERRORS_OLLAMA, chat_told},
                                     generate_teller = {ERRORS_OLLAMA, generate_told};
    const bool loads = job->ask.keep_s != 0;
    if (!loads && !model_loaded(api, job->ask.model_path))
        ollama_nothing(exchange, asked->model, asked->generate, "unload");
    else
        chore_job(api, exchange, loads ? CHORE_LOAD : CHORE_UNLOAD, &job->ask,
                  asked->generate ? &generate_teller : &chat_teller, asked->model);
}

// What is known only with the model. True: it is answered, or refused in *refusal.
static bool instead(struct api *api, struct exchange *exchange, const struct job *job,
                    struct form *form, struct refusal *refusal)
{
    const struct ollama_ask *asked = form->asked;
    struct model_info model;
    char notes[NOTES_BYTES];
    const bool known = model_known(api, &job->ask, &model) && model.n_ctx > 0;
    if (asked->nothing) {
        answer_nothing(api, exchange, job, asked);
        return true;
    }
    if (known && form->thinks == SAID_YES && !model.thinks)
        return !refuse(refusal, 400, "unsupported_value", "think",
                       "'think' is not supported: \"%s\" does not support thinking.", model.id);
    if (known && asked->n_ctx > model.n_ctx) {
        snprintf(notes, sizeof(notes),
                 "options.num_ctx is %d: the model is loaded with %d, and longer prompts are "
                 "refused; the setting ctx changes it",
                 (int)asked->n_ctx, (int)model.n_ctx);
        exchange_reply_header(exchange, "x-tawny-notes", notes);
    }
    form->of_dialect = ollama_keep(form);
    return false;
}

const struct dialect ollama_chat = {
    .framing = FRAMES_NDJSON,
    .errors = ERRORS_OLLAMA,
    .id_prefix = "ollama",
    .input = "messages",
    .fields = {both_fields, ollama_format_fields, chat_logprobs_fields, chat_fields},
    .begin = begin,
    .finish = chat_finish,
    .instead = instead,
    .writer = &ollama_lines,
};

const struct dialect ollama_generate = {
    .framing = FRAMES_NDJSON,
    .errors = ERRORS_OLLAMA,
    .id_prefix = "ollama",
    .input = "prompt",
    .fields = {both_fields, ollama_format_fields, chat_logprobs_fields, generate_fields},
    .begin = begin,
    .finish = generate_finish,
    .instead = instead,
    .writer = &ollama_lines,
};
