// settings_route.c - the settings over HTTP, for those with the scope admin:
//
//   GET /v1/settings   each: its value, its default, its meaning, who set it, what a change needs,
//                      the value it has then (`next`) where it waits for that;
//                      the lines of tawny.conf that are wrong; what of a cloud-init disk is ignored
//   PUT /v1/settings   {"ctx": 8192, "hostname": "owl", "pin": null}: sets what is named; null
//                      takes back what was set here. {"restart": true} beside them restarts what
//                      has to be, where PID 1 can. What is plainly wrong is refused; of what may
//                      come later, or does not count, `warnings` of the answer tell
//                      (settings_check.c)
//
// Where they are kept: STATE/settings.conf, which is read after tawny.conf and stands over it. Not
// in tawny.conf itself: that is on a FAT partition, which is mounted read-only so that a power cut
// leaves it whole, this process has no right to it, and the comments of its owner would be lost.
// PID 1 reads both too. A command line stands over both. What is written has passed the same checks
// as at a start, all of it or nothing: a box that was reached by the old settings is not lost by a
// bad value of the new.
#include "fields.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VALUE_BYTES = 4200, ANSWER_BYTES = 256 << 10 };

struct settings_put {        // one that is being written
    struct scribe_wait wait; // the first
    char names[400];         // what changed
    bool set[SETTINGS_MOST]; // of it what is not taken back
    bool moves;              // of it something says where this box is reached
    struct setting_warnings warnings;
    bool waits, box, restart; // waits: what runs is not what is set; box: nor is what PID 1 reads
};

// Those that PID 1 reads too, or that are written where it looks.
static bool needs_box(const char *name)
{
    static const char *const names[] = {"hostname", "address", "gateway",     "dns",
                                        "ntp",      "listen",  "listen-http", "hot-plug"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static bool is_secret(const char *name)
{
    return strcmp(name, "tokens") == 0;
}

void settings_faults_write(struct json *json, const struct settings_report *report, bool whole)
{
    if (!report || report->n_faults == 0)
        return;
    json_array(json, "settings_faults");
    for (size_t i = 0; i < report->n_faults && i < SETTING_FAULTS; i++)
        json_string(json, NULL, whole ? report->fault[i].text : report->place[i]);
    json_end(json);
}

// What a hypervisor's disk says, by way of PID 1, which acts on it: lines of tawny.conf, beneath
// those of tawny.conf itself, and perhaps one of what it says in vain.
struct cloud_settings {
    struct settings values;
    struct settings_report report;
    char ignored[2304]; // parted by "; "
};

static void cloud_read(const struct api *api, struct cloud_settings *out)
{
    static const char mark[] = "# ignored: ";
    struct buf file;
    struct err err = {0};
    *out = (struct cloud_settings){0};
    settings_default(&out->values);
    if (!api->options.cloud ||
        file_read(&file, api->options.cloud, SETTINGS_FILE_BYTES, &err) != OK)
        return;
    settings_parse_rest(&out->values, buf_view(&file), "cloud-init", SETTING_FILE, &out->report);
    const uint8_t *at = file.n ? memmem(file.p, file.n, mark, sizeof(mark) - 1) : NULL;
    if (at) {
        at += sizeof(mark) - 1;
        const size_t left = (size_t)(file.p + file.n - at);
        const uint8_t *end = memchr(at, '\n', left);
        snprintf(out->ignored, sizeof(out->ignored), "%.*s", (int)(end ? (size_t)(end - at) : left),
                 (const char *)at);
        out->ignored[utf8_whole(bytes_of(out->ignored))] = 0;
    }
    buf_free(&file);
}

static void ignored_write(struct json *json, const char *list)
{
    if (!list[0])
        return;
    json_array(json, "cloud_ignored");
    for (size_t n; *list; list += n + (list[n] ? 2 : 0)) {
        const char *end = strstr(list, "; ");
        n = end ? (size_t)(end - list) : strlen(list);
        json_text(json, NULL, (struct bytes){(const uint8_t *)list, n});
    }
    json_end(json);
}

struct pending { // what is not in force yet
    struct settings next;
    bool known;           // next is; else nothing was changed here
    char box[TOLD_VALUE]; // what PID 1 says waits for it, "hostname, ntp"
};

static bool differs(const struct api *api, const struct settings *next, size_t i,
                    char out[VALUE_BYTES])
{
    char now[VALUE_BYTES];
    (void)settings_value(api->options.settings, i, now, sizeof(now));
    (void)settings_value(next, i, out, VALUE_BYTES);
    return strcmp(now, out) != 0;
}

static bool is_listed(const char *list, const char *name)
{
    const size_t n = strlen(name);
    for (const char *at = list; (at = strstr(at, name)) != NULL; at += n)
        if ((at == list || at[-1] == ' ') && (at[n] == 0 || at[n] == ','))
            return true;
    return false;
}

static void pending_write(const struct api *api, const struct pending *pending, struct json *json,
                          size_t i, const struct setting *setting)
{
    char next[VALUE_BYTES];
    const bool differ = pending->known && differs(api, &pending->next, i, next);
    if (differ)
        json_string(json, "next", is_secret(setting->name) && next[0] ? "(set)" : next);
    if (differ || is_listed(pending->box, setting->name))
        json_string(json, "waits_for", needs_box(setting->name) ? "restart of the box" : "restart");
}

static void setting_write(const struct api *api, const struct cloud_settings *cloud,
                          const struct pending *pending, struct json *json, size_t i,
                          const struct setting *setting)
{
    static const char *const sources[] = {"default", "tawny.conf", "api", "command line"};
    const uint8_t source = api->options.report->source[i];
    const bool by_cloud = source == SETTING_DEFAULT && cloud->report.source[i] != SETTING_DEFAULT;
    char value[VALUE_BYTES];
    (void)settings_value(by_cloud ? &cloud->values : api->options.settings, i, value,
                         sizeof(value));
    json_object(json, NULL);
    json_string(json, "name", setting->name);
    json_string(json, "value", is_secret(setting->name) && value[0] ? "(set)" : value);
    json_string(json, "default", setting->fallback);
    json_string(json, "kind", setting->value);
    json_string(json, "help", setting->what);
    json_string(json, "set_by", by_cloud ? "cloud-init" : sources[source % COUNT_OF(sources)]);
    json_string(json, "needs", needs_box(setting->name) ? "restart of the box" : "restart");
    pending_write(api, pending, json, i, setting);
    json_end(json);
}

// ---- changing -------------------------------------------------------------------------------

struct kept_settings { // those of STATE/settings.conf
    struct settings values;
    struct settings_report report; // source SETTING_API: it stands there
};

static void kept_path(char out[600], const struct api *api)
{
    snprintf(out, 600, "%s/" SETTINGS_KEPT, api->state);
}

// What the file holds, or will when all that is under way is written. One that is there and cannot
// be read is not written over.
static bool kept_read(const struct api *api, struct kept_settings *out, struct refusal *refusal)
{
    struct buf file;
    struct err err = {0};
    char path[600];
    *out = (struct kept_settings){0};
    settings_default(&out->values);
    if (api->settings_text.p) {
        settings_parse_rest(&out->values, buf_view(&api->settings_text), SETTINGS_KEPT, SETTING_API,
                            &out->report);
        return true;
    }
    kept_path(path, api);
    enum status status = file_read(&file, path, SETTINGS_FILE_BYTES, &err);
    if (status == NOT_FOUND)
        return true;
    if (status != OK) {
        err_hide_folder(&err, path);
        return refuse(refusal, 500, "not_kept", NULL, "Nothing is changed: %s.", err.text);
    }
    settings_parse_rest(&out->values, buf_view(&file), SETTINGS_KEPT, SETTING_API, &out->report);
    buf_free(&file);
    return true;
}

static bool setting_read(struct reading *r, const char *name, yyjson_val *value, char *out,
                         size_t size)
{
    const char *text = yyjson_get_str(value);
    const size_t n = yyjson_get_len(value);
    if (yyjson_is_bool(value))
        snprintf(out, size, "%s", yyjson_get_bool(value) ? "yes" : "no");
    else if (yyjson_is_int(value))
        snprintf(out, size, "%lld", (long long)yyjson_get_sint(value));
    else if (!text)
        return wrong_kind(r, name, "a string, a whole number, true, false or null", value);
    else if (n >= size || memchr(text, 0, n) || memchr(text, '"', n))
        return refuse(r->refusal, 400, "invalid_value", name,
                      "'%s' is a text of at most %zu bytes without double quotes.", name, size - 1);
    else
        snprintf(out, size, "%s", text);
    return true;
}

static bool member_apply(struct reading *r, struct kept_settings *kept, struct settings_put *put,
                         const char *name, yyjson_val *value)
{
    struct setting setting;
    struct err err = {0};
    char text[VALUE_BYTES];
    const size_t i = settings_place(name);
    if (strcmp(name, "restart") == 0)
        return take_flag(r, name, value, &put->restart);
    if (!settings_describe(i, &setting))
        return refuse(r->refusal, 400, "unknown_parameter", name,
                      "There is no setting '%.60s'; GET /v1/settings lists them.", name);
    if (strcmp(name, "state") == 0)
        return refuse(r->refusal, 400, "invalid_value", name,
                      "'state' says where this is kept: it is set by tawny.conf or the command "
                      "line alone.");
    if (strcmp(name, "api-settings") == 0)
        return refuse(r->refusal, 400, "invalid_value", name,
                      "'api-settings' says whether this counts: it is set by tawny.conf or the "
                      "command line alone.");
    if (yyjson_is_null(value)) {
        kept->report.source[i] = SETTING_DEFAULT;
    } else {
        if (!setting_read(r, name, value, text, sizeof(text)))
            return false;
        if (settings_set(&kept->values, name, bytes_of(text), &err) != OK)
            return refuse(r->refusal, 400, "invalid_value", name, "%s.", err.text);
        kept->report.source[i] = SETTING_API;
        put->set[i] = true;
    }
    put->moves = put->moves || strcmp(name, "listen") == 0 || strcmp(name, "address") == 0;
    size_t n = strlen(put->names);
    snprintf(put->names + n, sizeof(put->names) - n, "%s%s", n ? ", " : "", name);
    return true;
}

// One that nobody reaches any more could not be told otherwise: by who asks, where that is this
// machine itself, else from the network.
static bool is_reached(const struct request *request, const struct settings *next,
                       struct refusal *refusal)
{
    const bool beside =
        strncmp(request->peer, "127.", 4) == 0 || strncmp(request->peer, "[::1]", 5) == 0;
    return net_listen_here(next->listen, next->address, beside) ||
           refuse(refusal, 400, "invalid_value", "listen",
                  "This machine has none of the addresses that 'listen' would name: nobody would "
                  "reach it.");
}

static bool is_set(const struct settings_put *put, const char *name)
{
    const size_t i = settings_place(name);
    return i < SETTINGS_MOST && put->set[i];
}

// The settings as they would be at the next start, as far as they are set here; with held, as if no
// command line held any.
static bool next_read(const struct api *api, const struct kept_settings *kept, bool held,
                      struct settings *next, struct refusal *refusal)
{
    const struct settings_report *report = api->options.report;
    struct setting setting;
    struct err err = {0};
    char text[VALUE_BYTES];
    *next = *api->options.settings;
    for (size_t i = 0; settings_describe(i, &setting); i++) {
        bool here = kept->report.source[i] == SETTING_API;
        if ((!here && report->source[i] != SETTING_API) ||
            (!held && report->source[i] == SETTING_COMMAND_LINE))
            continue;
        (void)settings_value(here ? &kept->values : &report->beneath, i, text, sizeof(text));
        if (settings_set(next, setting.name, bytes_of(text), &err) != OK)
            return refuse(refusal, 400, "invalid_value", setting.name, "%s.", err.text);
    }
    next->hot_plug = next->hot_plug && report->beneath.hot_plug;
    return true;
}

static bool all_good(struct api *api, const struct request *request,
                     const struct kept_settings *kept, struct settings_put *put,
                     struct refusal *refusal)
{
    struct settings next;
    struct setting setting;
    struct err err = {0};
    char text[VALUE_BYTES];
    if (!next_read(api, kept, true, &next, refusal))
        return false;
    if (api->options.settings_good && api->options.settings_good(&next, &err) != OK)
        return refuse(refusal, 400, "invalid_value", NULL, "%s.", err.text);
    if ((is_set(put, "address") || is_set(put, "gateway")) &&
        settings_gateways_good(&next, &err) != OK)
        return refuse(refusal, 400, "invalid_value", "gateway", "%s.", err.text);
    if ((put->moves && !is_reached(request, &next, refusal)) ||
        !next_read(api, kept, false, &next, refusal))
        return false;
    settings_warn(api, &next, put->set, &put->warnings);
    for (size_t i = 0; api->options.settings->api_settings && settings_describe(i, &setting); i++)
        if (differs(api, &next, i, text)) {
            put->waits = true;
            put->box = put->box || needs_box(setting.name);
        }
    return true;
}

// What counts once all that is written here does.
static void pending_read(struct api *api, const char *told, struct pending *out)
{
    struct kept_settings *kept = mem_alloc(sizeof(*kept));
    struct refusal refusal;
    *out = (struct pending){0};
    (void)told_value(out->box, told, "box_waits");
    out->known = api->settings_changed && kept_read(api, kept, &refusal) &&
                 next_read(api, kept, false, &out->next, &refusal);
    free(kept);
}

void settings_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    (void)request;
    struct cloud_settings *cloud = mem_alloc(sizeof(*cloud));
    struct json json;
    struct setting setting;
    char told[TOLD_BYTES + 1];
    struct pending *pending = mem_alloc(sizeof(*pending));
    cloud_read(api, cloud);
    told_read(api->options.told, told);
    pending_read(api, told, pending);
    json_init(&json, ANSWER_BYTES);
    json_object(&json, NULL);
    json_string(&json, "object", "settings");
    json_array(&json, "settings");
    for (size_t i = 0; settings_describe(i, &setting); i++)
        setting_write(api, cloud, pending, &json, i, &setting);
    json_end(&json);
    settings_faults_write(&json, api->options.report, true);
    ignored_write(&json, cloud->ignored);
    free(cloud);
    free(pending);
    const char *wait = settings_wait(api, told);
    json_bool(&json, "waits_for_restart", wait != NULL);
    if (wait)
        json_string(&json, "settings_wait_for", wait);
    json_bool(&json, "can_restart", api->options.restart);
    json_end(&json);
    exchange_reply_header(exchange, "Cache-Control", "no-store");
    json_reply(exchange, 200, &json);
}

static bool body_apply(struct api *api, const struct request *request, struct kept_settings *kept,
                       struct settings_put *put, struct refusal *refusal)
{
    struct body body;
    struct reading r = {.refusal = refusal};
    size_t i, n;
    yyjson_val *key, *value;
    if (!body_open(&body, request->body, refusal))
        return false;
    bool good = true;
    yyjson_obj_foreach(yyjson_doc_get_root(body.doc), i, n, key, value)
    {
        good = good && member_apply(&r, kept, put, yyjson_get_str(key), value);
    }
    body_close(&body);
    if (good && put->restart && !api->options.restart)
        return refuse(refusal, 400, "unsupported_value", "restart",
                      "Nobody would start this server again: restart it by what started it.");
    return good && all_good(api, request, kept, put, refusal);
}

static enum status file_text(const struct kept_settings *kept, struct buf *out)
{
    struct setting setting;
    char text[VALUE_BYTES];
    buf_init(out, SETTINGS_FILE_BYTES);
    enum status status =
        buf_format(out, "# Written by PUT /v1/settings; stands over tawny.conf.\n");
    for (size_t i = 0; status == OK && settings_describe(i, &setting); i++) {
        if (kept->report.source[i] != SETTING_API)
            continue;
        (void)settings_value(&kept->values, i, text, sizeof(text));
        status = buf_format(out, "%s = \"%s\"\n", setting.name, text);
    }
    return status;
}

static bool write_out(struct api *api, uint64_t id, const struct kept_settings *kept)
{
    struct buf file, copy;
    char path[600];
    kept_path(path, api);
    if (file_text(kept, &file) != OK)
        die("the settings take more than %d bytes", SETTINGS_FILE_BYTES);
    buf_init(&copy, SETTINGS_FILE_BYTES);
    if (buf_add(&copy, file.p, file.n) != OK)
        die("a copy of a text that has room has none");
    if (!scribe_write(api->scribe, id, path, &file)) {
        buf_free(&file);
        buf_free(&copy);
        return false;
    }
    buf_free(&api->settings_text);
    api->settings_text = copy;
    return true;
}

// Of what is not in force yet, this change's or one of before it.
static bool box_waits(const struct api *api)
{
    char told[TOLD_BYTES + 1];
    told_read(api->options.told, told);
    const char *wait = settings_wait(api, told);
    return wait && strstr(wait, "box");
}

static void put_reply(const struct api *api, const struct settings_put *put)
{
    struct json json;
    json_init(&json, 16384);
    json_object(&json, NULL);
    json_string(&json, "object", "settings");
    json_string(&json, "changed", put->names);
    json_string(&json, "needs", box_waits(api) ? "restart of the box" : "restart");
    json_bool(&json, "restarting", put->restart);
    if (put->warnings.n > 0)
        json_array(&json, "warnings");
    for (size_t i = 0; i < put->warnings.n; i++)
        json_string(&json, NULL, put->warnings.text[i]);
    if (put->warnings.n > 0)
        json_end(&json);
    json_end(&json);
    json_reply(put->wait.exchange, 200, &json);
}

static void put_end(struct api *api, const struct settings_put *put, const struct err *err)
{
    struct refusal refusal;
    if (err->status != OK) {
        (void)refuse(&refusal, 500, "not_kept", NULL, "Nothing is changed: %s.", err->text);
        if (put->wait.exchange)
            refusal_reply(put->wait.exchange, &refusal);
    } else {
        api->settings_changed = put->waits;
        api->settings_box = put->box;
        if (put->wait.exchange)
            put_reply(api, put);
        if (put->restart)
            api->options.restart(api->options.restart_arg, box_waits(api));
    }
}

static void put_drop(struct scribe_wait *wait)
{
    free(wait);
}

// Each writing has the changes of those before it: one that failed becomes what the next becomes.
static void put_ended(struct api *api, struct scribe_wait *wait, const struct err *err)
{
    const uint64_t next = err->status != OK ? scribe_waits_behind(api, wait) : 0;
    if (next) {
        scribe_waits_add(api, wait, next, wait->exchange);
        return;
    }
    if (err->status != OK)
        buf_free(&api->settings_text); // what is on the disk counts
    put_end(api, (const struct settings_put *)wait, err);
    put_drop(wait);
}

void settings_put(struct api *api, struct exchange *exchange, const struct request *request)
{
    struct refusal refusal;
    struct settings_put *put = mem_alloc(sizeof(*put));
    struct kept_settings *kept = mem_alloc(sizeof(*kept));
    const uint64_t id = scribe_waits_id(api);
    *put = (struct settings_put){.wait = {.ended = put_ended, .drop = put_drop}};
    bool good = kept_read(api, kept, &refusal) && body_apply(api, request, kept, put, &refusal);
    if (good && !write_out(api, id, kept))
        good = refuse(&refusal, 500, "not_kept", NULL, "Nothing is changed: the disk is too slow.");
    free(kept);
    if (!good) {
        free(put);
        refusal_reply(exchange, &refusal);
        return;
    }
    exchange_note(exchange, "settings: %s", put->names[0] ? put->names : "none");
    scribe_waits_add(api, &put->wait, id, exchange);
}
