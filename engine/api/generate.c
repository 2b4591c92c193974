// generate.c - a request with a dialect (/v1/chat/completions, /v1/embeddings ...) becomes an ask,
// and travels to the engine in a job.
//
// The order of refusals: not understood (400), no such model (404), one that can never be loaded
// (500, which invites nobody to try again), too many waiting (503 with Retry-After). A model that
// is not loaded yet is waited for (pick.c). When the client leaves, the job is cancelled; the reply
// stays until its last event came.
#include "fields.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The client vanished.
static void gone(void *arg, struct exchange *exchange)
{
    struct reply *reply = arg;
    if (reply->exchange != exchange)
        return;
    reply->exchange = NULL;
    log_debug("%s: the client is gone", reply->name);
    sched_cancel(reply->api->options.sched, reply->id);
}

static void name_make(struct reply *reply)
{
    uint8_t random[12];
    char text[2 * sizeof(random) + 1];
    random_bytes(random, sizeof(random));
    hex_write(text, random, sizeof(random));
    snprintf(reply->name, sizeof(reply->name), "%s%s", reply->dialect->id_prefix, text);
}

static struct reply *reply_open(struct api *api, const struct form *form, const struct ask *ask,
                                struct exchange *exchange)
{
    struct reply *reply = mem_alloc(sizeof(*reply));
    reply->api = api;
    reply->exchange = exchange;
    reply->id = ++api->last_id;
    reply->dialect = form->dialect;
    reply->stream = form->stream;
    reply->include_usage = form->include_usage;
    reply->constraint = form->constraint;
    reply->logprobs = form->logprobs;
    reply->thoughts = form->thoughts;
    snprintf(reply->note, sizeof(reply->note), "%.*s", (int)form->note.n,
             (const char *)form->note.p);
    buf_init(&reply->chances, SIZE_MAX);
    reply->created = clock_unix_s();
    reply->asked_ms = reply->written_ms = clock_ms();
    buf_init(&reply->text, 3 * (size_t)ANSWER_BYTES_MOST);
    buf_init(&reply->thinking, ANSWER_BYTES_MOST);
    reply->who = ask->owner;
    reply->echo = form->echo;
    reply->echoes = ask->echoes;
    reply->n_choices = form->n_choices;
    reply->n_tries = form->n_tries;
    buf_init(&reply->choices, 8 * (size_t)ANSWER_BYTES_MOST);
    if (form->echo && buf_add(&reply->text, ask->prompt.p, ask->prompt.n) != OK)
        log_warn("a prompt is too long to be echoed");
    name_make(reply);
    return reply;
}

static bool biases_fit(const struct model_info *model, const struct job *job,
                       struct refusal *refusal)
{
    const struct sampling *sampling = &job->ask.sampling;
    for (size_t i = 0; i < sampling->n_biases; i++)
        if (sampling->biases[i].id >= model->n_vocab)
            return refuse(refusal, 400, "invalid_value", "logit_bias",
                          "'logit_bias' has an entry for token %d; this model's vocabulary has %d, "
                          "counted from 0.",
                          (int)sampling->biases[i].id, (int)model->n_vocab);
    return true;
}

// False (and refused) where it is known that the model does not do such work.
static bool model_suits(const struct api *api, const struct job *job, const struct form *form,
                        struct refusal *refusal)
{
    struct model_info model;
    struct err err = {0};
    if (!model_known(api, &job->ask, &model))
        return true; // the engine looks again
    if (job_suits(job, &model, &err) != OK)
        return refuse_err(refusal, &err, "model");
    if (model.n_vocab > 0 && !biases_fit(&model, job, refusal))
        return false;
    return job->kind != JOB_EMBED || vectors_fit(&model, job, form, refusal);
}

// A place is free again when one of those that are worked on has ended.
static bool queue_is_full(const struct api *api, const struct job *job, struct refusal *refusal)
{
    const double wait_s = api->metrics.work_s;
    const struct sched *sched = api->options.sched;
    (void)refuse(refusal, 503, "busy", NULL,
                 "%zu requests are being answered or waiting, which is the most (%zu of this key); "
                 "try again soon.",
                 sched_n_open(sched), sched_n_open_of(sched, job->ask.owner));
    refusal->retry_after_s = wait_s < 1 ? 1 : wait_s > 60 ? 60 : (int32_t)wait_s;
    return false;
}

static bool submit(struct api *api, struct exchange *exchange, struct job *job,
                   const struct form *form, struct refusal *refusal)
{
    struct sched *sched = api->options.sched;
    struct key *key = keys_who(&api->keys, job->ask.owner);
    if (!key)
        return refuse(refusal, 401, "invalid_api_key", NULL, "The API key was revoked just now.");
    if (!limit_at_once(key, refusal))
        return false;
    struct reply *reply = reply_open(api, form, &job->ask, exchange);
    job->id = reply->id;
    snprintf(reply->model, sizeof(reply->model), "%.*s", (int)job->ask.model.n,
             (const char *)job->ask.model.p);
    reply->form = form->vectors;
    if (form->vectors.documents)
        reply->documents = documents_copy(&job->ask);
    if (sched_submit(sched, job) != OK) {
        reply_close(reply);
        return queue_is_full(api, job, refusal);
    }
    const size_t n_ahead = sched_n_open(sched) - 1, n_together = sched_n_together(sched);
    if (n_ahead >= n_together) {
        char place[24];
        snprintf(place, sizeof(place), "%zu", n_ahead - n_together + 1);
        exchange_reply_header(exchange, "x-tawny-queue-place", place);
    }
    key->n_open++;
    reply->of_dialect = form->of_dialect;
    reply->next = api->replies;
    api->replies = reply;
    exchange_owner(exchange, gone, reply);
    return true;
}

static void later_close(struct job **later, size_t n)
{
    for (size_t i = 0; i < n; i++)
        job_close(later[i]);
    free(later);
}

// Of all prompts; 1 where a dialect knows no such thing.
static size_t n_answers(const struct form *form)
{
    return form->n_prompts * (form->n_tries > 0 ? form->n_tries : 1);
}

// They are all read before the first is begun, and are held until their turn comes.
static bool answers_fit(const struct request *request, const struct form *form,
                        const struct job *first, struct refusal *refusal)
{
    const size_t n = n_answers(form);
    const char *field = form->n_prompts > 1 ? form->dialect->input : "n";
    if (request->body.n > PROMPTS_BYTES / n)
        return refuse(refusal, 413, "request_too_large", field,
                      "With %zu answers to give a request may have %zu bytes; ask for fewer at "
                      "once.",
                      n, PROMPTS_BYTES / n);
    if (first->arena.used_bytes > ASKS_BYTES / n)
        return refuse(refusal, 413, "request_too_large", field,
                      "This request is too large to be read %zu times, once for each answer; ask "
                      "for fewer at once.",
                      n);
    return true;
}

// A job for each answer but the first, in *out (NULL: there are none). A prompt's answers follow
// each other, and the seed of each is one more than that before it.
static bool read_later(struct api *api, const struct request *request, const struct form *first,
                       const struct job *job, struct job ***out, struct refusal *refusal)
{
    const size_t n = n_answers(first) - 1, n_tries = n_answers(first) / first->n_prompts;
    *out = NULL;
    if (n == 0)
        return true;
    if (!answers_fit(request, first, job, refusal))
        return false;
    struct job **later = mem_array(n, sizeof(struct job *));
    for (size_t i = 0; i < n; i++) {
        struct form form;
        later[i] = job_open();
        later[i]->kind = first->dialect->kind;
        later[i]->ask.owner = request->who;
        if (!ask_read_for(api, first->dialect, request->body, (i + 1) / n_tries, later[i], &form,
                          refusal) ||
            !model_pick(api, form.model, later[i], refusal)) {
            later_close(later, i + 1);
            return false;
        }
        later[i]->ask.sampling.seed += (i + 1) % n_tries;
    }
    *out = later;
    return true;
}

static bool settle(struct api *api, struct job *job, struct form *form, struct refusal *refusal)
{
    struct reading r = {.ask = &job->ask, .arena = &job->arena, .form = form, .refusal = refusal};
    return !form->dialect->settle || form->dialect->settle(api, &r);
}

static bool answered_instead(struct api *api, struct exchange *exchange, const struct job *job,
                             struct form *form, struct refusal *refusal)
{
    refusal->http = 0;
    return form->dialect->instead && form->dialect->instead(api, exchange, job, form, refusal);
}

// How long the client waits for an answer to begin: what it says itself, or, where it gets no head
// before, what OpenAI's and Anthropic's clients say of themselves. Seconds; what is no number says
// nothing.
static uint32_t time_given(const struct request *request, bool streams)
{
    static const char *const names[] = {"x-request-timeout", "x-stainless-timeout",
                                        "x-stainless-read-timeout"};
    char text[16];
    for (size_t i = 0; i < (streams ? 1 : COUNT_OF(names)); i++) {
        const struct bytes value = request_header(request, names[i]);
        char *end = text;
        if (!value.p || value.n == 0 || value.n >= sizeof(text))
            continue;
        memcpy(text, value.p, value.n);
        text[value.n] = 0;
        const double s = strtod(text, &end);
        if (*end == 0 && s > 0 && s < 1e6)
            return (uint32_t)(s * 1000) + 1;
    }
    return 0;
}

void dialect_post(struct api *api, struct exchange *exchange, const struct request *request,
                  const struct dialect *dialect)
{
    struct refusal refusal;
    struct form form = {.dialect = dialect};
    struct job *job = job_open(), **later = NULL;
    job->kind = dialect->kind;
    job->ask.owner = request->who;
    if (ask_read_for(api, dialect, request->body, 0, job, &form, &refusal) &&
        model_pick(api, form.model, job, &refusal) && settle(api, job, &form, &refusal) &&
        model_suits(api, job, &form, &refusal) &&
        !answered_instead(api, exchange, job, &form, &refusal) &&
        read_later(api, request, &form, job, &later, &refusal) &&
        (job->ask.within_ms = time_given(request, form.stream)) < UINT32_MAX &&
        submit(api, exchange, job, &form, &refusal)) {
        api->replies->later = later;
        api->replies->n_later = later ? n_answers(&form) - 1 : 0;
        log_debug("%s: job %llu", request->id, (unsigned long long)api->last_id);
        return;
    }
    later_close(later, later ? n_answers(&form) - 1 : 0);
    dialect_forget(dialect, form.of_dialect);
    job_close(job);
    if (refusal.http == 0)
        return;
    refusal.shape = dialect->errors;
    refusal_reply(exchange, &refusal);
}

void chat_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    dialect_post(api, exchange, request, &openai_chat);
}

void apply_template_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    dialect_post(api, exchange, request, &openai_prompt);
}

enum status api_read_chat(struct job *job, struct bytes body, struct err *err)
{
    struct refusal refusal;
    struct form form;
    if (ask_read(&openai_prompt, body, job, &form, &refusal))
        return OK;
    return err_set(err, BAD_INPUT, "%.300s", refusal.text);
}

void completions_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    dialect_post(api, exchange, request, &openai_completions);
}

void infill_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    dialect_post(api, exchange, request, &llama_infill);
}

void messages_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    dialect_post(api, exchange, request, &anthropic_messages);
}

void count_tokens_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    dialect_post(api, exchange, request, &anthropic_count);
}

void responses_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    dialect_post(api, exchange, request, &openai_responses);
}

void embeddings_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    dialect_post(api, exchange, request, &openai_embeddings);
}

void rerank_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    dialect_post(api, exchange, request, &jina_rerank);
}

void ollama_embed_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    dialect_post(api, exchange, request, &ollama_embed);
}

void ollama_embeddings_post(struct api *api, struct exchange *exchange,
                            const struct request *request)
{
    dialect_post(api, exchange, request, &ollama_embeddings);
}

void ollama_chat_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    dialect_post(api, exchange, request, &ollama_chat);
}

void ollama_generate_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    dialect_post(api, exchange, request, &ollama_generate);
}
