// told.c - small files of PID 1's in memory, lines `key=value`, which are read for every answer:
// how updates stand (init/update.c), and what is the matter with the box (init/told.c).
#include "inside.h"

#include <stdio.h>
#include <string.h>

void told_read(const char *path, char out[TOLD_BYTES + 1])
{
    struct buf text;
    struct err err;
    out[0] = 0;
    if (!path || file_read(&text, path, TOLD_BYTES, &err) != OK)
        return;
    if (text.n > 0)
        memcpy(out, text.p, text.n);
    out[text.n] = 0;
    buf_free(&text);
}

bool told_value(char out[TOLD_VALUE], const char *text, const char *key)
{
    const size_t n = strlen(key);
    out[0] = 0;
    while (*text) {
        const size_t line = strcspn(text, "\n");
        if (line > n && memcmp(text, key, n) == 0 && text[n] == '=')
            snprintf(out, TOLD_VALUE, "%.*s", (int)(line - n - 1), text + n + 1);
        text += line + (text[line] != 0);
    }
    return out[0] != 0;
}

const char *settings_wait(const struct api *api, const char *told)
{
    char names[TOLD_VALUE];
    if (api->settings_box || told_value(names, told, "box_waits"))
        return "restart of the box";
    return api->settings_changed || api->restore_waits ? "restart" : NULL;
}

void told_write(const struct api *api, struct json *json)
{
    char told[TOLD_BYTES + 1], value[TOLD_VALUE];
    told_read(api->options.told, told);
    if (told_value(value, told, "data_fault"))
        json_string(json, "data_fault", value);
    if (told_value(value, told, "listen_waits"))
        json_string(json, "listen_waits", value);
    const char *wait = settings_wait(api, told);
    if (wait)
        json_string(json, "settings_wait_for", wait);
}
