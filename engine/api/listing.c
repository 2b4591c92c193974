// listing.c - what a registry or a hub says of a model: which files it has, how long, with which
// SHA-256.
//
// A registry's manifest (OCI image manifest, Docker's schema 2) lists layers; the one of media type
// application/vnd.ollama.image.model is the GGUF file, and the others (a template, parameters) are
// left: the file says these itself. A hub's tree lists all files of a repository: of those that end
// in .gguf the ones of one quantisation are taken, all parts of it.
#include "source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { GROUPS_MOST = 256 };

static yyjson_doc *read_json(struct bytes json)
{
    return json.n ? yyjson_read((const char *)json.p, json.n, YYJSON_READ_NOFLAG) : NULL;
}

// ---- a registry ---------------------------------------------------------------------------------

static enum status read_layer(const struct source *source, yyjson_val *layer,
                              struct source_file *file, struct err *err)
{
    const struct bytes digest = string_of(yyjson_obj_get(layer, "digest"));
    static const char kind[] = "sha256:";
    const size_t n = sizeof(kind) - 1;
    const int64_t n_bytes = yyjson_get_sint(yyjson_obj_get(layer, "size"));
    *file = (struct source_file){.n_bytes = n_bytes > 0 ? (uint64_t)n_bytes : 0};
    if (digest.n != n + 64 || memcmp(digest.p, kind, n) != 0 || n_bytes <= 0 ||
        !sha256_read(file->sha256, (struct bytes){digest.p + n, 64}))
        return err_set(err, BAD_INPUT,
                       "the manifest of %s does not say how long the model is and its SHA-256",
                       source->path);
    snprintf(file->name, sizeof(file->name), "%s", source->name);
    snprintf(file->url, sizeof(file->url), "%s/v2/%s/blobs/sha256:%s", source->host, source->path,
             file->sha256);
    return OK;
}

enum status source_read_manifest(const struct source *source, struct bytes json,
                                 struct source_file *files, size_t *n, struct err *err)
{
    static const char MODEL[] = "application/vnd.ollama.image.model";
    yyjson_doc *doc = read_json(json);
    yyjson_val *layers = yyjson_obj_get(yyjson_doc_get_root(doc), "layers"), *layer;
    size_t i, most, n_models = 0;
    enum status status = OK;
    if (!yyjson_is_arr(layers)) {
        yyjson_doc_free(doc);
        return err_set(err, BAD_INPUT, "what %s tells of %s is no manifest with layers",
                       source->host, source->path);
    }
    yyjson_arr_foreach(layers, i, most, layer)
    {
        if (!bytes_equal_text(string_of(yyjson_obj_get(layer, "mediaType")), MODEL))
            continue;
        if (n_models++ == 0)
            status = read_layer(source, layer, files, err);
    }
    yyjson_doc_free(doc);
    if (n_models != 1)
        status = err_set(err, UNSUPPORTED, "%s:%s has %zu GGUF models in it, where one is expected",
                         source->path, source->tag, n_models);
    *n = status == OK;
    return status;
}

// The value of name="..." in a challenge.
static struct bytes parameter(struct bytes challenge, const char *name)
{
    const size_t n = strlen(name);
    for (size_t i = 0; i + n + 2 < challenge.n; i++) {
        const bool at_start = i == 0 || strchr(" ,\t", challenge.p[i - 1]);
        if (!at_start || memcmp(challenge.p + i, name, n) != 0 || challenge.p[i + n] != '=' ||
            challenge.p[i + n + 1] != '"')
            continue;
        const uint8_t *from = challenge.p + i + n + 2;
        const uint8_t *end = memchr(from, '"', challenge.n - (i + n + 2));
        return end ? (struct bytes){from, (size_t)(end - from)} : (struct bytes){NULL, 0};
    }
    return (struct bytes){NULL, 0};
}

// Appends text as it may stand in a query.
static enum status add_encoded(struct buf *out, struct bytes text, const char *as_they_are)
{
    enum status status = OK;
    for (size_t i = 0; i < text.n && status == OK; i++) {
        const uint8_t c = text.p[i], letter = c | 0x20;
        if ((letter >= 'a' && letter <= 'z') || (c >= '0' && c <= '9') ||
            (c && strchr(as_they_are, c)))
            status = buf_add(out, &c, 1);
        else
            status = buf_format(out, "%%%02X", c);
    }
    return status;
}

enum status source_read_challenge(char url[SOURCE_TEXT_BYTES], struct bytes challenge,
                                  struct err *err)
{
    const struct bytes realm = parameter(challenge, "realm");
    static const char *const names[] = {"service", "scope"};
    const bool bearer =
        challenge.n > 7 && strncasecmp((const char *)challenge.p, "bearer ", 7) == 0;
    struct buf out;
    if (!bearer || realm.n == 0)
        return err_set(err, DENIED, "it wants another kind of login than a token");
    buf_init(&out, SOURCE_TEXT_BYTES - 1);
    bool query = memchr(realm.p, '?', realm.n) != NULL;
    enum status status = buf_add(&out, realm.p, realm.n);
    for (size_t i = 0; i < COUNT_OF(names) && status == OK; i++) {
        const struct bytes value = parameter(challenge, names[i]);
        if (value.n == 0)
            continue;
        status = buf_format(&out, "%c%s=", query ? '&' : '?', names[i]);
        query = true;
        if (status == OK)
            status = add_encoded(&out, value, "-._~:/");
    }
    if (status == OK)
        snprintf(url, SOURCE_TEXT_BYTES, "%.*s", (int)out.n, (const char *)out.p);
    buf_free(&out);
    return status == OK ? OK : err_set(err, TOO_LARGE, "its demand for a token is too long");
}

enum status source_read_token(char *out, size_t size, struct bytes json, struct err *err)
{
    yyjson_doc *doc = read_json(json);
    yyjson_val *root = yyjson_doc_get_root(doc);
    struct bytes token = string_of(yyjson_obj_get(root, "token"));
    if (token.n == 0)
        token = string_of(yyjson_obj_get(root, "access_token"));
    bool good = token.n > 0 && token.n < size;
    for (size_t i = 0; i < token.n && good; i++)
        good = token.p[i] > 0x20 && token.p[i] < 0x7f;
    if (good)
        snprintf(out, size, "%.*s", (int)token.n, (const char *)token.p);
    yyjson_doc_free(doc);
    return good ? OK : err_set(err, BAD_INPUT, "its answer has no token in it");
}

// ---- a hub --------------------------------------------------------------------------------------

struct group {         // the file or the files of one model
    struct bytes stem; // its path without -00001-of-00003 and .gguf
    unsigned count;    // parts there should be
    size_t n_parts;    // and are
};

static struct bytes base_of(struct bytes path)
{
    const uint8_t *slash = path.n ? memrchr(path.p, '/', path.n) : NULL;
    return slash ? (struct bytes){slash + 1, path.n - (size_t)(slash + 1 - path.p)} : path;
}

static bool holds(struct bytes text, const char *word)
{
    return text.n > 0 && memmem(text.p, text.n, word, strlen(word)) != NULL;
}

// The path of a model's file in an entry of the tree, and its group's. False: it is none.
static bool model_entry(yyjson_val *entry, struct bytes *path, struct bytes *stem, unsigned *count)
{
    unsigned no;
    *path = string_of(yyjson_obj_get(entry, "path"));
    const struct bytes base = base_of(*path);
    *stem = *path;
    if (!bytes_equal_text(string_of(yyjson_obj_get(entry, "type")), "file") ||
        !bytes_cut_end(stem, ".gguf") || holds(base, "mmproj") || holds(base, "imatrix"))
        return false;
    const size_t n = split_stem((const char *)stem->p, stem->n, &no, count);
    stem->n = n ? n : stem->n;
    *count = n ? *count : 1;
    return true;
}

static size_t read_groups(yyjson_val *tree, struct group *groups)
{
    yyjson_val *entry;
    size_t i, most, n = 0;
    yyjson_arr_foreach(tree, i, most, entry)
    {
        struct bytes path, stem;
        unsigned count;
        size_t k = 0;
        if (!model_entry(entry, &path, &stem, &count))
            continue;
        while (k < n && !bytes_equal(groups[k].stem, stem))
            k++;
        if (k == GROUPS_MOST)
            continue;
        if (k == n)
            groups[n++] = (struct group){stem, count, 0};
        groups[k].n_parts++;
    }
    return n;
}

// Whether the name ends in that quantisation, as a word: MODEL-Q4_K_M, MODEL.q4_k_m; or lies in a
// folder that is called so.
static bool is_quant(struct bytes stem, const char *quant)
{
    const size_t n = strlen(quant);
    const struct bytes base = base_of(stem), folder = {stem.p, stem.n - base.n};
    if (folder.n == n + 1 && strncasecmp((const char *)folder.p, quant, n) == 0)
        return true;
    return base.n >= n && strncasecmp((const char *)base.p + base.n - n, quant, n) == 0 &&
           (base.n == n || strchr("-._", base.p[base.n - n - 1]));
}

static const struct group *find_quant(const struct group *groups, size_t n, const char *quant)
{
    for (size_t i = 0; i < n; i++)
        if (is_quant(groups[i].stem, quant))
            return &groups[i];
    return NULL;
}

static const struct group *choose(const struct source *source, const struct group *groups, size_t n)
{
    // by how many people run them on such a box
    static const char *const usual[] = {"Q4_K_M", "Q4_K_XL", "MXFP4",  "MXFP4_MOE", "Q4_K_S",
                                        "IQ4_XS", "Q4_0",    "Q5_K_M", "Q6_K",      "Q8_0"};
    const size_t n_file = strlen(source->file);
    unsigned no, count;
    const struct group *found = NULL;
    if (n_file > 0) {
        const size_t stem = split_stem(source->file, n_file - 5, &no, &count);
        const struct bytes path = {(const uint8_t *)source->file, stem ? stem : n_file - 5};
        for (size_t i = 0; i < n && !found; i++)
            found = bytes_equal(groups[i].stem, path) ? &groups[i] : NULL;
        return found;
    }
    if (source->tag[0] && strcmp(source->tag, "latest") != 0)
        return find_quant(groups, n, source->tag);
    for (size_t i = 0; i < COUNT_OF(usual) && !found; i++)
        found = find_quant(groups, n, usual[i]);
    return found || n != 1 ? found : &groups[0];
}

static enum status none_chosen(const struct source *source, const struct group *groups, size_t n,
                               struct err *err)
{
    char names[180] = "";
    size_t n_names = 0, i = 0;
    for (; i < n; i++) {
        const struct bytes base = base_of(groups[i].stem);
        if (n_names + base.n + 12 >= sizeof(names))
            break;
        n_names += (size_t)snprintf(names + n_names, sizeof(names) - n_names, "%s%.*s",
                                    i ? ", " : "", (int)base.n, (const char *)base.p);
    }
    if (n == 0)
        return err_set(err, NOT_FOUND, "there is no GGUF file in %.100s", source->path);
    return err_set(err, NOT_FOUND, "there is no %.40s in %.60s: there are %s%s",
                   source->file[0]  ? "such file"
                   : source->tag[0] ? source->tag
                                    : "usual quantisation",
                   source->path, names, i < n ? " ..." : "");
}

static enum status take_file(const struct source *source, yyjson_val *entry, struct bytes path,
                             struct source_file *file)
{
    yyjson_val *lfs = yyjson_obj_get(entry, "lfs"), *size = yyjson_obj_get(entry, "size");
    const char *suffix = "";
    char part[16];
    unsigned no, count;
    struct buf url;
    *file = (struct source_file){.n_bytes = 0};
    if (yyjson_is_int(size) && yyjson_get_sint(size) > 0)
        file->n_bytes = (uint64_t)yyjson_get_sint(size);
    (void)sha256_read(file->sha256, string_of(yyjson_obj_get(lfs, "oid")));
    if (split_stem((const char *)path.p, path.n - 5, &no, &count) > 0) {
        snprintf(part, sizeof(part), "-%05u-of-%05u", no, count);
        suffix = part;
    }
    int n = snprintf(file->name, sizeof(file->name), "%s%s", source->name, suffix);
    if (n < 0 || (size_t)n >= sizeof(file->name))
        return TOO_LARGE;
    buf_init(&url, SOURCE_TEXT_BYTES - 1);
    enum status status =
        buf_format(&url, "%s/%s/resolve/%s/", source->host, source->path, source->revision);
    if (status == OK)
        status = add_encoded(&url, path, "-._~/");
    if (status == OK)
        snprintf(file->url, sizeof(file->url), "%.*s", (int)url.n, (const char *)url.p);
    buf_free(&url);
    return status;
}

static enum status take_group(const struct source *source, yyjson_val *tree,
                              const struct group *group, struct source_file *files, size_t *n,
                              struct err *err)
{
    yyjson_val *entry;
    size_t i, most;
    *n = 0;
    if (group->n_parts != group->count || group->count > SOURCE_FILES_MOST)
        return err_set(err, group->count > SOURCE_FILES_MOST ? TOO_LARGE : NOT_FOUND,
                       "of the %u parts of it in %.100s there are %zu", group->count, source->path,
                       group->n_parts);
    yyjson_arr_foreach(tree, i, most, entry)
    {
        struct bytes path, stem;
        unsigned count;
        if (!model_entry(entry, &path, &stem, &count) || !bytes_equal(stem, group->stem))
            continue;
        if (take_file(source, entry, path, &files[(*n)++]) != OK)
            return err_set(err, TOO_LARGE, "a file's name in %.100s is too long", source->path);
    }
    return OK;
}

enum status source_read_tree(const struct source *source, struct bytes json,
                             struct source_file *files, size_t *n, struct err *err)
{
    yyjson_doc *doc = read_json(json);
    yyjson_val *tree = yyjson_doc_get_root(doc);
    struct group *groups = mem_array(GROUPS_MOST, sizeof(*groups));
    enum status status = OK;
    if (!yyjson_is_arr(tree)) {
        status = err_set(err, BAD_INPUT, "what %s tells of %s is no list of files", source->host,
                         source->path);
    } else {
        const size_t n_groups = read_groups(tree, groups);
        const struct group *group = choose(source, groups, n_groups);
        status = group ? take_group(source, tree, group, files, n, err)
                       : none_chosen(source, groups, n_groups, err);
    }
    free(groups);
    yyjson_doc_free(doc);
    return status;
}
