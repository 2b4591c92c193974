// parts.h - what the files of floor 4 share among themselves; no other floor includes it.
//
// gguf.c reads a file into values and tensors, vocabulary_read.c makes its tokenizer. What computes
// (architectures, weights, caches, the pass) has arch.h.
#pragma once

#include "model.h"

// ---- gguf.c -------------------------------------------------------------------------------------

enum gguf_type { // the value types of the format, by their numbers
    GGUF_U8 = 0,
    GGUF_I8 = 1,
    GGUF_U16 = 2,
    GGUF_I16 = 3,
    GGUF_U32 = 4,
    GGUF_I32 = 5,
    GGUF_F32 = 6,
    GGUF_BOOL = 7,
    GGUF_STRING = 8,
    GGUF_ARRAY = 9,
    GGUF_U64 = 10,
    GGUF_I64 = 11,
    GGUF_F64 = 12,
};

struct gguf_value {
    struct bytes key;
    uint32_t type;      // enum gguf_type
    uint32_t item_type; // of an array
    uint64_t n_items;   // of an array; 1 otherwise
    const uint8_t *p;   // the first byte of the payload (of the first item, of a string's length)
};

struct gguf_tensor {
    struct bytes name;
    uint32_t type;    // ggml's type number; only known ones pass
    uint32_t n_dims;  // 1 .. 4
    uint64_t dims[4]; // dims[0] is the row length (n_cols); unused ones are 1
    uint64_t n_elements, n_bytes;
    uint64_t offset; // from the start of the file
    bool used;       // weights.c took it
};

struct gguf {
    struct bytes file; // mapped or borrowed
    bool mapped;
    bool head_alone; // tensors may reach behind the file's end: their bytes must not be read
    uint32_t version;
    uint64_t alignment;
    uint64_t whole_bytes;        // where the last tensor ends
    struct gguf_value *values;   // [n_values], sorted by key
    struct gguf_tensor *tensors; // [n_tensors], sorted by name
    uint64_t n_values, n_tensors;
};

const char *gguf_tensor_type_name(uint32_t type);

// Maps the file and checks all of it but the tensors' contents.
MUST_USE enum status gguf_open(struct gguf **out, const char *path, struct err *err);
// The same of a file whose tensors need not all be there: what describes them is.
MUST_USE enum status gguf_open_head(struct gguf **out, const char *path, struct err *err);
// The same over bytes in memory, which must outlive the result.
MUST_USE enum status gguf_parse(struct gguf **out, struct bytes file, struct err *err);
void gguf_close(struct gguf *gguf);

const struct gguf_value *gguf_find(const struct gguf *gguf, const char *key); // NULL when absent
struct gguf_tensor *gguf_find_tensor(const struct gguf *gguf, const char *name);

// Values by key. NOT_FOUND (err untouched) when absent; BAD_INPUT when of another type or outside
// min .. max.
MUST_USE enum status gguf_get_uint(const struct gguf *gguf, const char *key, uint64_t min,
                                   uint64_t max, uint64_t *out, struct err *err);
MUST_USE enum status gguf_get_float(const struct gguf *gguf, const char *key, double min,
                                    double max, float *out, struct err *err);
MUST_USE enum status gguf_get_bool(const struct gguf *gguf, const char *key, bool *out,
                                   struct err *err);
MUST_USE enum status gguf_get_string(const struct gguf *gguf, const char *key, struct bytes *out,
                                     struct err *err);
// An array of `item_type` with at most max items.
MUST_USE enum status gguf_get_array(const struct gguf *gguf, const char *key,
                                    enum gguf_type item_type, uint64_t max,
                                    const struct gguf_value **out, struct err *err);
// Walks an array of strings: *at starts as value->p; call n_items times.
struct bytes gguf_next_string(const uint8_t **at);

// ---- vocabulary_read.c --------------------------------------------------------------------------

// The tokenizer that a file's keys describe; it keeps nothing of the file.
MUST_USE enum status vocabulary_read(struct tokenizer **out, const struct gguf *gguf,
                                     struct err *err);
