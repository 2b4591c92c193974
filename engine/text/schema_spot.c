// schema_spot.c - places in a JSON schema, and what is said of them: failures, notes, and why
// nothing can satisfy it. A place is the way back to the root, and a sentence begins with it; of a
// long one what is in the middle gives way.
#include "schema.h"

#include <stdio.h>
#include <string.h>

enum { SPOT_TEXT = 200 };

// ---- sentences ----------------------------------------------------------------------------------

// The path, its end at the end of text[0 .. at); returns where it begins. The root is at most half
// as long.
static size_t spot_text(const struct spot *spot, char *text, size_t at)
{
    char part[NAME_TEXT + 4], name[NAME_TEXT];
    const struct spot *root = spot;
    while (root->up)
        root = root->up;
    const size_t n_root = strlen(root->root);
    for (; spot->up; spot = spot->up) {
        if (spot->name.p)
            snprintf(part, sizeof(part), ".%s", name_text(name, spot->name));
        else
            snprintf(part, sizeof(part), "[%zu]", spot->index);
        size_t n = strlen(part);
        const bool fits = n + n_root + 3 <= at;
        n = fits ? n : 3;
        at -= n;
        memcpy(text + at, fits ? part : "...", n);
        if (!fits)
            break;
    }
    at -= n_root;
    memcpy(text + at, root->root, n_root);
    return at;
}

static void say(struct err *err, enum status status, const struct spot *spot, const char *keyword,
                const char *what)
{
    char path[SPOT_TEXT + 1];
    path[SPOT_TEXT] = 0;
    (void)err_set(err, status, "%s%s%s: %s", path + spot_text(spot, path, SPOT_TEXT),
                  keyword ? "." : "", keyword ? keyword : "", what);
}

void schema_fail(struct schema_maker *m, enum status status, const struct spot *spot,
                 const char *keyword, const char *format, ...)
{
    char what[200];
    va_list args;
    if (m->err.status != OK)
        return;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    say(&m->err, status, spot, keyword, what);
}

void schema_dead(struct schema_maker *m, const struct spot *spot, const char *keyword,
                 const char *what)
{
    if (m->dead.status == OK)
        say(&m->dead, BAD_INPUT, spot, keyword, what);
}

static size_t depth_of(const struct spot *spot)
{
    size_t n = 0;
    for (; spot->up; spot = spot->up)
        n++;
    return n;
}

static bool is_within(const struct spot *spot, const char *path)
{
    while (spot->up)
        spot = spot->up;
    return strcmp(spot->root, path) == 0;
}

enum status schema_blame(const struct schema_maker *m, const char *path, struct err *err)
{
    const struct pending *deepest = NULL;
    size_t most = 0, n_path = strlen(path);
    if (m->dead.status != OK && strncmp(m->dead.text, path, n_path) == 0 &&
        strchr(".[:", m->dead.text[n_path])) {
        *err = m->dead;
        return err->status;
    }
    for (size_t i = 0; i < 2 * (size_t)SETS_MOST; i++) {
        const struct pending *p = m->made[i];
        if (!p || !m->g->rules[p->rule].fails || !is_within(p->fact[p->n - 1].spot, path))
            continue;
        const size_t depth = depth_of(p->fact[p->n - 1].spot);
        if (!deepest || depth > most || (depth == most && p->rule < deepest->rule)) {
            deepest = p;
            most = depth;
        }
    }
    if (!deepest)
        return err_set(err, BAD_INPUT, "%s: no text can satisfy it", path);
    say(err, BAD_INPUT, deepest->fact[deepest->n - 1].spot, NULL, "no text can satisfy it");
    return BAD_INPUT;
}

bool schema_failed(struct schema_maker *m)
{
    if (m->err.status == OK && clock_ms() > m->until_ms)
        schema_fail(m, TOO_LARGE, m->root_spot, NULL, "it takes longer than %d ms to be understood",
                    MADE_MS_MOST);
    return m->err.status != OK || m->g->full;
}

void schema_note(struct schema_maker *m, const struct spot *spot, const char *keyword,
                 const char *what)
{
    struct err note;
    char *text = m->notes ? m->notes->text : NULL;
    say(&note, OK, spot, keyword, what);
    size_t n = text ? strlen(text) : 0, n_note = strlen(note.text);
    if (!text || strstr(text, note.text))
        return;
    if (n + n_note + 8 <= sizeof(m->notes->text))
        snprintf(text + n, sizeof(m->notes->text) - n, "%s%s", n ? "; " : "", note.text);
    else if (n < 3 || strcmp(text + n - 3, "...") != 0)
        snprintf(text + n, sizeof(m->notes->text) - n, "; ...");
}

// ---- places in the schema -----------------------------------------------------------------------

static const struct spot *spot_make(struct schema_maker *m, struct spot spot)
{
    struct spot *made = arena_take(&m->arena, sizeof(*made));
    if (!made) {
        schema_fail(m, TOO_LARGE, m->root_spot, NULL, "the schema is too large");
        return m->root_spot;
    }
    *made = spot;
    return made;
}

const struct spot *spot_root(struct schema_maker *m, const char *name)
{
    return spot_make(m, (struct spot){.root = name});
}

const struct spot *spot_name(struct schema_maker *m, const struct spot *up, struct bytes name)
{
    return spot_make(m, (struct spot){.up = up, .name = name});
}

const struct spot *spot_item(struct schema_maker *m, const struct spot *up, size_t index)
{
    return spot_make(m, (struct spot){.up = up, .index = index});
}

const struct value *schema_get(const struct fact *fact, const char *keyword)
{
    const struct value *value = value_get(fact->schema, keyword);
    return value && value->kind != VALUE_NULL ? value : NULL;
}

int64_t schema_count(struct schema_maker *m, const struct fact *fact, const char *keyword)
{
    const struct value *value = schema_get(fact, keyword);
    if (!value)
        return -1;
    if (value->kind == VALUE_WHOLE && value->whole >= 0)
        return value->whole;
    if (value->kind == VALUE_REAL && value->real >= 0 && value->real <= 9e15 &&
        (double)(int64_t)value->real == value->real)
        return (int64_t)value->real;
    schema_fail(m, BAD_INPUT, fact->spot, keyword, "it must be a whole number from 0 on");
    return -1;
}
