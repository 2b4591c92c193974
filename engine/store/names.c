// names.c - how models are called: by their files, with a rule for two of one name, and by aliases.
//
// Aliases come from the setting (`alias = NAME: MODEL, NAME: MODEL`), which cannot be changed here,
// and from who may make them; these are kept in a text file of the same form, an alias a line.
// A model's own name always comes before an alias of that name.
#include "inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MOST = 200 };

bool store_name_good(struct bytes name)
{
    if (name.n == 0 || name.n > NAME_MOST || name.p[0] == '.' || !utf8_valid(name))
        return false;
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] < 0x20 || name.p[i] == 0x7f || name.p[i] == '/' || name.p[i] == '\\')
            return false;
    return true;
}

// ---- of files -----------------------------------------------------------------------------------

// The last part of a path without .gguf and the suffix of parts.
static struct bytes file_name(const char *path)
{
    unsigned no, count;
    const char *slash = strrchr(path, '/');
    struct bytes name = bytes_of(slash ? slash + 1 : path);
    (void)bytes_cut_end(&name, ".gguf");
    const size_t stem = split_stem((const char *)name.p, name.n, &no, &count);
    if (stem > 0)
        name.n = stem;
    return name;
}

static struct bytes folder_name(const char *path)
{
    const char *slash = strrchr(path, '/'), *from = slash;
    if (!slash)
        return (struct bytes){NULL, 0};
    while (from > path && from[-1] != '/')
        from--;
    return (struct bytes){(const uint8_t *)from, (size_t)(slash - from)};
}

static void copy_name(char out[STORE_NAME_BYTES], struct bytes name)
{
    const size_t n = name.n < STORE_NAME_BYTES
                         ? name.n
                         : utf8_whole((struct bytes){name.p, STORE_NAME_BYTES - 1});
    memset(out, 0, STORE_NAME_BYTES);
    for (size_t i = 0; i < n; i++) // a control character in a file's name would be shown as it is
        out[i] = name.p[i] < 0x20 || name.p[i] == 0x7f ? '?' : (char)name.p[i];
}

static const struct store_model *called(const struct store_list *list, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list->models[i].name, name) == 0)
            return &list->models[i];
    return NULL;
}

static int compare_names(const void *a, const void *b)
{
    const struct store_model *x = a, *y = b;
    const int order = strcmp(x->name, y->name);
    return order != 0 ? order : strcmp(x->path, y->path);
}

void names_give(struct store_list *list)
{
    for (size_t i = 0; i < list->n_models; i++) {
        struct store_model *model = &list->models[i];
        const struct bytes name = file_name(model->path), folder = folder_name(model->path);
        copy_name(model->name, name);
        if (!called(list, i, model->name))
            continue;
        char longer[2 * STORE_NAME_BYTES];
        snprintf(longer, sizeof(longer), "%.*s/%.*s",
                 (int)(folder.n < STORE_NAME_BYTES ? folder.n : STORE_NAME_BYTES - 1),
                 (const char *)folder.p, (int)name.n, (const char *)name.p);
        copy_name(model->name, bytes_of(longer));
        if (called(list, i, model->name))
            copy_name(model->name, bytes_of(model->path));
    }
    if (list->n_models > 0)
        qsort(list->models, list->n_models, sizeof(*list->models), compare_names);
}

// ---- aliases ------------------------------------------------------------------------------------

static struct store_alias *alias_find(struct plan_of_names *names, const char *name)
{
    for (size_t i = 0; i < names->n; i++)
        if (strcmp(names->aliases[i].name, name) == 0)
            return &names->aliases[i];
    return NULL;
}

enum status names_set(struct plan_of_names *names, const char *name, const char *model,
                      struct err *err)
{
    struct store_alias *alias = alias_find(names, name);
    if (alias && alias->is_set)
        return err_set(err, DENIED,
                       "the alias '%s' is a setting: it is changed in tawny.conf, not here", name);
    if (!model[0]) {
        if (!alias)
            return err_set(err, NOT_FOUND, "there is no alias '%s'", name);
        memmove(alias, alias + 1,
                (size_t)(names->aliases + names->n - (alias + 1)) * sizeof(*alias));
        names->n--;
        return OK;
    }
    if (!alias && names->n == STORE_ALIASES_MOST)
        return err_set(err, NO_ROOM, "there are %d aliases, which is the most", STORE_ALIASES_MOST);
    if (!alias) {
        alias = &names->aliases[names->n++];
        *alias = (struct store_alias){.is_set = false};
        copy_name(alias->name, bytes_of(name));
    }
    copy_name(alias->model, bytes_of(model));
    return OK;
}

struct store_alias *names_copy(const struct plan_of_names *names)
{
    if (names->n == 0)
        return NULL;
    struct store_alias *copy = mem_array(names->n, sizeof(*copy));
    memcpy(copy, names->aliases, names->n * sizeof(*copy));
    return copy;
}

static struct bytes trimmed(struct bytes text)
{
    while (text.n && (text.p[0] == ' ' || text.p[0] == '\t'))
        text = (struct bytes){text.p + 1, text.n - 1};
    while (text.n && (text.p[text.n - 1] == ' ' || text.p[text.n - 1] == '\t'))
        text.n--;
    return text;
}

// "NAME: MODEL"; the name may have colons itself (llama:8b): the one before a blank parts them.
static enum status read_pair(struct plan_of_names *names, struct bytes pair, struct err *err)
{
    char name[STORE_NAME_BYTES], model[STORE_NAME_BYTES];
    const uint8_t *parts = memmem(pair.p, pair.n, ": ", 2);
    const struct bytes left = trimmed((struct bytes){pair.p, parts ? (size_t)(parts - pair.p) : 0}),
                       right = trimmed(
                           (struct bytes){parts ? parts + 1 : pair.p,
                                          parts ? pair.n - (size_t)(parts + 1 - pair.p) : 0});
    if (!parts || right.n == 0 || right.n > NAME_MOST || !store_name_good(left))
        return err_set(err, BAD_INPUT,
                       "\"%.*s\" is not NAME: MODEL, a colon and a blank between them",
                       (int)(pair.n < 80 ? pair.n : 80), (const char *)pair.p);
    copy_name(name, left);
    copy_name(model, right);
    if (strcmp(name, model) == 0)
        return err_set(err, BAD_INPUT, "'%s' would be another name of itself", name);
    if (alias_find(names, name))
        return err_set(err, BAD_INPUT, "'%s' is there twice", name);
    return names_set(names, name, model, err);
}

enum status names_pair_good(struct bytes name, struct bytes model, struct err *err)
{
    struct plan_of_names *names = mem_alloc(sizeof(*names));
    struct err why = {0};
    struct buf line;
    char text[NAME_TEXT];
    buf_init(&line, 2 * STORE_NAME_BYTES + 8);
    const bool same = buf_format(&line, "%.*s: %.*s", (int)name.n, (const char *)name.p,
                                 (int)model.n, (const char *)model.p) == OK &&
                      read_pair(names, buf_view(&line), &why) == OK && names->n == 1 &&
                      bytes_equal_text(name, names->aliases[0].name) &&
                      bytes_equal_text(model, names->aliases[0].model);
    buf_free(&line);
    free(names);
    return same ? OK
                : err_set(err, BAD_INPUT,
                          "'%s' cannot be an alias: a colon with a blank behind it parts names, "
                          "and none begins or ends with a blank",
                          name_text(text, name));
}

static enum status read_pairs(struct plan_of_names *names, struct bytes text, uint8_t parts,
                              struct err *err)
{
    enum status status = OK;
    while (text.n > 0 && status == OK) {
        const uint8_t *end = memchr(text.p, parts, text.n);
        const size_t n = end ? (size_t)(end - text.p) : text.n, step = end ? n + 1 : n;
        const struct bytes pair = trimmed((struct bytes){text.p, n});
        if (pair.n > 0)
            status = read_pair(names, pair, err);
        text = (struct bytes){text.p + step, text.n - step};
    }
    return status;
}

enum status names_read_setting(struct plan_of_names *names, const char *text, struct err *err)
{
    enum status status = read_pairs(names, bytes_of(text), ',', err);
    for (size_t i = 0; i < names->n; i++)
        names->aliases[i].is_set = true;
    return status == OK ? OK : err_prefix(err, "alias");
}

enum status store_aliases_good(struct bytes kept, struct err *err)
{
    struct plan_of_names *names = mem_alloc(sizeof(*names));
    enum status status =
        kept.n <= STORE_ALIASES_BYTES
            ? read_pairs(names, kept, '\n', err)
            : err_set(err, BAD_INPUT, "they take more than %d bytes", (int)STORE_ALIASES_BYTES);
    free(names);
    return status == OK ? OK : err_set(err, BAD_INPUT, "aliases: %s", err->text);
}

// A kept file that cannot be read is no reason to be without models. Settings come first.
void names_read_kept(struct plan_of_names *names, const char *path)
{
    struct plan_of_names *kept = mem_alloc(sizeof(*kept));
    struct err err = {0};
    struct buf text;
    enum status status = path[0] ? file_read(&text, path, STORE_ALIASES_BYTES, &err) : NOT_FOUND;
    if (status == OK) {
        status = read_pairs(kept, buf_view(&text), '\n', &err);
        buf_free(&text);
    }
    if (status != OK && status != NOT_FOUND)
        log_warn("%s: %s; the aliases in front of that are used", path, err.text);
    for (size_t i = 0; i < kept->n; i++)
        if (!alias_find(names, kept->aliases[i].name) &&
            names_set(names, kept->aliases[i].name, kept->aliases[i].model, &err) != OK)
            log_warn("%s: %s", path, err.text);
    free(kept);
}

enum status names_keep(const struct plan_of_names *names, const char *path, struct err *err)
{
    struct buf text;
    enum status status = OK;
    if (!path[0])
        return OK;
    buf_init(&text, STORE_ALIASES_BYTES);
    for (size_t i = 0; i < names->n && status == OK; i++)
        if (!names->aliases[i].is_set)
            status = buf_format(&text, "%s: %s\n", names->aliases[i].name, names->aliases[i].model);
    status = status == OK ? file_write(path, buf_view(&text), 0644, err)
                          : err_set(err, status, "the aliases are too long to be kept");
    buf_free(&text);
    return status;
}
