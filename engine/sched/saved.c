// saved.c - the files with what texts left in memory: which there are, which one serves a prompt,
// and which go when there are too many.
//
// All heads are in memory, with their tokens: a file is found without the disk. What a file is
// worth is the time that it saves for each of its bytes, less the longer nobody has used it:
//
//     value = tokens * us a token / bytes / (1 + hours since it was used)
//
// The cheapest go first. A file whose whole text another one of its owner has goes at once.
#include "keep.h"

#include <stdlib.h>
#include <string.h>

enum { READ_BEGIN_US = 2000, HOUR_S = 3600 };

void saved_free(struct saved *kept)
{
    if (!kept)
        return;
    free(kept->token);
    free(kept);
}

bool keep_knows(const struct keep *keep, uint64_t owner)
{
    for (size_t i = 0; i < keep->n_owners; i++)
        if (keep->owners[i] == owner)
            return true;
    return false;
}

double keep_read_us(const struct keep *keep, uint64_t n_bytes)
{
    return (double)n_bytes / keep->read_rate * 1e6;
}

// ---- finding ------------------------------------------------------------------------------------

// Positions of a file that a prompt of n tokens which begins as it can be continued from.
static int32_t saved_usable(const struct loaded *loaded, const struct saved *kept,
                            const int32_t *token, int32_t n)
{
    const int32_t common = prefix_common(kept->token, kept->n, token, n);
    int32_t i = 0;
    if (!loaded->needs_snapshots)
        return common;
    while (i < kept->n_stands && kept->stands[i] > common)
        i++;
    return i < kept->n_stands ? kept->stands[i] : 0;
}

struct saved *saved_find(const struct loaded *loaded, const struct work *work, int32_t most,
                         int32_t n_held, int32_t *at, double *saves_us)
{
    const struct keep *keep = loaded->engine->keep;
    struct saved *best = NULL;
    *saves_us = 0;
    for (struct saved *kept = keep->files; kept; kept = kept->next) {
        if (kept->model != loaded->identity ||
            (kept->owner != work->owner->id && !loaded->engine->sched->settings.share_prefixes))
            continue;
        const int32_t n = saved_usable(loaded, kept, work->prompt, most);
        const double us = loaded->prompt_us > 0 ? loaded->prompt_us : (double)kept->us_per_token,
                     read_us = keep_read_us(keep, kept->n_bytes) * n / kept->n + READ_BEGIN_US,
                     saves = (n - n_held) * us - read_us;
        if (n < KEEP_LEAST || n <= n_held || saves <= *saves_us)
            continue;
        best = kept;
        *at = n;
        *saves_us = saves;
    }
    return best;
}

int32_t saved_covered(const struct loaded *loaded, const struct seq *seq, double *us_per_token)
{
    const struct keep *keep = loaded->engine->keep;
    int32_t most = 0;
    *us_per_token = 0;
    for (const struct saved *kept = keep ? keep->files : NULL; kept; kept = kept->next) {
        if (kept->model != loaded->identity || kept->owner != seq->owner)
            continue;
        const int32_t n = saved_usable(loaded, kept, seq->token, seq->n_cached);
        if (n > most) {
            most = n;
            *us_per_token = keep_read_us(keep, kept->n_bytes) / kept->n;
        }
    }
    return most;
}

// us that a token of a sequence's text costs to have again: read from a file that has most of it,
// else computed.
double keep_again_us(const struct loaded *loaded, const struct seq *seq)
{
    double read_us;
    const double us = loaded->prompt_us > 0 ? loaded->prompt_us : 1;
    const bool has = saved_covered(loaded, seq, &read_us) >= seq->n_cached - KEEP_LEAST / 2;
    return has && read_us < us ? read_us : us;
}

// ---- the list -----------------------------------------------------------------------------------

void saved_remove(struct keep *keep, struct saved *kept)
{
    struct saved **at = &keep->files;
    while (*at != kept)
        at = &(*at)->next;
    *at = kept->next;
    keep->n_files--;
    keep->n_bytes -= kept->n_bytes;
    struct errand *errand = mem_alloc(sizeof(*errand));
    *errand = (struct errand){
        .kind = ERRAND_DELETE, .owner = kept->owner, .model = kept->model, .number = kept->number};
    errands_send(keep->errands, errand);
    saved_free(kept);
}

void saved_add(struct loaded *loaded, struct saved *kept)
{
    struct keep *keep = loaded->engine->keep;
    for (struct saved *other = keep->files, *next; other; other = next) {
        next = other->next;
        if (other->owner == kept->owner && other->model == kept->model && !other->is_read &&
            other->n <= kept->n &&
            memcmp(other->token, kept->token, (size_t)other->n * sizeof(*kept->token)) == 0)
            saved_remove(keep, other);
    }
    kept->next = keep->files;
    keep->files = kept;
    keep->n_files++;
    keep->n_bytes += kept->n_bytes;
}

static double value(const struct saved *kept, int64_t now_s)
{
    const double idle_s = (double)(now_s > kept->used_s ? now_s - kept->used_s : 0);
    return (double)kept->n * (double)kept->us_per_token / (double)(kept->n_bytes + 1) /
           (1 + idle_s / HOUR_S);
}

bool saved_make_room(struct keep *keep, uint64_t n_bytes)
{
    const int64_t now_s = clock_unix_s();
    if (n_bytes > keep->most_bytes)
        return false;
    while (keep->n_bytes > keep->most_bytes - n_bytes || keep->n_files >= KEPT_MOST) {
        struct saved *least = NULL;
        for (struct saved *kept = keep->files; kept; kept = kept->next)
            if (!kept->is_read && (!least || value(kept, now_s) < value(least, now_s)))
                least = kept;
        if (!least)
            return false;
        saved_remove(keep, least);
    }
    return true;
}
