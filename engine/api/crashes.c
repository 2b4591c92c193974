// crashes.c - GET /v1/crashes: how the engine ended when nobody asked it to; /health names the last
// such end.
//
// The reports are STATE/crashes/TIME-N.txt, written by PID 1 (init/report.c says what is in one).
// What is there is read as it may be found on any disk: a file that is no report, or
// longer than one can be, is left out.
#include "inside.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 64, TEXT_MOST = 16384, LINES_MOST = 64, LOOK_AGAIN_MS = 10000 };

struct found {
    int64_t at_s, number;
};

static bool read_name(const char *name, struct found *out)
{
    int64_t part[2] = {0};
    for (int i = 0; i < 2; i++) {
        size_t n = 0;
        for (; *name >= '0' && *name <= '9' && n < 15; n++)
            part[i] = 10 * part[i] + (*name++ - '0');
        if (n == 0 || (i == 0 && *name++ != '-'))
            return false;
    }
    *out = (struct found){part[0], part[1]};
    return strcmp(name, ".txt") == 0;
}

static int newest_first(const void *a, const void *b)
{
    const struct found *left = a, *right = b;
    if (left->at_s != right->at_s)
        return left->at_s < right->at_s ? 1 : -1;
    return left->number < right->number ? 1 : left->number > right->number ? -1 : 0;
}

// Of the newest so far; a full list loses its oldest.
static size_t take(struct found *out, size_t n, const struct found *one)
{
    size_t at = n < MOST ? n : 0;
    for (size_t i = 1; n == MOST && i < n; i++)
        at = newest_first(&out[i], &out[at]) > 0 ? i : at;
    if (n < MOST || newest_first(one, &out[at]) < 0)
        out[at] = *one;
    return n + (n < MOST);
}

// The newest MOST, however many there are: a folder lists them in any order.
static size_t list(const char *state, struct found out[MOST])
{
    char folder[600];
    struct found one;
    size_t n = 0;
    snprintf(folder, sizeof(folder), "%s/crashes", state);
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;)
        if (read_name(entry->d_name, &one))
            n = take(out, n, &one);
    if (dir)
        closedir(dir);
    qsort(out, n, sizeof(*out), newest_first);
    return n;
}

static void name_of(char out[48], const struct found *found)
{
    snprintf(out, 48, "%lld-%lld", (long long)found->at_s, (long long)found->number);
}

static struct bytes take_line(struct bytes *rest)
{
    const uint8_t *end = rest->n ? memchr(rest->p, '\n', rest->n) : NULL;
    const size_t n = end ? (size_t)(end - rest->p) : rest->n;
    const struct bytes line = {rest->p, n};
    rest->p += n + (end != NULL);
    rest->n -= n + (end != NULL);
    return line;
}

// The value of a line `key: value`; n = 0: it is another key.
static struct bytes value_of(struct bytes line, const char *key)
{
    const size_t n = strlen(key);
    if (line.n <= n + 2 || memcmp(line.p, key, n) != 0 || memcmp(line.p + n, ": ", 2) != 0)
        return (struct bytes){0};
    return (struct bytes){line.p + n + 2, line.n - n - 2};
}

static bool read_report(struct buf *out, const char *state, const struct found *found)
{
    char path[700], name[48];
    name_of(name, found);
    snprintf(path, sizeof(path), "%s/crashes/%s.txt", state, name);
    return file_read(out, path, TEXT_MOST, NULL) == OK;
}

static void text_member(struct json *json, const char *name, struct bytes text)
{
    text.n = utf8_whole(text);
    json_text(json, name, text);
}

static void write_report(struct json *json, const char *state, const struct found *found)
{
    struct buf file;
    char name[48], time[32];
    if (!read_report(&file, state, found))
        return;
    struct bytes rest = {file.p, file.n};
    name_of(name, found);
    json_object(json, NULL);
    json_string(json, "id", name);
    json_string(json, "time", utc_text(time, found->at_s * 1000));
    struct bytes reason = {0}, ran = {0}, dump = {0}; // of each key the last
    for (struct bytes line; (line = take_line(&rest)).n > 0;) {
        struct bytes value;
        if ((value = value_of(line, "reason")).n)
            reason = value;
        if ((value = value_of(line, "ran_s")).n)
            ran = value;
        if ((value = value_of(line, "devcoredump")).n)
            dump = value;
    }
    char seconds[12];
    snprintf(seconds, sizeof(seconds), "%.*s", (int)(ran.n < sizeof(seconds) ? ran.n : 0), ran.p);
    if (reason.n)
        text_member(json, "reason", reason);
    if (seconds[0])
        json_whole(json, "ran_seconds", strtoll(seconds, NULL, 10));
    if (dump.n)
        text_member(json, "devcoredump", dump);
    json_array(json, "log");
    for (int i = 0; i < LINES_MOST && rest.n > 0; i++)
        text_member(json, NULL, take_line(&rest));
    json_end(json);
    json_end(json);
    buf_free(&file);
}

void crashes_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    struct found found[MOST];
    struct json json;
    const size_t n = list(api->state, found);
    (void)request;
    json_init(&json, (size_t)MOST * 8 * TEXT_MOST);
    json_object(&json, NULL);
    json_string(&json, "object", "list");
    json_array(&json, "data");
    for (size_t i = 0; i < n; i++)
        write_report(&json, api->state, &found[i]);
    json_end(&json);
    json_end(&json);
    json_reply(exchange, 200, &json);
}

// Read again now and then: PID 1 may still have written when this engine began.
void crashes_write(struct api *api, struct json *json)
{
    struct crashes_seen *seen = &api->crashes;
    const uint64_t now_ms = clock_ms();
    char time[32];
    if (seen->looked_ms == 0 || now_ms - seen->looked_ms > LOOK_AGAIN_MS) {
        struct found found[MOST];
        struct buf file;
        *seen = (struct crashes_seen){.looked_ms = now_ms};
        seen->n = list(api->state, found);
        if (seen->n > 0 && read_report(&file, api->state, &found[0])) {
            seen->at_s = found[0].at_s;
            struct bytes rest = {file.p, file.n}, line;
            while ((line = take_line(&rest)).n > 0) {
                struct bytes reason = value_of(line, "reason");
                reason.n = reason.n < sizeof(seen->reason) ? reason.n : sizeof(seen->reason) - 1;
                if (reason.n)
                    snprintf(seen->reason, sizeof(seen->reason), "%.*s", (int)utf8_whole(reason),
                             (const char *)reason.p);
            }
            buf_free(&file);
        }
    }
    if (seen->n == 0)
        return;
    json_object(json, "crashes");
    json_whole(json, "kept", (int64_t)seen->n);
    json_string(json, "last", utc_text(time, seen->at_s * 1000));
    json_string(json, "reason", seen->reason);
    json_string(json, "see", "/v1/crashes");
    json_end(json);
}
