// start.c - what the settings of a server name: hosts, folders, models, files of certificates.
//
// What cannot be so ends the start with a sentence (start_settings_good). What only is not there
// (a folder of a disk that is not attached, a model that is still to be pulled) does not: a box
// that answers is worth more, and the log says what is missing.
#include "start.h"

#include "api/api.h"
#include "args.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

// The next of a list with commas, as text; false: there is none, or it is too long.
static bool next_of(const char **at, char *out, size_t size)
{
    *at += strspn(*at, ", \t");
    size_t n = strcspn(*at, ",");
    const char *from = *at;
    *at += n;
    while (n > 0 && (from[n - 1] == ' ' || from[n - 1] == '\t'))
        n--;
    if (n == 0 || n >= size)
        return false;
    memcpy(out, from, n);
    out[n] = 0;
    return true;
}

enum status start_http(struct settings *settings, struct err *err)
{
    struct buf out;
    enum status status = OK;
    if (strcmp(settings->listen_http, "auto") != 0)
        return OK;
    buf_init(&out, sizeof(settings->listen_http) - 1);
    for (const char *at = settings->listen; *at && status == OK;) {
        size_t n = strcspn(at, ", \t"), host = n;
        while (host > 0 && at[host] != ':')
            host--;
        bool any = (host == 4 && memcmp(at, "[::]", 4) == 0) || (host == 1 && at[0] == '*');
        bool taken = n == host + 3 && memcmp(at + host, ":80", 3) == 0;
        if (any)
            out.n = 0;
        if (n > 0 && !taken && (!out.n || !memmem(out.p, out.n, at, host + 1)))
            status = buf_format(&out, "%s%.*s:80", out.n ? "," : "", (int)host, at);
        at += any ? strlen(at) : n;
        at += strspn(at, ", \t");
    }
    if (status == OK) {
        memset(settings->listen_http, 0, sizeof(settings->listen_http));
        if (out.n)
            memcpy(settings->listen_http, out.p, out.n);
    } else {
        err_set(err, status, "listen-http: auto has no room for so many addresses; write them out");
    }
    buf_free(&out);
    return status;
}

struct client_options start_client(const struct settings *settings)
{
    return (struct client_options){.ca = settings->ca,
                                   .plain = settings->pull_plain,
                                   .tokens = settings->tokens,
                                   .proxy = settings->proxy};
}

static enum status host_good(const char *key, const char *host, struct err *err)
{
    char shown[NAME_TEXT];
    return net_host_good(bytes_of(host))
               ? OK
               : err_set(err, BAD_INPUT, "%s: '%s' is not HOST or HOST:PORT", key,
                         name_text(shown, bytes_of(host)));
}

enum status start_settings_good(const struct settings *settings, struct err *err)
{
    struct settings with_http = *settings;
    const struct client_options client = start_client(settings);
    enum status status = net_listen_good("listen", settings->listen, err);
    if (status == OK)
        status = start_http(&with_http, err);
    if (status == OK)
        status = net_client_good(&client, err);
    if (status == OK)
        status = host_good("registry", settings->registry, err);
    if (status == OK)
        status = host_good("hub", settings->hub, err);
    if (status == OK)
        status = store_settings_good(settings->models, settings->aliases, err);
    if (status == OK)
        status = cors_check(settings->cors, err);
    return status == OK ? net_listen_good("listen-http", with_http.listen_http, err) : status;
}

void start_reset(struct settings *settings, struct settings_report *report, const char *name)
{
    struct setting setting;
    settings_reset(settings, name);
    for (size_t i = 0; settings_describe(i, &setting); i++)
        if (strcmp(setting.name, name) == 0)
            report->source[i] = SETTING_DEFAULT;
}

void start_mend(struct settings *settings, struct settings_report *report)
{
    struct err err = {0};
    const char *name, *last = NULL;
    for (size_t n = 0; n < SETTINGS_MOST && start_settings_good(settings, &err) != OK; n++) {
        if (!(name = settings_named(err.text)))
            return;
        settings_fault(report, NULL, 0, &err);
        start_reset(settings, report, name);
        if (last == name && strcmp(name, "listen-http") == 0)
            settings->listen_http[0] = 0; // its default follows `listen`, and may not fit either
        last = name;
    }
}

bool start_named(const struct store *store, const char *name, char *out, size_t size)
{
    const struct store_model *model = store_find_file(store, bytes_of(name));
    for (size_t i = 0; i < store_n_aliases(store) && !model; i++) // but not the one for any name
        if (strcmp(store_alias(store, i)->name, name) == 0)
            model = store_find(store, bytes_of(name));
    if (!model || strlen(model->path) >= size)
        return false;
    snprintf(out, size, "%s", model->path);
    return true;
}

// A line of the draft model that an entry names: MODEL, or NAME: MODEL.
static enum status draft_line(const struct settings *settings, const struct store *store,
                              const char *entry, struct buf *out)
{
    struct err err = {0};
    char path[2200];
    const char *mark = strstr(entry, ": ");
    const char *model = mark ? mark + 2 + strspn(mark + 2, " \t") : entry;
    if (args_path_of(settings, model, path, sizeof(path), &err) != OK &&
        !start_named(store, model, path, sizeof(path))) {
        log_warn("draft: %s", err.text); // answers are the same without
        return OK;
    }
    return mark ? buf_format(out, "%.*s\t%s\n", (int)(mark - entry), entry, path)
                : buf_format(out, "%s\n", path);
}

void start_draft(struct settings *settings, const struct store *store)
{
    char entry[sizeof(settings->draft)];
    struct buf lines;
    enum status status = OK;
    buf_init(&lines, sizeof(settings->draft) - 1);
    for (const char *at = settings->draft; status == OK && next_of(&at, entry, sizeof(entry));)
        status = draft_line(settings, store, entry, &lines);
    if (status != OK)
        log_warn("draft: the paths of the models are too long; the last are left out");
    memset(settings->draft, 0, sizeof(settings->draft));
    if (lines.n > 0)
        memcpy(settings->draft, lines.p, lines.n);
    buf_free(&lines);
}

// Folders may come later, on a disk that is attached.
static void tell_folders(const char *list)
{
    char path[sizeof(((struct settings *)0)->models)];
    struct stat info;
    while (next_of(&list, path, sizeof(path)))
        if (stat(path, &info) != 0)
            log_warn("models: the folder %s is not there now: %s", path, strerror(errno));
        else if (!S_ISDIR(info.st_mode))
            log_warn("models: %s is no folder", path);
}

static void tell_pinned(const char *list, const struct store *store)
{
    char name[sizeof(((struct settings *)0)->pinned)], names[200];
    while (next_of(&list, name, sizeof(name)))
        if (!store_find_file(store, bytes_of(name)))
            log_warn("pin: there is no model '%s' now. There are: %s", name,
                     store_names(store, names, sizeof(names)));
}

static void tell_aliases(const struct store *store)
{
    char names[200];
    for (size_t i = 0; i < store_n_aliases(store); i++) {
        const struct store_alias *alias = store_alias(store, i);
        if (alias->is_set && !store_find_file(store, bytes_of(alias->model)))
            log_warn("alias: '%s' means '%s', and there is no model of that name now (an alias "
                     "means a model, not another alias). There are: %s",
                     alias->name, alias->model, store_names(store, names, sizeof(names)));
    }
}

void start_tell(const struct settings *settings, const struct store *store, struct net *net)
{
    struct err err = {0};
    tell_folders(settings->models);
    tell_pinned(settings->pinned, store);
    tell_aliases(store);
    if (settings->ca[0] && net_client_check(net, &err) != OK)
        log_warn("%s: nothing can be pulled until that is mended", err.text);
}
