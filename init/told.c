/* told.c - what the engine is told while it runs: a small file in memory, /run/told/box, which it
 * reads for its answers (engine/api/told.c). Lines `key=value`; a key stands there only while
 * something is the matter:
 *   data_fault    what is wrong with the data partition, and what to do
 *   box_waits     settings that count once the machine has restarted, by name
 *   listen_waits  where nobody is answered, for this machine has not that address
 * Who reads it finds the text before or the one after, never half of one.
 */
#include "told.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const char *const keys[TOLD_KEYS] = {"data_fault", "box_waits", "listen_waits"};
static char values[TOLD_KEYS][400], folder[100];

size_t told_text(char *out, size_t cap)
{
    size_t at = 0;

    out[0] = 0;
    for (int i = 0; i < TOLD_KEYS; i++) {
        int n = values[i][0] ? snprintf(out + at, cap - at, "%s=%s\n", keys[i], values[i]) : 0;
        if (n < 0 || (size_t)n >= cap - at) {
            out[at] = 0;
            break;
        }
        at += (size_t)n;
    }
    return at;
}

static void write_all(void)
{
    char path[120], text[sizeof(values) + 100];
    struct err err;

    if (!folder[0])
        return;
    snprintf(path, sizeof(path), "%s/" TOLD_NAME, folder);
    if (replace_file(path, text, told_text(text, sizeof(text)), 0644, &err) != OK)
        complain("engine", "it cannot be told what is wrong: %s", err.text);
}

void told_begin(const char *in)
{
    if (mkdir(in, 0755) && errno != EEXIST) {
        complain("engine", "it cannot be told what is wrong: %s could not be made: %s", in,
                 strerror(errno));
        return;
    }
    snprintf(folder, sizeof(folder), "%s", in);
    write_all();
}

void told_set(enum told key, const char *value)
{
    char line[sizeof(values[0])];

    snprintf(line, sizeof(line), "%s", value);
    for (char *at = line; (at = strpbrk(at, "\r\n"));)
        *at = ' ';
    if (strcmp(line, values[key]) == 0)
        return;
    memcpy(values[key], line, sizeof(line));
    write_all();
}
