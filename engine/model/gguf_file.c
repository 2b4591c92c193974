// gguf_file.c - the files of a model: one, or the parts of a split one, or what is inside this
// binary.
//
// Files are mapped for as long as the model is open. A split model is NAME-00001-of-00003.gguf and
// so on; each part is a whole GGUF file with tensors of its own and says which part it is
// (split.no, split.count, split.tensors.count); the keys of the model stand in the first. Given any
// part all are opened. What would go wrong in silence is refused: a part of another model, or one
// under another's name. Two quantisations of one model whose parts have the same tensors cannot be
// told apart. A file that is taken away while it is mapped (cut short, its disk pulled) reads as
// zeros and is lost: gguf_lost.

#include "parts.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LEAST_BYTES = 24,  // the head of a GGUF file
    SUFFIX_BYTES = 15, // -00001-of-00003
};

// The model inside this binary (Makefile).
extern const uint8_t builtin_gguf[], builtin_gguf_end[];

// ---- one file -----------------------------------------------------------------------------------

// What a path names that is no file, or NULL.
static const char *no_file(mode_t mode)
{
    return S_ISREG(mode)    ? NULL
           : S_ISDIR(mode)  ? "a directory"
           : S_ISFIFO(mode) ? "a named pipe"
           : S_ISSOCK(mode) ? "a socket"
                            : "a device";
}

// A pipe or a device is refused before it is opened, which could wait for ever or do something.
static enum status open_file(const char *path, int *out, struct stat *st, struct err *err)
{
    const char *what = NULL;
    int fd = -1;
    if (stat(path, st) == 0 && !(what = no_file(st->st_mode)))
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (!what && (fd < 0 || fstat(fd, st) != 0)) {
        int why = errno;
        if (fd >= 0)
            close(fd);
        return err_set(err, why == ENOENT || why == ENOTDIR ? NOT_FOUND : IO_ERROR,
                       "model file %s: %s", path, strerror(why));
    }
    if (!what)
        what = no_file(st->st_mode); // changed in between
    if (what && fd >= 0)
        close(fd);
    if (what)
        return err_set(err, BAD_INPUT, "model file %s: it is %s; a model is a regular file (GGUF)",
                       path, what);
    *out = fd;
    return OK;
}

static enum status map_file(struct gguf_part *out, const char *path, struct err *err)
{
    int fd;
    struct stat st;
    if (strcmp(path, MODEL_BUILTIN) == 0) {
        out->file = (struct bytes){builtin_gguf, (size_t)(builtin_gguf_end - builtin_gguf)};
        return OK;
    }
    enum status status = open_file(path, &fd, &st, err);
    if (status != OK)
        return status;
    if (st.st_size < LEAST_BYTES) {
        close(fd);
        return err_set(err, BAD_INPUT,
                       "model file %s: it has %lld bytes; the head of a GGUF file alone has %d",
                       path, (long long)st.st_size, LEAST_BYTES);
    }
    status = file_map(&out->file, fd, (size_t)st.st_size, err);
    close(fd);
    if (status != OK)
        return err ? err_prefix(err, "model file %s", path) : status;
    out->mapped = true;
    return OK;
}

void gguf_unmap(struct gguf_part *part)
{
    if (part->mapped)
        file_unmap(part->file);
}

bool gguf_lost(const struct gguf *gguf)
{
    for (uint32_t i = 0; i < gguf->n_parts; i++)
        if (file_lost(gguf->parts[i].file))
            return true;
    return false;
}

static enum status read_file(struct gguf **out, const char *path, bool head_alone, struct err *err)
{
    struct gguf_part part = {0};
    enum status status = map_file(&part, path, err);
    if (status != OK)
        return status;
    status = gguf_read(out, part, head_alone, err);
    return status != OK && err ? err_prefix(err, "model file %s", path) : status;
}

// ---- the parts of a split model -----------------------------------------------------------------

struct split_name {   // how the files of a split model are called
    const char *path; // the one that was given
    int n_stem;       // its bytes before the suffix
    unsigned count;
};

// Is the end of the text -NNNNN-of-NNNNN?
static bool has_suffix(struct bytes text)
{
    static const char pattern[] = "-00000-of-00000";
    if (text.n <= SUFFIX_BYTES)
        return false;
    const uint8_t *p = text.p + text.n - SUFFIX_BYTES;
    for (int i = 0; i < SUFFIX_BYTES; i++)
        if (pattern[i] == '0' ? !isdigit(p[i]) : p[i] != pattern[i])
            return false;
    return true;
}

static void part_path(char out[PATH_MAX], const struct split_name *name, unsigned no)
{
    snprintf(out, PATH_MAX, "%.*s-%05u-of-%05u.gguf", name->n_stem, name->path, no + 1,
             name->count);
}

// The parts are found by their names, so the one that was given must have the name of what it is.
static enum status name_split(struct split_name *out, const char *path,
                              const struct gguf_split *split, struct err *err)
{
    const char ending[] = "-00001-of-00001.gguf";
    const size_t n = strlen(path), n_ending = sizeof(ending) - 1;
    char wanted[PATH_MAX];
    struct bytes own = bytes_of(path);
    (void)bytes_cut_end(&own, ".gguf");
    *out =
        (struct split_name){path, n > n_ending ? (int)(n - n_ending) : 0, (unsigned)split->count};
    if (n < PATH_MAX) {
        part_path(wanted, out, (unsigned)split->no);
        if (strcmp(path, wanted) == 0)
            return OK;
    }
    return err_set( // another name than a part's: the file is right, the others cannot be found
        err, has_suffix(own) ? BAD_INPUT : NOT_FOUND,
        "model file %s: by its keys it is part %u of %u of a split model; such a file is "
        "called NAME-%05u-of-%05u.gguf, and the others lie beside it",
        path, (unsigned)split->no + 1, out->count, (unsigned)split->no + 1, out->count);
}

// Is `part`, found under the name of part `no`, that part of the model that `first` begins?
static enum status check_part(const struct gguf *first, const struct gguf *part, unsigned no,
                              struct err *err)
{
    const struct gguf_split *a = &first->split, *b = &part->split;
    struct bytes arch[2] = {{0}, {0}};
    char text[2][NAME_TEXT];
    if (b->count != a->count)
        return err_set(err, BAD_INPUT,
                       "by its key 'split.count' it is one of %llu parts, but the first is one of "
                       "%llu: it is of another model",
                       (unsigned long long)b->count, (unsigned long long)a->count);
    if (b->no != no)
        return err_set(err, BAD_INPUT,
                       "by its name it is part %u, by its key 'split.no' part %llu: copy it again",
                       no + 1, (unsigned long long)b->no + 1);
    if (b->n_tensors != a->n_tensors)
        return err_set(err, BAD_INPUT,
                       "its key 'split.tensors.count' is %llu, that of the first part is %llu: it "
                       "is of another model",
                       (unsigned long long)b->n_tensors, (unsigned long long)a->n_tensors);
    if (gguf_get_string(first, "general.architecture", &arch[0], NULL) == OK &&
        gguf_get_string(part, "general.architecture", &arch[1], NULL) == OK &&
        !bytes_equal(arch[0], arch[1]))
        return err_set(err, BAD_INPUT,
                       "its architecture is '%s', that of the first part is '%s': it is of another "
                       "model",
                       name_text(text[1], arch[1]), name_text(text[0], arch[0]));
    return OK;
}

static enum status missing_part(const char *path, unsigned no, unsigned count, struct err *err)
{
    return err_set(err, NOT_FOUND, "model file %s is missing: it is part %u of %u of the model",
                   path, no + 1, count);
}

static enum status add_part(struct gguf *whole, const struct split_name *name, unsigned no,
                            struct err *err)
{
    char path[PATH_MAX];
    struct gguf *part;
    part_path(path, name, no);
    enum status status = read_file(&part, path, whole->head_alone, err);
    if (status == NOT_FOUND && whole->head_alone) {
        whole->n_missing++;
        return OK;
    }
    if (status == NOT_FOUND)
        return missing_part(path, no, name->count, err);
    if (status != OK)
        return status;
    status = check_part(whole, part, no, err);
    if (status == OK)
        status = gguf_join(whole, part, err);
    else
        gguf_close(part);
    return status != OK && err ? err_prefix(err, "model file %s", path) : status;
}

// Keys announce as many tensors as all parts have.
static enum status check_tensors(const struct gguf *whole, const struct split_name *name,
                                 struct err *err)
{
    const uint64_t said = whole->split.n_tensors;
    if (said == 0 || whole->n_missing > 0 || said == whole->n_tensors)
        return OK;
    return err_set(err, BAD_INPUT,
                   "model file %s: its %u parts have %llu tensors together, but the key "
                   "'split.tensors.count' says %llu: one of them is of another model",
                   name->path, name->count, (unsigned long long)whole->n_tensors,
                   (unsigned long long)said);
}

// The whole model that `given` is a part of; `given` is closed.
static enum status open_split(struct gguf **out, struct gguf *given, const char *path,
                              struct err *err)
{
    char first[PATH_MAX];
    struct split_name name;
    struct gguf *whole = NULL;
    const bool head_alone = given->head_alone;
    enum status status = name_split(&name, path, &given->split, err);
    gguf_close(given);
    if (status != OK)
        return status;
    part_path(first, &name, 0);
    status = read_file(&whole, first, head_alone, err);
    if (status == NOT_FOUND)
        return missing_part(first, 0, name.count, err);
    if (status != OK)
        return status;
    if (whole->split.count != name.count || whole->split.no != 0)
        status =
            err_set(err, BAD_INPUT,
                    "model file %s: by its keys it is part %llu of %llu, by its name part 1 of "
                    "%u: copy it again",
                    first, (unsigned long long)whole->split.no + 1,
                    (unsigned long long)whole->split.count, name.count);
    for (unsigned no = 1; no < name.count && status == OK; no++)
        status = add_part(whole, &name, no, err);
    if (status == OK)
        status = check_tensors(whole, &name, err);
    if (status != OK)
        gguf_close(whole);
    else
        *out = whole;
    return status;
}

// ---- open ---------------------------------------------------------------------------------------

static enum status open_as(struct gguf **out, const char *path, bool head_alone, struct err *err)
{
    struct gguf *gguf;
    enum status status = read_file(&gguf, path, head_alone, err);
    if (status != OK)
        return status;
    if (gguf->split.count > 1)
        return open_split(out, gguf, path, err);
    *out = gguf;
    return OK;
}

enum status gguf_open(struct gguf **out, const char *path, struct err *err)
{
    return open_as(out, path, false, err);
}

enum status gguf_open_head(struct gguf **out, const char *path, struct err *err)
{
    return open_as(out, path, true, err);
}

struct bytes gguf_file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    struct bytes name = bytes_of(slash ? slash + 1 : path);
    (void)bytes_cut_end(&name, ".gguf");
    if (has_suffix(name))
        name.n -= SUFFIX_BYTES;
    return name;
}
