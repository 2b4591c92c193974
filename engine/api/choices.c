// choices.c - the answers of one request that are done, where there are several: all of them in the
// order in which they were written, or of each prompt's the best (best_of).
//
// Which is better is told by the mean of the log-probabilities of its tokens: the sum would prefer
// the shortest. What of a prompt's answers cannot be among the best any more is dropped at once.
// Invariant: `choices` and what `best` holds are together at most CHOICES_BYTES, and one answer
// more while it is told.
#include "inside.h"

#include <stdlib.h>
#include <string.h>

enum { CHOICES_BYTES = 8 * ANSWER_BYTES_MOST };

struct best {
    size_t n; // that are held
    struct {
        double mean;
        struct buf choice; // an object without its index
    } at[CHOICES_MOST];    // the best first; of equal ones that which was written first
};

bool choices_pick(const struct reply *reply)
{
    return reply->n_tries > reply->n_choices;
}

// The object with its index in front of its other members.
static enum status tell(struct reply *reply, size_t index, struct bytes choice)
{
    struct json json;
    json_init(&json, CHOICES_BYTES);
    json_object(&json, NULL);
    json_whole(&json, "index", (int64_t)index);
    json_splice(&json, NULL, (struct bytes){choice.p + 1, choice.n - 2});
    json_end(&json);
    enum status status = json_done(&json);
    if (status == OK && reply->choices.n > 0)
        status = buf_add(&reply->choices, ",", 1);
    if (status == OK)
        status = buf_add(&reply->choices, json.text.p, json.text.n);
    json_free(&json);
    return status == OK ? OK : TOO_LARGE;
}

static void drop_last(struct best *best)
{
    buf_free(&best->at[--best->n].choice);
}

static size_t n_held(const struct reply *reply)
{
    size_t n = reply->choices.n;
    for (size_t i = 0; i < reply->best->n; i++)
        n += reply->best->at[i].choice.n;
    return n;
}

static enum status keep(struct reply *reply, struct bytes choice)
{
    struct best *best = reply->best;
    const double mean = logprobs_mean(reply);
    size_t at = best->n;
    while (at > 0 && best->at[at - 1].mean < mean)
        at--;
    if (at == reply->n_choices)
        return OK;
    if (best->n == reply->n_choices)
        drop_last(best);
    if (choice.n > CHOICES_BYTES - n_held(reply))
        return TOO_LARGE;
    memmove(&best->at[at + 1], &best->at[at], (best->n - at) * sizeof(best->at[0]));
    best->n++;
    best->at[at].mean = mean;
    buf_init(&best->at[at].choice, CHOICES_BYTES);
    return buf_add(&best->at[at].choice, choice.p, choice.n);
}

enum status choices_add(struct reply *reply, struct bytes choice)
{
    if (!choices_pick(reply))
        return tell(reply, reply->index, choice);
    if (!reply->best)
        reply->best = mem_alloc(sizeof(*reply->best));
    enum status status = keep(reply, choice);
    if (reply->n_tried + 1 < reply->n_tries)
        return status;
    for (size_t i = 0; i < reply->best->n && status == OK; i++) {
        struct buf *told = &reply->best->at[i].choice;
        status = tell(reply, reply->index++, buf_view(told));
        buf_free(told);
    }
    while (reply->best->n > 0)
        drop_last(reply->best);
    return status;
}

void choices_free(struct reply *reply)
{
    while (reply->best && reply->best->n > 0)
        drop_last(reply->best);
    free(reply->best);
    reply->best = NULL;
}
