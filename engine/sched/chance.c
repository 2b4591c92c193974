// chance.c - log-probabilities: how likely the model itself held the token that counts, and the
// likeliest others, told as EVENT_CHANCE before the token's text.
//
// They are those of the model's logits as they come, before bias, penalties, grammar or temperature
// change anything. The n_top largest and log(sum of e^logit) come from the device; of a whole row
// they are taken here, before the sampler writes over it. Thoughts have none: what is told belongs
// to the content, as in OpenAI's answers.
#include "inside.h"

#include <math.h>
#include <string.h>

// The largest of a whole row, and its total.
static void take_row(struct chance_row *row, const float *logits, int32_t n_vocab)
{
    double best = -INFINITY, sum = 0;
    row->n = 0;
    for (int32_t id = 0; id < n_vocab; id++) {
        const float logit = logits[id];
        best = fmax(best, (double)logit);
        if (row->n == CHANCES_MOST && !(logit > row->logit[row->n - 1]))
            continue;
        int32_t at = row->n < CHANCES_MOST ? row->n++ : row->n - 1;
        for (; at > 0 && logit > row->logit[at - 1]; at--) {
            row->logit[at] = row->logit[at - 1];
            row->id[at] = row->id[at - 1];
        }
        row->logit[at] = logit;
        row->id[at] = id;
    }
    for (int32_t id = 0; id < n_vocab; id++)
        sum += exp((double)logits[id] - best);
    row->total = best + log(sum);
}

void chance_begin(struct loaded *loaded, const struct work *work, struct logits logits,
                  int32_t n_top)
{
    struct chance_row *row = &loaded->chance;
    if (work->job->ask.n_chances < 0)
        return;
    if (n_top == 0) {
        take_row(row, logits.value, loaded->n_vocab);
        memcpy(loaded->raw, logits.value, (size_t)loaded->n_vocab * sizeof(*loaded->raw));
        row->all = loaded->raw;
        return;
    }
    row->all = NULL;
    row->total = (double)logits.total[0];
    row->n = n_top < CHANCES_MOST ? n_top : CHANCES_MOST;
    row->n_top = n_top;
    row->top = logits;
    memcpy(row->id, logits.token, (size_t)row->n * sizeof(*row->id));
    memcpy(row->logit, logits.value, (size_t)row->n * sizeof(*row->logit));
}

// Of a token that is not among the largest: one that was forced, or that a grammar chose.
static double logit_of(struct loaded *loaded, int32_t wanted, int32_t id)
{
    struct chance_row *row = &loaded->chance;
    for (int32_t i = 0; !row->all && i < row->n_top; i++)
        if (row->top.token[i] == id)
            return (double)row->top.value[i];
    if (!row->all) {
        if (!model_keeps_logits(loaded->model, wanted + 1))
            return -INFINITY;
        loaded_logits(loaded, wanted, loaded->raw);
        row->all = loaded->raw;
    }
    return (double)row->all[id];
}

static void add_share(const struct loaded *loaded, struct buf *out, int32_t id, float log_share)
{
    const struct bytes text = tokenizer_mark(loaded->tokenizer, id);
    const uint16_t n = (uint16_t)(text.n < UINT16_MAX ? text.n : UINT16_MAX);
    if (buf_add(out, &log_share, sizeof(log_share)) != OK || buf_add(out, &n, sizeof(n)) != OK ||
        (n > 0 && buf_add(out, text.p, n) != OK) || buf_add(out, &id, sizeof(id)) != OK)
        die("out of memory");
}

static void add_token(const struct loaded *loaded, struct buf *out, int32_t id, double logit)
{
    add_share(loaded, out, id, (float)fmax(logit - loaded->chance.total, CHANCE_LEAST));
}

void chance_tell(struct loaded *loaded, const struct work *work, int32_t wanted, int32_t id)
{
    if (work->job->ask.n_chances >= 0 && !(work->answer && answer_thinks(work->answer)) &&
        !tokenizer_is_end(loaded->tokenizer, id))
        chance_of_prompt(loaded, work, wanted, id);
}

void chance_of_none(struct loaded *loaded, const struct work *work, int32_t id)
{
    struct buf out;
    buf_init(&out, SIZE_MAX);
    add_share(loaded, &out, id, NAN);
    engine_tell(loaded->engine, text_event(EVENT_CHANCE, work, buf_view(&out)));
    buf_free(&out);
}

void chance_of_prompt(struct loaded *loaded, const struct work *work, int32_t wanted, int32_t id)
{
    const int32_t asked = work->job->ask.n_chances;
    struct buf out;
    const int32_t n = asked < loaded->chance.n ? asked : loaded->chance.n;
    buf_init(&out, SIZE_MAX);
    add_token(loaded, &out, id, logit_of(loaded, wanted, id));
    for (int32_t i = 0; i < n; i++)
        add_token(loaded, &out, loaded->chance.id[i], (double)loaded->chance.logit[i]);
    struct event *event = text_event(EVENT_CHANCE, work, buf_view(&out));
    event->n_done = n;
    engine_tell(loaded->engine, event);
    buf_free(&out);
}
