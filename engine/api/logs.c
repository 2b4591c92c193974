// logs.c - GET /v1/logs: the last lines of the log, for boxes that have no shell.
//
//   ?since=N     those after line N: `last` of the answer before; without it the newest
//   &level=warn  of this level at least: debug, info, warn, error
//   &limit=100   at most so many
//
// Each request with a key leaves one line with its name (x-request-id), method, path, status and
// time; what was asked and answered is in no line.
#include "inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char *utc_text(char out[32], int64_t unix_ms)
{
    const time_t seconds = (time_t)(unix_ms / 1000);
    struct tm tm = {0};
    (void)gmtime_r(&seconds, &tm);
    const size_t n = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, 32 - n, ".%03dZ", (int)(unix_ms % 1000));
    return out;
}

// ---- the query ------------------------------------------------------------------------------

static bool read_whole(struct bytes text, const char *name, int64_t least, int64_t most,
                       int64_t *out, struct refusal *refusal)
{
    int64_t number = 0;
    bool good = text.n > 0 && text.n <= 16;
    for (size_t i = 0; i < text.n && good; i++) {
        good = text.p[i] >= '0' && text.p[i] <= '9';
        number = 10 * number + (text.p[i] - '0');
    }
    if (!good || number < least || number > most)
        return refuse(refusal, 400, "invalid_value", name,
                      "'%s' must be a whole number from %lld to %lld.", name, (long long)least,
                      (long long)most);
    *out = number;
    return true;
}

static bool read_level(struct bytes text, enum log_level *out, struct refusal *refusal)
{
    for (enum log_level level = LOG_DEBUG; level <= LOG_ERROR; level++)
        if (bytes_equal_text(text, log_level_name(level))) {
            *out = level;
            return true;
        }
    return refuse(refusal, 400, "invalid_value", "level",
                  "'level' must be debug, info, warn or error.");
}

// The text before the first `end`, which leaves *rest.
static struct bytes cut(struct bytes *rest, char end)
{
    const uint8_t *at = rest->n ? memchr(rest->p, end, rest->n) : NULL;
    const size_t n = at ? (size_t)(at - rest->p) : rest->n;
    const struct bytes part = {rest->p, n};
    rest->p += at ? n + 1 : n;
    rest->n -= at ? n + 1 : n;
    return part;
}

bool page_query_read(struct bytes query, bool of_logs, struct page_query *out,
                     struct refusal *refusal)
{
    *out = (struct page_query){
        .since = -1, .limit = of_logs ? LOGS_USUAL : AUDIT_KEPT, .least = LOG_DEBUG};
    while (query.n > 0) {
        struct bytes value = cut(&query, '&'), name = cut(&value, '=');
        bool good;
        if (bytes_equal_text(name, "limit"))
            good = read_whole(value, "limit", 1, of_logs ? LOGS_MOST : AUDIT_KEPT, &out->limit,
                              refusal);
        else if (of_logs && bytes_equal_text(name, "since"))
            good = read_whole(value, "since", 0, INT64_MAX, &out->since, refusal);
        else if (of_logs && bytes_equal_text(name, "level"))
            good = read_level(value, &out->least, refusal);
        else
            good = refuse(refusal, 400, "unknown_parameter", NULL, "The query may have %s.",
                          of_logs ? "since, level and limit" : "limit");
        if (!good)
            return false;
    }
    return true;
}

// ---- the answer -----------------------------------------------------------------------------

void logs_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    struct refusal refusal;
    struct page_query query;
    struct json json;
    char time[32];
    (void)api;
    if (!page_query_read(request->query, true, &query, &refusal)) {
        refusal_reply(exchange, &refusal);
        return;
    }
    const bool newest = query.since < 0;
    struct log_line *lines = mem_array((size_t)query.limit, sizeof(*lines));
    const size_t n = log_read(lines, (size_t)query.limit, newest ? 0 : (uint64_t)query.since,
                              query.least, newest);
    json_init(&json, (size_t)LOGS_MOST * 4 * LOG_TEXT_BYTES);
    json_object(&json, NULL);
    json_string(&json, "object", "list");
    json_array(&json, "data");
    for (size_t i = 0; i < n; i++) {
        json_object(&json, NULL);
        json_whole(&json, "number", (int64_t)lines[i].number);
        json_string(&json, "time", utc_text(time, lines[i].at_ms));
        json_string(&json, "level", log_level_name(lines[i].level));
        json_text(&json, "text", bytes_of(lines[i].text));
        json_end(&json);
    }
    json_end(&json);
    // Who asks for lines behind the last one had them of an engine that is gone: they begin anew.
    const int64_t last = n > 0 ? (int64_t)lines[n - 1].number : newest ? 0 : query.since;
    json_whole(&json, "last", last <= (int64_t)log_last() ? last : 0);
    json_end(&json);
    free(lines);
    exchange_reply_header(exchange, "Cache-Control", "no-store");
    json_reply(exchange, 200, &json);
}
