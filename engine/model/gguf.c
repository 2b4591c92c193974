// gguf.c - reads a GGUF file, version 2 or 3, little endian; the whole file is hostile until
// checked. gguf_file.c maps the files and finds the parts of a split model, gguf_get.c reads
// values.
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
// Invariant: after gguf_read returned OK every value's payload lies in the file, keys and tensor
// names are unique, every tensor's bytes lie in the file at an aligned offset and no two tensors
// overlap. What values mean is not checked here but where they are used. Nothing is allocated from
// a count before the file is known to be long enough.

#include "parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_VALUES = 65536,
    MAX_TENSORS = 65536,  // of all parts together
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

static struct bytes file_of(const struct gguf *gguf) // while it is read: the one part there is
{
    return gguf->parts[0].file;
}

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

size_t gguf_scalar_bytes(uint32_t type)
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
    size_t item = gguf_scalar_bytes(value->item_type);
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
    size_t n = gguf_scalar_bytes(value->type);
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

static int compare_values(const void *a, const void *b)
{
    return bytes_compare(((const struct gguf_value *)a)->key, ((const struct gguf_value *)b)->key);
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

enum status gguf_measure(struct gguf_tensor *tensor, const char *name, struct err *err)
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
    return gguf_measure(tensor, name, err);
}

static int compare_tensors(const void *a, const void *b)
{
    return bytes_compare(((const struct gguf_tensor *)a)->name,
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
    if (end <= file_of(gguf).n || gguf->head_alone)
        return OK;
    return err_set(err, BAD_INPUT,
                   "the file has %zu bytes, but its tensors reach to byte %llu: the last %llu are "
                   "missing, or the head is damaged; copy it again",
                   file_of(gguf).n, (unsigned long long)end,
                   (unsigned long long)(end - file_of(gguf).n));
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

static enum status sort_by_name(struct gguf *gguf, struct err *err)
{
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
    return sort_by_name(gguf, err);
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
                       file_of(gguf).n, HEAD_BYTES);
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
    if (needed > file_of(gguf).n)
        return err_set(err, BAD_INPUT,
                       "the file has %zu bytes, but its head announces %llu keys and %llu tensors, "
                       "which take at least %llu: the end is missing; copy it again",
                       file_of(gguf).n, (unsigned long long)gguf->n_values,
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
    return OK;
}

// A part of a split model says so.
static enum status read_split(struct gguf *gguf, struct err *err)
{
    struct gguf_split *split = &gguf->split;
    *split = (struct gguf_split){.count = 1};
    enum status status = gguf_get_uint(gguf, "split.count", 0, MAX_PARTS, &split->count, err);
    if (status == OK && split->count > 1)
        status = gguf_get_uint(gguf, "split.no", 0, split->count - 1, &split->no, err);
    if (status == OK && split->count > 1)
        status = gguf_get_uint(gguf, "split.tensors.count", 0, INT32_MAX, &split->n_tensors, err);
    if (status != OK && status != NOT_FOUND)
        return status;
    split->count += split->count == 0;
    return OK;
}

static enum status parse(struct gguf *gguf, struct err *err)
{
    const struct bytes file = file_of(gguf);
    struct cursor cursor = {file.p, file.p, file.p + file.n};
    enum status status = read_head(gguf, &cursor, err);
    if (status == OK)
        status = read_values(gguf, &cursor, err);
    if (status == OK)
        status = check_layout_keys(gguf, err);
    if (status == OK)
        status = read_split(gguf, err);
    if (status == OK)
        status = read_tensors(gguf, &cursor, err);
    return status;
}

enum status gguf_read(struct gguf **out, struct gguf_part part, bool head_alone, struct err *err)
{
    struct gguf *gguf = mem_alloc(sizeof(*gguf));
    gguf->parts = mem_array(1, sizeof(*gguf->parts));
    gguf->parts[gguf->n_parts++] = part;
    gguf->file_bytes = part.file.n;
    gguf->head_alone = head_alone;
    arena_init(&gguf->guesses, SIZE_MAX);
    enum status status = parse(gguf, err);
    if (status != OK)
        gguf_close(gguf);
    else
        *out = gguf;
    return status;
}

enum status gguf_parse(struct gguf **out, struct bytes file, struct err *err)
{
    struct gguf *gguf;
    enum status status = gguf_read(&gguf, (struct gguf_part){.file = file}, false, err);
    if (status != OK)
        return status;
    if (gguf->split.count > 1) {
        status = err_set(err, UNSUPPORTED,
                         "one of %llu parts of a split model; only a file has others beside it",
                         (unsigned long long)gguf->split.count);
        gguf_close(gguf);
        return status;
    }
    *out = gguf;
    return OK;
}

enum status gguf_join(struct gguf *whole, struct gguf *part, struct err *err)
{
    const uint64_t n = whole->n_tensors + part->n_tensors;
    if (n > MAX_TENSORS) {
        gguf_close(part);
        return err_set(err, BAD_INPUT, "the parts have %llu tensors; at most %d are read",
                       (unsigned long long)n, MAX_TENSORS);
    }
    whole->tensors = mem_resize(whole->tensors, ((size_t)n + 1) * sizeof(*whole->tensors));
    for (uint64_t i = 0; i < part->n_tensors; i++) {
        part->tensors[i].part = whole->n_parts;
        whole->tensors[whole->n_tensors++] = part->tensors[i];
    }
    whole->parts = mem_resize(whole->parts, (whole->n_parts + 1) * sizeof(*whole->parts));
    whole->parts[whole->n_parts++] = part->parts[0];
    whole->file_bytes += part->file_bytes;
    whole->whole_bytes += part->whole_bytes;
    part->n_parts = 0; // its file is the whole's now
    gguf_close(part);
    return sort_by_name(whole, err);
}

void gguf_close(struct gguf *gguf)
{
    if (!gguf)
        return;
    for (uint32_t i = 0; i < gguf->n_parts; i++)
        gguf_unmap(&gguf->parts[i]);
    arena_free(&gguf->guesses);
    free(gguf->parts);
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

const uint8_t *gguf_bytes(const struct gguf *gguf, const struct gguf_tensor *tensor)
{
    return gguf->parts[tensor->part].file.p + tensor->offset;
}

struct gguf_tensor *gguf_find_tensor(const struct gguf *gguf, const char *name)
{
    struct gguf_tensor wanted = {.name = bytes_of(name)};
    return bsearch(&wanted, gguf->tensors, (size_t)gguf->n_tensors, sizeof(wanted),
                   compare_tensors);
}
