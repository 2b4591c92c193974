/* alias.c - which modules serve a device: modules.dep, modules.alias and modules.softdep in memory.
 *
 * A device says who it is with a string, e.g. "pci:v00001AF4d00001000sv...". A line of
 * modules.alias is a pattern over such strings and a module's name. Comparing 200 devices with
 * thousands of patterns would cost tenths of a second on a slow machine, so patterns are chained by
 * bus (the part before the first ':'), and of those only the ones whose literal beginning fits
 * reach the pattern matcher.
 *
 * modules.dep names for each module everything it needs, the whole closure, nearest first.
 * Pure: no file is opened here.
 */
#include "init.h"

#include <stdlib.h>
#include <string.h>

/* Module names: '-' and '_' are one letter, and directories and ".ko.xz" do not count. */
static void name_of(char out[56], const char *s, size_t len)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        if (s[i] == '/') {
            s += i + 1;
            len -= i + 1;
            i = (size_t)-1;
        }
    }
    for (; n < len && n < 55 && s[n] != '.'; n++)
        out[n] = s[n] == '-' ? '_' : s[n];
    out[n] = 0;
}

static char fold(char c)
{
    return c == '-' ? '_' : c;
}

/* p is behind '['. Returns the position behind ']', or NULL when there is none. */
static const char *bracket(const char *p, char c, bool *hit)
{
    *hit = false;
    for (; *p && *p != ']'; p++) {
        if (p[1] == '-' && p[2] && p[2] != ']') {
            *hit = *hit || (c >= p[0] && c <= p[2]);
            p += 2;
        } else {
            *hit = *hit || c == *p;
        }
    }
    return *p == ']' ? p + 1 : NULL;
}

bool alias_glob(const char *p, const char *t)
{
    const char *star = NULL, *star_t = NULL;

    for (;;) {
        bool hit = false;
        const char *next = p + 1;
        if (*p == '*') {
            star = p++;
            star_t = t;
            continue;
        }
        if (!*t)
            return !*p;
        if (*p == '[') {
            next = bracket(p + 1, *t, &hit);
            if (!next)
                return false;
        } else {
            hit = *p == '?' || (*p && fold(*p) == fold(*t));
        }
        if (hit) {
            p = next;
            t++;
        } else if (star) {
            p = star + 1;
            t = ++star_t;
        } else {
            return false;
        }
    }
}

/* Cuts the next line out of *text; NULL at the end. */
static char *take_line(char **text)
{
    char *line = *text;
    if (!line || !*line)
        return NULL;
    char *end = strchr(line, '\n');
    if (end) {
        *end = 0;
        *text = end + 1;
    } else {
        *text = line + strlen(line);
    }
    return line;
}

static int32_t count_lines(const char *text)
{
    int32_t n = 1;
    while (text && (text = strchr(text, '\n'))) {
        text++;
        n++;
    }
    return n;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct kernel_module *)a)->name, ((const struct kernel_module *)b)->name);
}

int32_t modules_find(const struct modules *m, const char *name, size_t len)
{
    struct kernel_module key;
    name_of(key.name, name, len);
    const struct kernel_module *hit =
        bsearch(&key, m->module, (size_t)m->n_modules, sizeof(*m->module), by_name);
    return hit ? (int32_t)(hit - m->module) : -1;
}

static void read_dep(struct modules *m, char *text)
{
    char *line;

    while ((line = take_line(&text))) {
        char *colon = strchr(line, ':');
        if (!colon || colon == line)
            continue;
        *colon = 0;
        struct kernel_module *k = &m->module[m->n_modules++];
        *k = (struct kernel_module){.path = line, .deps = colon + 1, .first = ""};
        name_of(k->name, line, (size_t)(colon - line));
    }
    qsort(m->module, (size_t)m->n_modules, sizeof(*m->module), by_name);
}

/* "softdep NAME pre: a b post: c": only `pre` matters here. */
static void read_softdep(struct modules *m, char *text)
{
    char *line;

    while ((line = take_line(&text))) {
        if (strncmp(line, "softdep ", 8) != 0)
            continue;
        char *name = line + 8, *pre = strstr(name, " pre: "), *post = strstr(name, " post:");
        int32_t i = modules_find(m, name, strcspn(name, " "));
        if (i < 0 || !pre)
            continue;
        if (post > pre)
            *post = 0;
        m->module[i].first = pre + 6;
    }
}

/* Index of the bus a device string or pattern belongs to, made when it is new and `add`; 0 when the
 * bus is not a plain word; -1 when unknown. */
static int32_t bus_of(struct modules *m, const char *s, bool add)
{
    size_t len = strcspn(s, ":*?[");

    if (s[len] != ':' || len >= sizeof(m->bus[0].name))
        return 0;
    for (int32_t i = 1; i < m->n_buses; i++)
        if (strncmp(m->bus[i].name, s, len) == 0 && !m->bus[i].name[len])
            return i;
    if (!add)
        return -1;
    if (m->n_buses == MAX_BUSES)
        return 0;
    struct bus *b = &m->bus[m->n_buses];
    memcpy(b->name, s, len);
    b->name[len] = 0;
    b->head = -1;
    return m->n_buses++;
}

static void read_alias(struct modules *m, char *text)
{
    char *line;

    m->n_buses = 1;
    m->bus[0] = (struct bus){.head = -1};
    while ((line = take_line(&text))) {
        char *space = strrchr(line, ' ');
        if (strncmp(line, "alias ", 6) != 0 || !space || space < line + 6)
            continue;
        *space = 0;
        int32_t module = modules_find(m, space + 1, strlen(space + 1));
        if (module < 0)
            continue;
        struct alias *a = &m->alias[m->n_aliases];
        struct bus *b = &m->bus[bus_of(m, line + 6, true)];
        *a = (struct alias){.pattern = line + 6, .module = module, .next = b->head};
        a->n_literal = (uint32_t)strcspn(a->pattern, "*?[-_");
        b->head = m->n_aliases++;
    }
}

enum status modules_index(struct modules *m, char *dep, char *alias, char *softdep, struct err *err)
{
    *m = (struct modules){0};
    m->module = calloc((size_t)count_lines(dep), sizeof(*m->module));
    m->alias = calloc((size_t)count_lines(alias), sizeof(*m->alias));
    if (!m->module || !m->alias) {
        modules_free(m);
        return err_set(err, IO_ERROR, "no memory for the index of kernel modules");
    }
    read_dep(m, dep);
    read_softdep(m, softdep);
    read_alias(m, alias);
    return OK;
}

void modules_free(struct modules *m)
{
    free(m->module);
    free(m->alias);
    *m = (struct modules){0};
}

static void match_chain(const struct modules *m, int32_t head, const char *modalias,
                        void (*hit)(void *ctx, int32_t module), void *ctx)
{
    for (int32_t i = head; i >= 0; i = m->alias[i].next) {
        const struct alias *a = &m->alias[i];
        if (strncmp(a->pattern, modalias, a->n_literal) == 0 &&
            alias_glob(a->pattern + a->n_literal, modalias + a->n_literal)) {
            hit(ctx, a->module);
        }
    }
}

void modules_match(const struct modules *m, const char *modalias,
                   void (*hit)(void *ctx, int32_t module), void *ctx)
{
    if (!m->n_buses || !*modalias)
        return;
    int32_t bus = bus_of((struct modules *)m, modalias, false); // adds nothing
    match_chain(m, m->bus[0].head, modalias, hit, ctx);
    if (bus > 0)
        match_chain(m, m->bus[bus].head, modalias, hit, ctx);
}
