// audit.c - the audit log: each request that could change the box (keys, models), who sent it from
// where, and what came of it; also those that were refused for want of a scope.
//
// A line of STATE/audit.log is one JSON object:
//
//   {"time":"2026-01-31T12:00:00.000Z","request":"req_...","key":"key_...","name":"phone",
//    "peer":"192.0.2.7:51234","method":"POST","path":"/v1/keys","status":201,"what":"..."}
//
// It is written by the scribe's thread, each line synced; a file that is full becomes audit.log.1,
// in place of the one before. GET /v1/audit answers from memory, the newest last.
#include "inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void keep(struct audit *audit, const char *text, size_t n)
{
    char **line = &audit->line[audit->n++ % AUDIT_KEPT];
    free(*line);
    *line = mem_alloc(n + 1);
    memcpy(*line, text, n);
}

// A line that the power's end has cut is no object any more, and left out.
static void read_lines(struct audit *audit, struct bytes text)
{
    while (text.n > 0) {
        const uint8_t *end = memchr(text.p, '\n', text.n);
        const size_t n = end ? (size_t)(end - text.p) : text.n;
        struct body body;
        struct refusal refusal;
        if (end && n < AUDIT_LINE_BYTES && body_open(&body, (struct bytes){text.p, n}, &refusal)) {
            body_close(&body);
            keep(audit, (const char *)text.p, n);
        }
        text.p += end ? n + 1 : n;
        text.n -= end ? n + 1 : n;
    }
}

void audit_open(struct audit *audit, const char *state)
{
    char path[640];
    static const char *const ends[] = {".1", ""};
    *audit = (struct audit){.n = 0};
    snprintf(audit->path, sizeof(audit->path), "%s/audit.log", state);
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        struct buf file;
        struct err err = {0};
        snprintf(path, sizeof(path), "%s%s", audit->path, ends[i]);
        enum status status = file_read(&file, path, 2 * AUDIT_FILE_BYTES, &err);
        if (status == OK) {
            read_lines(audit, buf_view(&file));
            buf_free(&file);
        } else if (status != NOT_FOUND) {
            log_warn("the audit log cannot be read: %s", err.text);
        }
    }
}

void audit_close(struct audit *audit)
{
    for (size_t i = 0; i < AUDIT_KEPT; i++)
        free(audit->line[i]);
}

void audit_add(struct api *api, const struct key *key, const struct request *request,
               const struct answered *answered)
{
    struct json json;
    char time[32];
    const size_t n_path = request->path.n < 200 ? request->path.n : 200;
    json_init(&json, AUDIT_LINE_BYTES - 1);
    json_object(&json, NULL);
    json_string(&json, "time", utc_text(time, clock_unix_s() * 1000));
    json_string(&json, "request", request->id);
    json_string(&json, "key", key ? key->id : NULL);
    json_string(&json, "name", key ? key->name : NULL);
    json_string(&json, "peer", request->peer);
    json_text(&json, "method", request->method);
    json_text(&json, "path", (struct bytes){request->path.p, n_path});
    json_whole(&json, "status", answered->code);
    json_string(&json, "what", answered->note);
    json_end(&json);
    if (json_done(&json) != OK) {
        log_error("%s: its line of the audit log is too long", request->id);
        json_free(&json);
        return;
    }
    keep(&api->audit, (const char *)json.text.p, json.text.n);
    struct buf line;
    buf_init(&line, AUDIT_LINE_BYTES);
    if (buf_add(&line, json.text.p, json.text.n) == OK && buf_add(&line, "\n", 1) == OK)
        (void)scribe_append(api->scribe, api->audit.path, &line, AUDIT_FILE_BYTES);
    buf_free(&line);
    json_free(&json);
}

void audit_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    struct refusal refusal;
    struct page_query query;
    struct buf text;
    const struct audit *audit = &api->audit;
    if (!page_query_read(request->query, false, &query, &refusal)) {
        refusal_reply(exchange, &refusal);
        return;
    }
    const uint64_t n_kept = audit->n < AUDIT_KEPT ? audit->n : AUDIT_KEPT,
                   n = n_kept < (uint64_t)query.limit ? n_kept : (uint64_t)query.limit;
    buf_init(&text, (size_t)AUDIT_KEPT * AUDIT_LINE_BYTES);
    enum status status = buf_format(&text, "{\"object\":\"list\",\"data\":[");
    for (uint64_t i = audit->n - n; i < audit->n && status == OK; i++)
        status =
            buf_format(&text, "%s%s", i > audit->n - n ? "," : "", audit->line[i % AUDIT_KEPT]);
    if (status == OK)
        status = buf_format(&text, "]}");
    exchange_reply_header(exchange, "Cache-Control", "no-store");
    if (status == OK)
        exchange_reply(exchange, 200, "application/json", buf_view(&text));
    else
        refusal_reply(exchange, &(struct refusal){.http = 500, .text = "The list is too long."});
    buf_free(&text);
}
