// logprobs.c - log-probabilities in OpenAI's dialect: the fields that ask for them, and how they
// are written: a list of tokens in chats, four lists side by side in completions.
//
// What the engine tells (EVENT_CHANCE) is kept as it came, a count in front of each, until the
// next chunk of a stream or the whole answer is written. In a stream they go out with the chunk
// whose text they are the first to be part of: text that is held back (a stop string may be coming)
// has its chunk later than its tokens.
#include "fields.h"

#include <math.h>
#include <string.h>

enum { KEPT_BYTES_MOST = 16 << 20 };

// ---- fields -------------------------------------------------------------------------------------

static bool read_chat_logprobs(struct reading *r, const char *name, yyjson_val *value)
{
    return take_flag(r, name, value, &r->form->logprobs);
}

static bool read_top_logprobs(struct reading *r, const char *name, yyjson_val *value)
{
    int64_t n;
    if (!take_whole(r, name, value, 0, CHANCES_MOST, &n))
        return false;
    r->form->top_logprobs = (int32_t)n;
    return true;
}

static bool read_completion_logprobs(struct reading *r, const char *name, yyjson_val *value)
{
    int64_t n;
    if (yyjson_is_false(value))
        return true;
    if (!take_whole(r, name, value, 0, CHANCES_MOST, &n))
        return false;
    r->form->logprobs = true;
    r->ask->n_chances = (int32_t)n;
    return true;
}

const struct field chat_logprobs_fields[] = {
    {"logprobs", read_chat_logprobs},
    {"top_logprobs", read_top_logprobs},
    {NULL, NULL},
};

const struct field completions_logprobs_fields[] = {
    {"logprobs", read_completion_logprobs},
    {NULL, NULL},
};

bool finish_logprobs(struct reading *r)
{
    if (r->form->top_logprobs > 0 && !r->form->logprobs)
        return refuse(r->refusal, 400, "invalid_value", "top_logprobs",
                      "'top_logprobs' is given, so 'logprobs' must be true.");
    if (r->form->logprobs)
        r->ask->n_chances = r->form->top_logprobs;
    return true;
}

// ---- what came ----------------------------------------------------------------------------------

enum status logprobs_keep(struct reply *reply, const struct event *event)
{
    const uint8_t n = (uint8_t)(event->n_done + 1);
    if (reply->chances.n + event->n_text > KEPT_BYTES_MOST)
        return TOO_LARGE;
    enum status status = buf_add(&reply->chances, &n, 1);
    return status == OK ? buf_add(&reply->chances, event->text, event->n_text) : status;
}

struct chance chance_take(struct bytes *from)
{
    float log;
    uint16_t n;
    memcpy(&log, from->p, sizeof(log));
    memcpy(&n, from->p + sizeof(log), sizeof(n));
    const size_t head = sizeof(log) + sizeof(n);
    struct chance chance = {(double)log, {from->p + head, n}, 0};
    memcpy(&chance.id, from->p + head + n, sizeof(chance.id));
    const size_t all = head + n + sizeof(chance.id);
    *from = (struct bytes){from->p + all, from->n - all};
    return chance;
}

uint8_t chance_count(struct bytes *from)
{
    const uint8_t n = from->p[0];
    *from = (struct bytes){from->p + 1, from->n - 1};
    return n;
}

// ---- chats --------------------------------------------------------------------------------------

// The members of one; the object is open.
static void write_chance(struct json *json, struct chance chance)
{
    json_text(json, "token", chance.text);
    json_exact(json, "logprob", chance.log);
    json_array(json, "bytes");
    for (size_t i = 0; i < chance.text.n; i++)
        json_whole(json, NULL, chance.text.p[i]);
    json_end(json);
}

static void write_tokens(struct json *json, const char *name, struct bytes left)
{
    json_array(json, name);
    while (left.n > 0) {
        const uint8_t n = chance_count(&left);
        json_object(json, NULL);
        write_chance(json, chance_take(&left));
        json_array(json, "top_logprobs");
        for (uint8_t i = 1; i < n; i++) {
            json_object(json, NULL);
            write_chance(json, chance_take(&left));
            json_end(json);
        }
        json_end(json);
        json_end(json);
    }
    json_end(json);
}

void logprobs_items(struct json *json, struct bytes chances)
{
    write_tokens(json, NULL, chances);
}

void logprobs_array(struct json *json, const struct reply *reply)
{
    if (reply->logprobs && reply->chances.n > 0)
        write_tokens(json, "logprobs", buf_view(&reply->chances));
}

// ---- completions --------------------------------------------------------------------------------

static void write_top(struct json *json, struct bytes *left, uint8_t n)
{
    char name[UINT16_MAX + 1];
    json_object(json, NULL);
    for (uint8_t i = 1; i < n; i++) {
        const struct chance chance = chance_take(left);
        memcpy(name, chance.text.p, chance.text.n);
        name[chance.text.n] = 0;
        json_exact(json, name, chance.log);
    }
    json_end(json);
}

static void write_list(struct json *json, struct bytes left, const char *name, size_t offset)
{
    json_array(json, name);
    while (left.n > 0) {
        const uint8_t n = chance_count(&left);
        const struct chance taken = chance_take(&left);
        if (strcmp(name, "tokens") == 0)
            json_text(json, NULL, taken.text);
        else if (strcmp(name, "token_logprobs") == 0 && isnan(taken.log))
            json_null(json, NULL);
        else if (strcmp(name, "token_logprobs") == 0)
            json_exact(json, NULL, taken.log);
        else if (strcmp(name, "text_offset") == 0)
            json_whole(json, NULL, (int64_t)offset);
        offset += utf8_length(taken.text);
        if (strcmp(name, "top_logprobs") == 0 && isnan(taken.log))
            json_null(json, NULL);
        else if (strcmp(name, "top_logprobs") == 0)
            write_top(json, &left, n);
        else
            for (uint8_t i = 1; i < n; i++)
                (void)chance_take(&left);
    }
    json_end(json);
}

static size_t n_tokens(struct bytes chances)
{
    size_t n = 0;
    for (; chances.n > 0; n++)
        for (uint8_t left = chance_count(&chances); left > 0; left--)
            (void)chance_take(&chances);
    return n;
}

void logprobs_drop(struct reply *reply, int32_t n)
{
    struct bytes rest = buf_view(&reply->chances);
    const size_t n_there = n_tokens(rest), n_dropped = n > 0 ? (size_t)n : 0;
    for (size_t i = n_dropped; i < n_there; i++)
        for (uint8_t left = chance_count(&rest); left > 0; left--)
            (void)chance_take(&rest);
    if (n_dropped > 0)
        reply->chances.n -= rest.n;
}

double logprobs_mean(const struct reply *reply)
{
    struct bytes rest = buf_view(&reply->chances);
    const size_t n_before = reply->chances_from < rest.n ? reply->chances_from : rest.n;
    double sum = 0;
    size_t n = 0;
    rest = (struct bytes){rest.p + n_before, rest.n - n_before};
    while (rest.n > 0) {
        const uint8_t n_there = chance_count(&rest);
        sum += chance_take(&rest).log;
        for (uint8_t i = 1; i < n_there; i++)
            (void)chance_take(&rest);
        n++;
    }
    return n > 0 ? sum / (double)n : CHANCE_LEAST;
}

size_t logprobs_characters(struct bytes chances)
{
    size_t n_all = 0;
    while (chances.n > 0) {
        const uint8_t n = chance_count(&chances);
        n_all += utf8_length(chance_take(&chances).text);
        for (uint8_t i = 1; i < n; i++)
            (void)chance_take(&chances);
    }
    return n_all;
}

void logprobs_write(struct json *json, const struct reply *reply)
{
    static const char *const lists[] = {"tokens", "token_logprobs", "top_logprobs", "text_offset"};
    const struct bytes chances = buf_view(&reply->chances);
    if (!reply->logprobs || chances.n == 0) {
        json_null(json, "logprobs");
        return;
    }
    json_object(json, "logprobs");
    if (reply->dialect == &openai_chat) {
        write_tokens(json, "content", chances);
        json_null(json, "refusal");
        json_end(json);
        return;
    }
    for (size_t i = 0; i < COUNT_OF(lists); i++)
        write_list(json, chances, lists[i], reply->chances_at);
    json_end(json);
}
