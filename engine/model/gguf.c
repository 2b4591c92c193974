// gguf.c - reads a GGUF file, version 2 or 3, little endian; the whole file is hostile until
// checked.
//
//   offset 0   4 bytes  "GGUF"
//          4   u32      version
//          8   u64      n_tensors
//         16   u64      n_values
//         24            n_values  times: string key, u32 type, payload
//                       n_tensors times: string name, u32 n_dims, u64 dims[n_dims], u32 type, u64
//                       offset padding to a multiple of general.alignment (32), then the tensors'
//                       data
//   string = u64 length, bytes;  array = u32 item type, u64 n_items, items;  tensor offsets count
//   from the data's start
//
// Invariant: after gguf_parse returned OK every value's payload lies in the file, keys and tensor
// names are unique, every tensor's bytes lie in the file at an aligned offset and no two tensors
// overlap. What values mean is not checked here but where they are used. Nothing is allocated from
// a count before the file is known to be long enough. A file cut short by somebody else while it is
// mapped still ends the process (SIGBUS); PID 1 starts it again.

#include "parts.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MAX_VALUES = 65536,
    MAX_TENSORS = 65536,
    MAX_KEY = 65535,      // specification: 2^16 - 1 bytes
    MAX_TENSOR_NAME = 64, // specification: 64 bytes
    HEAD_BYTES = 24,
    MIN_VALUE_BYTES = 13,  // empty key, type, one byte
    MIN_TENSOR_BYTES = 32, // empty name, n_dims, one dim, type, offset
};
#define MAX_ALIGNMENT (1u << 20)

// Storage formats of tensors: all that ggml names, so that one we cannot compute with is still
// named and measured.
static const struct format {
    uint32_t type;
    const char *name;
    uint32_t block_elements, block_bytes;
} formats[] = {
    {0, "F32", 1, 4},         {1, "F16", 1, 2},         {2, "Q4_0", 32, 18},
    {3, "Q4_1", 32, 20},      {6, "Q5_0", 32, 22},      {7, "Q5_1", 32, 24},
    {8, "Q8_0", 32, 34},      {9, "Q8_1", 32, 36},      {10, "Q2_K", 256, 84},
    {11, "Q3_K", 256, 110},   {12, "Q4_K", 256, 144},   {13, "Q5_K", 256, 176},
    {14, "Q6_K", 256, 210},   {15, "Q8_K", 256, 292},   {16, "IQ2_XXS", 256, 66},
    {17, "IQ2_XS", 256, 74},  {18, "IQ3_XXS", 256, 98}, {19, "IQ1_S", 256, 50},
    {20, "IQ4_NL", 32, 18},   {21, "IQ3_S", 256, 110},  {22, "IQ2_S", 256, 82},
    {23, "IQ4_XS", 256, 136}, {24, "I8", 1, 1},         {25, "I16", 1, 2},
    {26, "I32", 1, 4},        {27, "I64", 1, 8},        {28, "F64", 1, 8},
    {29, "IQ1_M", 256, 56},   {30, "BF16", 1, 2},       {34, "TQ1_0", 256, 54},
    {35, "TQ2_0", 256, 66},   {39, "MXFP4", 32, 17},
};

static const struct format *find_format(uint32_t type)
{
    for (size_t i = 0; i < COUNT_OF(formats); i++)
        if (formats[i].type == type)
            return &formats[i];
    return NULL;
}

const char *gguf_tensor_type_name(uint32_t type)
{
    const struct format *format = find_format(type);
    return format ? format->name : "?";
}

// ---- the cursor: every read goes through take() -------------------------------------------------

struct cursor {
    const uint8_t *start, *p, *end;
};

// The model inside this binary (Makefile).
extern const uint8_t builtin_gguf[], builtin_gguf_end[];

static unsigned long long at(const struct cursor *cursor)
{
    return (unsigned long long)(cursor->p - cursor->start);
}

static bool take(struct cursor *cursor, void *out, size_t n)
{
    if ((size_t)(cursor->end - cursor->p) < n)
        return false;
    memcpy(out, cursor->p, n); // x86-64 is little endian, as the format
    cursor->p += n;
    return true;
}

static bool skip(struct cursor *cursor, uint64_t n)
{
    if ((uint64_t)(cursor->end - cursor->p) < n)
        return false;
    cursor->p += n;
    return true;
}

static bool take_string(struct cursor *cursor, struct bytes *out)
{
    uint64_t n;
    const uint8_t *before = cursor->p;
    if (!take(cursor, &n, 8) || !skip(cursor, n)) {
        cursor->p = before;
        return false;
    }
    *out = (struct bytes){before + 8, (size_t)n};
    return true;
}

static enum status truncated(const struct cursor *cursor, const char *what, uint64_t index,
                             struct err *err)
{
    return err_set(err, BAD_INPUT,
                   "the file has %llu bytes and ends inside %s %llu, which begins before byte "
                   "%llu: the end is missing; copy it again",
                   (unsigned long long)(cursor->end - cursor->start), what,
                   (unsigned long long)index, at(cursor));
}

// ---- values -------------------------------------------------------------------------------------

// 0: not a scalar.
static size_t scalar_bytes(uint32_t type)
{
    static const uint8_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return type < sizeof(bytes) ? bytes[type] : 0;
}

static enum status past_end(const struct cursor *cursor, const char *key, const char *what,
                            unsigned long long offset, struct err *err)
{
    return err_set(err, BAD_INPUT,
                   "the file has %llu bytes, but key '%s' (%s at offset %llu) needs more: the end "
                   "is missing, or the head is damaged; copy it again",
                   (unsigned long long)(cursor->end - cursor->start), key, what, offset);
}

static enum status skip_array(struct cursor *cursor, struct gguf_value *value, const char *key,
                              struct err *err)
{
    char what[64];
    unsigned long long offset = at(cursor);
    if (!take(cursor, &value->item_type, 4) || !take(cursor, &value->n_items, 8))
        return past_end(cursor, key, "the head of an array", offset, err);
    value->p = cursor->p;
    size_t item = scalar_bytes(value->item_type);
    uint64_t left = (uint64_t)(cursor->end - cursor->p), n_bytes;
    snprintf(what, sizeof(what), "an array of %llu %s", (unsigned long long)value->n_items,
             item ? "numbers" : "texts");
    if (item != 0)
        return mul_overflows(value->n_items, item, &n_bytes) || !skip(cursor, n_bytes)
                   ? past_end(cursor, key, what, offset, err)
                   : OK;
    if (value->item_type == GGUF_ARRAY)
        return err_set(err, UNSUPPORTED,
                       "key '%s': an array of arrays at offset %llu; no known model file has one",
                       key, offset);
    if (value->item_type != GGUF_STRING)
        return err_set(err, BAD_INPUT, "key '%s': unknown item type %u at offset %llu", key,
                       value->item_type, offset);
    bool fits = value->n_items <= left / 8;
    for (uint64_t i = 0; i < value->n_items && fits; i++) {
        struct bytes text;
        fits = take_string(cursor, &text);
    }
    return fits ? OK : past_end(cursor, key, what, offset, err);
}

static enum status read_value(struct cursor *cursor, struct gguf_value *value, uint64_t index,
                              struct err *err)
{
    char name[NAME_TEXT];
    if (!take_string(cursor, &value->key))
        return truncated(cursor, "key", index, err);
    name_text(name, value->key);
    if (value->key.n == 0 || value->key.n > MAX_KEY)
        return err_set(err, BAD_INPUT,
                       "key %llu before offset %llu has %zu bytes; allowed are 1 to %d",
                       (unsigned long long)index, at(cursor), value->key.n, MAX_KEY);
    if (!take(cursor, &value->type, 4))
        return truncated(cursor, "key", index, err);
    value->n_items = 1;
    value->p = cursor->p;
    size_t n = scalar_bytes(value->type);
    struct bytes text;
    if (n != 0)
        return skip(cursor, n) ? OK : truncated(cursor, "the value of key", index, err);
    if (value->type == GGUF_STRING) {
        if (take_string(cursor, &text))
            return OK;
        return past_end(cursor, name, "a text", at(cursor), err);
    }
    if (value->type == GGUF_ARRAY)
        return skip_array(cursor, value, name, err);
    return err_set(err, BAD_INPUT, "key '%s': unknown value type %u before offset %llu", name,
                   value->type, at(cursor));
}

static int compare_bytes(struct bytes a, struct bytes b)
{
    int order = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);
    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

static int compare_values(const void *a, const void *b)
{
    return compare_bytes(((const struct gguf_value *)a)->key, ((const struct gguf_value *)b)->key);
}

static enum status read_values(struct gguf *gguf, struct cursor *cursor, struct err *err)
{
    gguf->values = mem_array((size_t)gguf->n_values + 1, sizeof(*gguf->values));
    for (uint64_t i = 0; i < gguf->n_values; i++) {
        enum status status = read_value(cursor, &gguf->values[i], i, err);
        if (status != OK)
            return status;
    }
    qsort(gguf->values, (size_t)gguf->n_values, sizeof(*gguf->values), compare_values);
    for (uint64_t i = 1; i < gguf->n_values; i++) {
        if (compare_values(&gguf->values[i - 1], &gguf->values[i]) == 0) {
            char name[NAME_TEXT];
            return err_set(err, BAD_INPUT, "key '%s' is there twice",
                           name_text(name, gguf->values[i].key));
        }
    }
    return OK;
}

// ---- tensors ------------------------------------------------------------------------------------

static enum status measure_tensor(struct gguf_tensor *tensor, const char *name, struct err *err)
{
    tensor->n_elements = 1;
    for (uint32_t d = 0; d < tensor->n_dims; d++) {
        if (tensor->dims[d] == 0 || tensor->dims[d] > INT64_MAX)
            return err_set(err, BAD_INPUT, "tensor '%s': dimension %u is %llu", name, d,
                           (unsigned long long)tensor->dims[d]);
        if (mul_overflows(tensor->n_elements, tensor->dims[d], &tensor->n_elements) ||
            tensor->n_elements > INT64_MAX)
            return err_set(err, BAD_INPUT,
                           "tensor '%s': the product of its dimensions does not fit 63 bits", name);
    }
    const struct format *format = find_format(tensor->type);
    if (!format)
        return err_set(err, UNSUPPORTED, "tensor '%s' has the unknown storage type %u", name,
                       tensor->type);
    if (tensor->dims[0] % format->block_elements != 0)
        return err_set(err, BAD_INPUT,
                       "tensor '%s': rows of %llu elements cannot be stored as %s (blocks of %u)",
                       name, (unsigned long long)tensor->dims[0], format->name,
                       format->block_elements);
    if (mul_overflows(tensor->n_elements / format->block_elements, format->block_bytes,
                      &tensor->n_bytes))
        return err_set(err, BAD_INPUT, "tensor '%s': its size does not fit 64 bits", name);
    return OK;
}

static enum status read_tensor(struct cursor *cursor, struct gguf_tensor *tensor, uint64_t index,
                               struct err *err)
{
    char name[NAME_TEXT];
    if (!take_string(cursor, &tensor->name))
        return truncated(cursor, "the description of tensor", index, err);
    name_text(name, tensor->name);
    if (tensor->name.n == 0 || tensor->name.n > MAX_TENSOR_NAME)
        return err_set(
            err, BAD_INPUT,
            "the name of tensor %llu before offset %llu has %zu bytes; allowed are 1 to %d",
            (unsigned long long)index, at(cursor), tensor->name.n, MAX_TENSOR_NAME);
    if (!take(cursor, &tensor->n_dims, 4))
        return truncated(cursor, "the description of tensor", index, err);
    if (tensor->n_dims < 1 || tensor->n_dims > 4)
        return err_set(err, BAD_INPUT, "tensor '%s' has %u dimensions; allowed are 1 to 4", name,
                       tensor->n_dims);
    for (uint32_t d = 0; d < 4; d++)
        tensor->dims[d] = 1;
    if (!take(cursor, tensor->dims, 8 * (size_t)tensor->n_dims) ||
        !take(cursor, &tensor->type, 4) || !take(cursor, &tensor->offset, 8))
        return truncated(cursor, "the description of tensor", index, err);
    return measure_tensor(tensor, name, err);
}

static int compare_tensors(const void *a, const void *b)
{
    return compare_bytes(((const struct gguf_tensor *)a)->name,
                         ((const struct gguf_tensor *)b)->name);
}

static int compare_offsets(const void *a, const void *b)
{
    const struct gguf_tensor *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

// The file must reach to `end`, where its last tensor does.
static enum status check_length(const struct gguf *gguf, uint64_t end, struct err *err)
{
    if (end <= gguf->file.n || gguf->head_alone)
        return OK;
    return err_set(err, BAD_INPUT,
                   "the file has %zu bytes, but its tensors reach to byte %llu: the last %llu are "
                   "missing, or the head is damaged; copy it again",
                   gguf->file.n, (unsigned long long)end, (unsigned long long)(end - gguf->file.n));
}

// Turns offsets into positions in the file and checks that they are aligned, inside and apart.
// Leaves tensors by offset.
static enum status place_tensors(struct gguf *gguf, uint64_t data_start, struct err *err)
{
    char name[NAME_TEXT], other[NAME_TEXT];
    uint64_t last_end = 0;
    for (uint64_t i = 0; i < gguf->n_tensors; i++) {
        struct gguf_tensor *tensor = &gguf->tensors[i];
        uint64_t end;
        name_text(name, tensor->name);
        if (tensor->offset % gguf->alignment != 0)
            return err_set(err, BAD_INPUT,
                           "tensor '%s': its offset %llu is not a multiple of the alignment %llu",
                           name, (unsigned long long)tensor->offset,
                           (unsigned long long)gguf->alignment);
        if (add_overflows(tensor->offset, data_start, &tensor->offset) ||
            add_overflows(tensor->offset, tensor->n_bytes, &end) || end > INT64_MAX)
            return err_set(err, BAD_INPUT,
                           "tensor '%s': %llu bytes at offset %llu do not fit any file", name,
                           (unsigned long long)tensor->n_bytes, (unsigned long long)tensor->offset);
        last_end = end > last_end ? end : last_end;
    }
    gguf->whole_bytes = last_end;
    enum status status = check_length(gguf, last_end, err);
    if (status != OK)
        return status;
    qsort(gguf->tensors, (size_t)gguf->n_tensors, sizeof(*gguf->tensors), compare_offsets);
    for (uint64_t i = 1; i < gguf->n_tensors; i++) {
        const struct gguf_tensor *before = &gguf->tensors[i - 1], *after = &gguf->tensors[i];
        if (before->offset + before->n_bytes > after->offset)
            return err_set(err, BAD_INPUT, "tensors '%s' and '%s' overlap at offset %llu",
                           name_text(name, before->name), name_text(other, after->name),
                           (unsigned long long)after->offset);
    }
    return OK;
}

static enum status read_tensors(struct gguf *gguf, struct cursor *cursor, struct err *err)
{
    gguf->tensors = mem_array((size_t)gguf->n_tensors + 1, sizeof(*gguf->tensors));
    for (uint64_t i = 0; i < gguf->n_tensors; i++) {
        enum status status = read_tensor(cursor, &gguf->tensors[i], i, err);
        if (status != OK)
            return status;
    }
    uint64_t header = at(cursor),
             padding = (gguf->alignment - header % gguf->alignment) % gguf->alignment;
    enum status status = gguf->n_tensors > 0 ? place_tensors(gguf, header + padding, err) : OK;
    if (status != OK)
        return status;
    qsort(gguf->tensors, (size_t)gguf->n_tensors, sizeof(*gguf->tensors), compare_tensors);
    for (uint64_t i = 1; i < gguf->n_tensors; i++) {
        if (compare_tensors(&gguf->tensors[i - 1], &gguf->tensors[i]) == 0) {
            char name[NAME_TEXT];
            return err_set(err, BAD_INPUT, "tensor '%s' is there twice",
                           name_text(name, gguf->tensors[i].name));
        }
    }
    return OK;
}

// ---- the file -----------------------------------------------------------------------------------

static enum status read_head(struct gguf *gguf, struct cursor *cursor, struct err *err)
{
    uint8_t magic[4];
    if (!take(cursor, magic, 4) || memcmp(magic, "GGUF", 4) != 0)
        return err_set(err, BAD_INPUT, "not a GGUF file: it does not start with \"GGUF\"");
    if (!take(cursor, &gguf->version, 4) || !take(cursor, &gguf->n_tensors, 8) ||
        !take(cursor, &gguf->n_values, 8))
        return err_set(err, BAD_INPUT, "the file has %zu bytes; its head alone has %d",
                       gguf->file.n, HEAD_BYTES);
    if ((gguf->version & 0xffff) == 0 && gguf->version != 0)
        return err_set(err, UNSUPPORTED, "a big-endian GGUF file; convert it to little endian");
    if (gguf->version != 2 && gguf->version != 3)
        return err_set(err, UNSUPPORTED, "GGUF version %u; this build reads 2 and 3",
                       gguf->version);
    if (gguf->n_values > MAX_VALUES || gguf->n_tensors > MAX_TENSORS)
        return err_set(err, BAD_INPUT,
                       "the head announces %llu keys and %llu tensors; at most %d and %d are read",
                       (unsigned long long)gguf->n_values, (unsigned long long)gguf->n_tensors,
                       MAX_VALUES, MAX_TENSORS);
    uint64_t needed =
        HEAD_BYTES + gguf->n_values * MIN_VALUE_BYTES + gguf->n_tensors * MIN_TENSOR_BYTES;
    if (needed > gguf->file.n)
        return err_set(err, BAD_INPUT,
                       "the file has %zu bytes, but its head announces %llu keys and %llu tensors, "
                       "which take at least %llu: the end is missing; copy it again",
                       gguf->file.n, (unsigned long long)gguf->n_values,
                       (unsigned long long)gguf->n_tensors, (unsigned long long)needed);
    return OK;
}

static enum status check_layout_keys(struct gguf *gguf, struct err *err)
{
    gguf->alignment = 32;
    enum status status =
        gguf_get_uint(gguf, "general.alignment", 1, MAX_ALIGNMENT, &gguf->alignment, err);
    if (status != OK && status != NOT_FOUND)
        return status;
    if (gguf->alignment < 8 || (gguf->alignment & (gguf->alignment - 1)) != 0)
        return err_set(err, BAD_INPUT,
                       "key 'general.alignment' is %llu; expected a power of two from 8 to %u",
                       (unsigned long long)gguf->alignment, MAX_ALIGNMENT);
    uint64_t n_parts = 1;
    status = gguf_get_uint(gguf, "split.count", 0, 65535, &n_parts, err);
    if (status != OK && status != NOT_FOUND)
        return status;
    if (n_parts > 1)
        return err_set(err, UNSUPPORTED,
                       "one of %llu parts of a split model; join them into one file first "
                       "(llama-gguf-split --merge)",
                       (unsigned long long)n_parts);
    return OK;
}

static enum status parse(struct gguf *gguf, struct err *err)
{
    struct cursor cursor = {gguf->file.p, gguf->file.p, gguf->file.p + gguf->file.n};
    enum status status = read_head(gguf, &cursor, err);
    if (status == OK)
        status = read_values(gguf, &cursor, err);
    if (status == OK)
        status = check_layout_keys(gguf, err);
    if (status == OK)
        status = read_tensors(gguf, &cursor, err);
    return status;
}

enum status gguf_parse(struct gguf **out, struct bytes file, struct err *err)
{
    struct gguf *gguf = mem_alloc(sizeof(*gguf));
    gguf->file = file;
    enum status status = parse(gguf, err);
    if (status != OK)
        gguf_close(gguf);
    else
        *out = gguf;
    return status;
}

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

static enum status open_as(struct gguf **out, const char *path, bool head_alone, struct err *err)
{
    int fd;
    struct stat st;
    if (strcmp(path, MODEL_BUILTIN) == 0)
        return gguf_parse(
            out, (struct bytes){builtin_gguf, (size_t)(builtin_gguf_end - builtin_gguf)}, err);
    enum status status = open_file(path, &fd, &st, err);
    if (status != OK)
        return status;
    if (st.st_size < HEAD_BYTES) {
        close(fd);
        return err_set(err, BAD_INPUT,
                       "model file %s: it has %lld bytes; the head of a GGUF file alone has %d",
                       path, (long long)st.st_size, HEAD_BYTES);
    }
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    int mmap_errno = errno;
    close(fd);
    if (map == MAP_FAILED)
        return err_set(err, IO_ERROR, "model file %s: cannot be mapped: %s", path,
                       strerror(mmap_errno));
    struct gguf *gguf = mem_alloc(sizeof(*gguf));
    gguf->file = (struct bytes){map, (size_t)st.st_size};
    gguf->mapped = true;
    gguf->head_alone = head_alone;
    status = parse(gguf, err);
    if (status != OK) {
        gguf_close(gguf);
        return err ? err_prefix(err, "model file %s", path) : status;
    }
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

void gguf_close(struct gguf *gguf)
{
    if (!gguf)
        return;
    if (gguf->mapped)
        munmap((void *)(uintptr_t)gguf->file.p, gguf->file.n);
    free(gguf->values);
    free(gguf->tensors);
    free(gguf);
}

// ---- look-ups -----------------------------------------------------------------------------------

const struct gguf_value *gguf_find(const struct gguf *gguf, const char *key)
{
    struct gguf_value wanted = {.key = bytes_of(key)};
    return bsearch(&wanted, gguf->values, (size_t)gguf->n_values, sizeof(wanted), compare_values);
}

struct gguf_tensor *gguf_find_tensor(const struct gguf *gguf, const char *name)
{
    struct gguf_tensor wanted = {.name = bytes_of(name)};
    return bsearch(&wanted, gguf->tensors, (size_t)gguf->n_tensors, sizeof(wanted),
                   compare_tensors);
}

static enum status wrong_type(const struct gguf_value *value, const char *key, const char *expected,
                              struct err *err)
{
    return err_set(err, BAD_INPUT, "key '%s' has value type %u; expected %s", key, value->type,
                   expected);
}

static bool read_integer(const struct gguf_value *value, uint64_t *out, bool *negative)
{
    uint64_t u = 0;
    int64_t s = 0;
    size_t n = scalar_bytes(value->type);
    switch (value->type) {
    case GGUF_U8:
    case GGUF_U16:
    case GGUF_U32:
    case GGUF_U64:
        memcpy(&u, value->p, n);
        break;
    case GGUF_I8:
        s = (int8_t)value->p[0];
        break;
    case GGUF_I16: {
        int16_t v;
        memcpy(&v, value->p, 2);
        s = v;
        break;
    }
    case GGUF_I32: {
        int32_t v;
        memcpy(&v, value->p, 4);
        s = v;
        break;
    }
    case GGUF_I64:
        memcpy(&s, value->p, 8);
        break;
    default:
        return false;
    }
    *negative = s < 0;
    *out = s != 0 ? (uint64_t)s : u;
    return true;
}

// One value for all layers is also written as an array of equal ones, an item a layer: *value
// becomes the first of them, in `room`.
static enum status find_scalar(const struct gguf *gguf, const char *key,
                               const struct gguf_value **value, struct gguf_value *room,
                               struct err *err)
{
    const struct gguf_value *v = gguf_find(gguf, key);
    if (!v)
        return NOT_FOUND;
    *value = v;
    size_t n = v->type == GGUF_ARRAY ? scalar_bytes(v->item_type) : 0;
    if (n == 0 || v->n_items == 0)
        return OK; // a scalar, or what its reader refuses by its type
    for (uint64_t i = 1; i < v->n_items; i++)
        if (memcmp(v->p, v->p + i * n, n) != 0)
            return err_set(err, UNSUPPORTED,
                           "key '%s' is an array whose item %llu differs from the first; one "
                           "value for all of them is expected",
                           key, (unsigned long long)i);
    *room = *v;
    room->type = v->item_type;
    room->n_items = 1;
    *value = room;
    return OK;
}

enum status gguf_get_uint(const struct gguf *gguf, const char *key, uint64_t min, uint64_t max,
                          uint64_t *out, struct err *err)
{
    const struct gguf_value *value;
    struct gguf_value room;
    enum status status = find_scalar(gguf, key, &value, &room, err);
    if (status != OK)
        return status;
    uint64_t number;
    bool negative;
    if (!read_integer(value, &number, &negative))
        return wrong_type(value, key, "a whole number", err);
    if (negative || number < min || number > max)
        return err_set(err, BAD_INPUT, "key '%s' is %s%llu; allowed are %llu to %llu", key,
                       negative ? "-" : "", (unsigned long long)(negative ? 0 - number : number),
                       (unsigned long long)min, (unsigned long long)max);
    *out = number;
    return OK;
}

enum status gguf_get_float(const struct gguf *gguf, const char *key, double min, double max,
                           float *out, struct err *err)
{
    const struct gguf_value *value;
    struct gguf_value room;
    enum status status = find_scalar(gguf, key, &value, &room, err);
    if (status != OK)
        return status;
    double number;
    if (value->type == GGUF_F32) {
        float f;
        memcpy(&f, value->p, 4);
        number = f;
    } else if (value->type == GGUF_F64) {
        memcpy(&number, value->p, 8);
    } else {
        return wrong_type(value, key, "a floating-point number", err);
    }
    if (!(number >= min && number <= max)) // also catches NaN
        return err_set(err, BAD_INPUT, "key '%s' is %g; allowed are %g to %g", key, number, min,
                       max);
    *out = (float)number;
    return OK;
}

enum status gguf_get_bool(const struct gguf *gguf, const char *key, bool *out, struct err *err)
{
    const struct gguf_value *value;
    struct gguf_value room;
    enum status status = find_scalar(gguf, key, &value, &room, err);
    if (status != OK)
        return status;
    if (value->type != GGUF_BOOL)
        return wrong_type(value, key, "a truth value", err);
    *out = value->p[0] != 0;
    return OK;
}

enum status gguf_get_string(const struct gguf *gguf, const char *key, struct bytes *out,
                            struct err *err)
{
    const struct gguf_value *value = gguf_find(gguf, key);
    if (!value)
        return NOT_FOUND;
    if (value->type != GGUF_STRING)
        return wrong_type(value, key, "a string", err);
    const uint8_t *p = value->p;
    *out = gguf_next_string(&p);
    return OK;
}

enum status gguf_get_array(const struct gguf *gguf, const char *key, enum gguf_type item_type,
                           uint64_t max, const struct gguf_value **out, struct err *err)
{
    const struct gguf_value *value = gguf_find(gguf, key);
    if (!value)
        return NOT_FOUND;
    if (value->type != GGUF_ARRAY || value->item_type != (uint32_t)item_type)
        return err_set(
            err, BAD_INPUT,
            "key '%s' has value type %u (items %u); expected an array of items of type %d", key,
            value->type, value->item_type, (int)item_type);
    if (value->n_items > max)
        return err_set(err, BAD_INPUT, "key '%s' has %llu items; at most %llu are read", key,
                       (unsigned long long)value->n_items, (unsigned long long)max);
    *out = value;
    return OK;
}

struct bytes gguf_next_string(const uint8_t **at_string)
{
    uint64_t n;
    memcpy(&n, *at_string, 8);
    struct bytes text = {*at_string + 8, (size_t)n};
    *at_string += 8 + n;
    return text;
}
