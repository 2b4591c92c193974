// encode.c - the thread that turns prompts into token ids, so that a long text holds up nobody who
// is being answered.
//
// Prompts come on one ring and go back on another, each in an encoding that belongs to whoever
// holds it; a tokenizer is only read. On a processor that computes the model too, this thread gives
// way to it. One text is worked on at a time: what it needs is freed before the next, and ids are
// kept at their true number.
#include "base/confine.h"
#include "inside.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    GIVES_WAY = 10,      // nice
    PREDICTED_BYTES = 8, // of a prediction are read for each token that an answer may have
};
// What is counted and not answered may be longer than the context, but not hold up other prompts.
enum { COUNT_BYTES_MOST = 4 << 20 };

struct encoder {
    struct ring *in, *out;
    pthread_t thread;
    _Atomic bool quits; // what is still in the ring need not be encoded
    _Atomic uint64_t began_ms;
};

void encoding_close(struct encoding *encoding)
{
    if (!encoding)
        return;
    job_close(encoding->job);
    matcher_close(encoding->matcher);
    grammar_close(encoding->grammar);
    jinja_text_free(&encoding->text);
    free(encoding->ids);
    free(encoding->n_each);
    free(encoding->predicted);
    buf_free(&encoding->told);
    free(encoding);
}

// ---- the text -------------------------------------------------------------------------------

static enum status too_long(struct encoding *e, const char *at_least, size_t n, struct err *err)
{
    e->n = n < INT32_MAX ? (int32_t)n : INT32_MAX;
    if (e->n_ctx >= e->n_ctx_train)
        return err_set(err, TOO_LARGE,
                       "this model's context holds %d tokens, prompt and answer, which is all "
                       "that it was trained for; the prompt has %s%zu. Shorten it",
                       (int)e->n_ctx, at_least, n);
    return err_set(err, TOO_LARGE,
                   "this model's context holds %d tokens, prompt and answer; the prompt has %s%zu. "
                   "Shorten it, or raise ctx in tawny.conf (the model was trained for %d)",
                   (int)e->n_ctx, at_least, n, (int)e->n_ctx_train);
}

static uint64_t text_bytes(const struct job *job)
{
    if (job->ask.infill)
        return infill_bytes(job->ask.infill);
    return job->ask.chat ? conversation_bytes(&job->ask.conversation)
                         : job->ask.prompt.n + job->ask.n_prompt_ids + pieces_bytes(&job->ask);
}

// What cannot fit even in the longest tokens is not tokenized; biases are of this vocabulary.
enum status encoding_check(struct encoding *e, struct err *err)
{
    const struct sampling *sampling = &e->job->ask.sampling;
    const int32_t n_vocab = tokenizer_n_vocab(e->tokenizer);
    for (size_t i = 0; i < sampling->n_biases; i++)
        if (sampling->biases[i].id >= n_vocab)
            return err_set(err, BAD_INPUT,
                           "'logit_bias' has an entry for token %d; this model's vocabulary has "
                           "%d, counted from 0",
                           (int)sampling->biases[i].id, (int)n_vocab);
    if (e->job->kind == JOB_EMBED) // each text by itself, when it is encoded
        return OK;
    if (e->job->ask.only_prompt || ask_only_tells(&e->job->ask)) // it need not fit
        return OK;
    size_t n_longest = tokenizer_longest(e->tokenizer);
    uint64_t n_bytes = text_bytes(e->job), n_least = (n_bytes + n_longest - 1) / n_longest;
    if (e->job->ask.only_count)
        return n_bytes <= COUNT_BYTES_MOST
                   ? OK
                   : err_set(err, TOO_LARGE,
                             "the text has %llu bytes; tokens are counted of %d at most",
                             (unsigned long long)n_bytes, COUNT_BYTES_MOST);
    return n_least >= (uint64_t)e->n_ctx ? too_long(e, "at least ", (size_t)n_least, err) : OK;
}

const char *ask_obeys(const struct ask *ask)
{
    return ask->must_call || !ask->constraint.path ? "tools" : ask->constraint.path;
}

// Where the answer begins is looked at here, so that what cannot be followed is refused before
// anything is generated, and the first mask costs the engine's thread nothing.
static enum status begin_matcher(struct encoding *e, struct err *err)
{
    const size_t n = ((size_t)tokenizer_n_vocab(e->tokenizer) + 31) / 32;
    uint32_t *bits = mem_array(n, sizeof(*bits));
    matcher_prepare(e->tokenizer);
    matcher_open(&e->matcher, e->grammar, e->tokenizer);
    enum status status = matcher_mask(e->matcher, bits, err);
    free(bits);
    return status == OK ? OK : err_prefix(err, "%s", ask_obeys(&e->job->ask));
}

// What the answer must be: calls that obey their tools' schemas, content that obeys the request.
static enum status obey(struct encoding *e, struct err *err)
{
    const struct ask *ask = &e->job->ask;
    const bool prescribed = ask->constraint.kind != CONSTRAINT_NONE;
    const struct answer_rules rules = {.tools = ask->conversation.tools,
                                       .must_call = ask->must_call,
                                       .several = !ask->one_call,
                                       .tool = ask->must_call_tool,
                                       .constraint = prescribed ? &ask->constraint : NULL,
                                       .tokenizer = e->tokenizer};
    enum status status = ask->chat ? answer_grammar(&e->grammar, &e->family, &rules, &e->notes, err)
                                   : grammar_compile(&e->grammar, &ask->constraint, &e->notes, err);
    return status == OK && e->grammar ? begin_matcher(e, err) : status;
}

// A raw prompt; ids that were sent are taken as they are, without BOS.
static enum status encode_prompt(const struct encoding *e, int32_t *ids, size_t cap, size_t *n,
                                 struct err *err)
{
    const struct ask *ask = &e->job->ask;
    const int32_t n_vocab = tokenizer_n_vocab(e->tokenizer);
    if (ask->n_texts > 0)
        return pieces_encode(e, ids, cap, n, err);
    if (ask->infill)
        return infill_encode(e->tokenizer, ask->infill, ids, cap, n, err);
    if (!ask->prompt_ids)
        return tokenizer_encode(e->tokenizer, ask->prompt, true, ids, cap, n, err);
    for (size_t i = 0; i < ask->n_prompt_ids; i++)
        if (ask->prompt_ids[i] < 0 || ask->prompt_ids[i] >= n_vocab)
            return err_set(err, BAD_INPUT,
                           "token %zu of the prompt has the id %d; this model's vocabulary has %d, "
                           "counted from 0",
                           i, (int)ask->prompt_ids[i], (int)n_vocab);
    memcpy(ids, ask->prompt_ids, ask->n_prompt_ids * sizeof(*ids));
    *n = ask->n_prompt_ids;
    return OK;
}

// What is predicted of the answer; its beginning, where that is longer than an answer can be. What
// cannot be encoded is not used: it changes how soon the answer is there, and nothing else.
static void encode_prediction(struct encoding *e)
{
    struct bytes text = e->job->ask.prediction;
    const size_t most = (size_t)e->n_ctx * PREDICTED_BYTES;
    struct err err;
    size_t n = 0;
    text.n = text.n < most ? text.n : most;
    if (text.n == 0)
        return;
    e->predicted = mem_array(text.n + 64, sizeof(*e->predicted));
    if (tokenizer_append(e->tokenizer, text, false, e->predicted, text.n + 64, &n, &err) != OK)
        n = 0;
    e->n_predicted = (int32_t)(n < (size_t)e->n_ctx ? n : (size_t)e->n_ctx);
    e->predicted = mem_resize(e->predicted, ((size_t)e->n_predicted + 1) * sizeof(*e->predicted));
}

static enum status encode(struct encoding *e, struct err *err)
{
    const struct job *job = e->job;
    if (ask_only_tells(&job->ask))
        return told_encode(e, err);
    if (job->ask.only_prompt)
        return template_render(&e->text, e->template, &job->ask.conversation, err);
    // no token is shorter than a byte; BOS comes on top
    uint64_t n_bytes = text_bytes(job), cap = n_bytes + 64;
    if (cap > INT32_MAX / 8)
        return err_set(err, TOO_LARGE,
                       "the prompt has %llu bytes; that is over what is read at all",
                       (unsigned long long)n_bytes);
    enum status status = job->ask.only_count ? OK : obey(e, err);
    if (status != OK)
        return status;
    int32_t *ids = job->ask.chat ? NULL : mem_array(cap, sizeof(*ids));
    size_t n = 0;
    status = job->ask.chat
                 ? template_encode(e->template, e->tokenizer, &job->ask.conversation, &ids, &n, err)
                 : encode_prompt(e, ids, cap, &n, err);
    if (status == OK && n == 0)
        status = err_set(err, BAD_INPUT, "the prompt is empty");
    if (status == OK && n >= (size_t)e->n_ctx &&
        !job->ask.only_count) // an answer has one token at least
        status = too_long(e, "", n, err);
    if (status != OK) {
        free(ids);
        return status;
    }
    e->ids = mem_resize(ids, n * sizeof(*ids));
    e->n = (int32_t)n;
    encode_prediction(e);
    return OK;
}

// ---- the thread -----------------------------------------------------------------------------

static void *encoder_main(void *arg)
{
    struct encoder *encoder = arg;
    thread_begin("encoder", THREAD_FILES);
    // Linux has one nice value a thread. A GPU's box has cores to spare; a processor that computes
    // the model has none, and every pass waits for its slowest worker.
    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), GIVES_WAY);
    for (;;) {
        struct encoding *encoding = ring_pop(encoder->in);
        if (!encoding) {
            ring_wait(encoder->in);
            continue;
        }
        if (!encoding->job) {
            encoding_close(encoding);
            return NULL;
        }
        if (!atomic_load(&encoder->quits)) {
            atomic_store_explicit(&encoder->began_ms, clock_ms(), memory_order_relaxed);
            (void)(encoding->job->kind == JOB_EMBED ? embed_encode : encode)(encoding,
                                                                             &encoding->err);
            atomic_store_explicit(&encoder->began_ms, 0, memory_order_relaxed);
        }
        while (ring_push(encoder->out, encoding) != OK)
            nap(1); // as many slots as the job ring has: never
    }
}

void encoder_open(struct encoder **out)
{
    struct encoder *encoder = mem_alloc(sizeof(*encoder));
    ring_open(&encoder->in, JOB_SLOTS);
    ring_open(&encoder->out, JOB_SLOTS);
    int code = pthread_create(&encoder->thread, NULL, encoder_main, encoder);
    if (code)
        die("the encoder's thread cannot be started: %s", strerror(code));
    *out = encoder;
}

void encoder_send(struct encoder *encoder, struct encoding *encoding)
{
    if (ring_push(encoder->in, encoding) != OK)
        die("more than %d prompts are with the encoder", JOB_SLOTS);
}

struct encoding *encoder_take(struct encoder *encoder)
{
    return ring_pop(encoder->out);
}

int encoder_fd(const struct encoder *encoder)
{
    return ring_fd(encoder->out);
}

uint64_t encoder_began_ms(const struct encoder *encoder)
{
    return atomic_load_explicit(&encoder->began_ms, memory_order_relaxed);
}

void encoder_stop(struct encoder *encoder)
{
    atomic_store(&encoder->quits, true);
    encoder_send(encoder, mem_alloc(sizeof(struct encoding)));
    pthread_join(encoder->thread, NULL);
}

void encoder_close(struct encoder *encoder)
{
    for (struct encoding *encoding; (encoding = ring_pop(encoder->out)) != NULL;)
        encoding_close(encoding);
    ring_close(encoder->in);
    ring_close(encoder->out);
    free(encoder);
}
