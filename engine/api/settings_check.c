// settings_check.c - what of a change by PUT /v1/settings will not do what it seems to: told with
// the answer, and not refused, where it may come later (a model, a file, a device) or where
// something else stands over it.
#include "inside.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static PRINTF_LIKE(2, 3) void warn(struct setting_warnings *out, const char *format, ...)
{
    va_list args;
    if (out->n == SETTING_WARNINGS)
        return;
    char *text = out->text[out->n++];
    va_start(args, format);
    vsnprintf(text, sizeof(out->text[0]), format, args);
    va_end(args);
    text[utf8_whole(bytes_of(text))] = 0;
}

// The next entry of a list with commas, without the blanks around it; false: there is none.
static bool next_entry(struct bytes *list, struct bytes *entry)
{
    while (list->n > 0) {
        const uint8_t *comma = memchr(list->p, ',', list->n);
        *entry = (struct bytes){list->p, comma ? (size_t)(comma - list->p) : list->n};
        const size_t step = entry->n + (comma ? 1 : 0);
        *list = (struct bytes){list->p + step, list->n - step};
        while (entry->n > 0 && (entry->p[0] == ' ' || entry->p[0] == '\t'))
            *entry = (struct bytes){entry->p + 1, entry->n - 1};
        while (entry->n > 0 && (entry->p[entry->n - 1] == ' ' || entry->p[entry->n - 1] == '\t'))
            entry->n--;
        if (entry->n > 0)
            return true;
    }
    return false;
}

// What stands behind "NAME: ", else all of it.
static struct bytes behind_name(struct bytes entry)
{
    const uint8_t *mark = memmem(entry.p, entry.n, ": ", 2);
    return mark ? (struct bytes){mark + 2, (size_t)(entry.p + entry.n - mark) - 2} : entry;
}

// A model by its name, an alias, its file, or the file's name, as a start finds it.
static bool is_here(const struct store *store, struct bytes name, bool by_alias)
{
    if (store_find_file(store, name))
        return true;
    for (size_t i = 0; by_alias && i < store_n_aliases(store); i++)
        if (bytes_equal_text(name, store_alias(store, i)->name) &&
            store_find_file(store, bytes_of(store_alias(store, i)->model)))
            return true;
    for (size_t i = 0; by_alias && i < store_n_models(store); i++) {
        const char *path = store_model(store, i)->path, *slash = strrchr(path, '/');
        if (bytes_equal_text(name, path) || (slash && bytes_equal_text(name, slash + 1)))
            return true;
    }
    return false;
}

static void warn_models(const struct api *api, const char *setting, const char *value,
                        bool by_alias, struct setting_warnings *out)
{
    struct bytes list = bytes_of(value), entry;
    char shown[NAME_TEXT], names[160];
    while (next_entry(&list, &entry)) {
        const struct bytes name = behind_name(entry);
        if (!is_here(api->options.store, name, by_alias))
            warn(out, "%s: there is no model '%s' now. There are: %s.", setting,
                 name_text(shown, name), store_names(api->options.store, names, sizeof(names)));
    }
}

static void warn_paths(const char *setting, const char *value, int how,
                       struct setting_warnings *out)
{
    struct bytes list = bytes_of(value), entry;
    char path[1024];
    while (next_entry(&list, &entry)) {
        snprintf(path, sizeof(path), "%.*s", (int)entry.n, (const char *)entry.p);
        if (access(path, how) != 0)
            warn(out, "%s: %.200s cannot be read now: %s.", setting, path, strerror(errno));
    }
}

static void warn_device(const struct api *api, const char *device, struct setting_warnings *out)
{
    const struct doctor_device *layers = &sched_status(api->options.sched)->layers;
    if (strcmp(device, "auto") == 0 || strcmp(device, "vulkan") == 0 ||
        strcmp(device, "cpu") == 0 || !layers->looked || !layers->surveyed)
        return; // those are always known; of others nobody has looked at what there is
    for (int32_t i = 0; i < layers->survey.n_devices; i++)
        if (strcasestr(layers->survey.device[i].name, device))
            return;
    warn(out, "device: no device of this machine has '%s' in its name now.", device);
}

// What stands over it; false: nothing does.
static bool warn_over(const struct api *api, size_t i, const struct setting *setting,
                      struct setting_warnings *out)
{
    if (api->options.report->source[i] == SETTING_COMMAND_LINE) {
        warn(out, "%s: the command line sets it, which stands over this: it does not count.",
             setting->name);
        return true;
    }
    if (strcmp(setting->name, "hot-plug") == 0 && !api->options.report->beneath.hot_plug) {
        warn(out, "hot-plug: tawny.conf says no, which this does not open: it does not count.");
        return true;
    }
    return false;
}

void settings_warn(const struct api *api, const struct settings *next, const bool *changed,
                   struct setting_warnings *out)
{
    struct setting setting;
    *out = (struct setting_warnings){0};
    if (!api->options.settings->api_settings)
        warn(out, "api-settings = no: what is set here counts once that is yes again.");
    for (size_t i = 0; settings_describe(i, &setting); i++) {
        const char *name = setting.name;
        if (!changed[i] || warn_over(api, i, &setting, out))
            continue;
        if (strcmp(name, "model") == 0 && strcmp(next->model, "builtin") != 0)
            warn_models(api, name, next->model, true, out);
        else if (strcmp(name, "draft") == 0)
            warn_models(api, name, next->draft, true, out);
        else if (strcmp(name, "pin") == 0)
            warn_models(api, name, next->pinned, false, out);
        else if (strcmp(name, "alias") == 0)
            warn_models(api, name, next->aliases, false, out);
        else if (strcmp(name, "models") == 0)
            warn_paths(name, next->models, X_OK, out);
        else if (strcmp(name, "ca") == 0)
            warn_paths(name, next->ca, R_OK, out);
        else if (strcmp(name, "device") == 0)
            warn_device(api, next->device, out);
        else if (strcmp(name, "gateway") == 0 && next->gateway[0] && !next->address[0] &&
                 !api->options.cloud)
            warn(out, "gateway: it counts beside fixed addresses alone, and 'address' has none.");
    }
}
