// parts.h - what the files of floor 4 share among themselves; no other floor includes it.
//
// gguf_file.c maps a model's files, gguf.c reads them into values and tensors, gguf_get.c gives
// values out, vocabulary_read.c makes the tokenizer. What computes (architectures, weights, caches,
// the pass) has arch.h.
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
    uint64_t offset; // from the start of its part's file
    uint32_t part;   // of struct gguf
    bool used;       // weights.c took it
};

struct gguf_part { // a file
    struct bytes file;
    bool mapped; // else borrowed
};

struct gguf_split {     // what a file's keys say of the parts of a model
    uint64_t count;     // 1: it is whole
    uint64_t no;        // which of them it is, from 0
    uint64_t n_tensors; // of all parts together; 0: not said
};

enum { MAX_PARTS = 65535 }; // a key of 16 bits

struct gguf {                // a model: the keys of its first file, the tensors of all of them
    struct gguf_part *parts; // [n_parts]
    uint32_t n_parts;
    uint32_t n_missing; // parts that are not there, with head_alone
    bool head_alone;    // tensors may reach behind a file's end: their bytes must not be read
    uint32_t version;
    uint64_t alignment;
    struct gguf_split split;
    uint64_t file_bytes;         // of all files
    uint64_t whole_bytes;        // the same when all tensors are there
    struct gguf_value *values;   // [n_values], sorted by key
    struct gguf_tensor *tensors; // [n_tensors], sorted by name
    uint64_t n_values, n_tensors;
    struct arena guesses; // tensors of missing parts as they are thought to be (weights.c)
};

const char *gguf_tensor_type_name(uint32_t type);
// Fills in n_elements and n_bytes; BAD_INPUT, UNSUPPORTED: such a tensor cannot be.
MUST_USE enum status gguf_measure(struct gguf_tensor *tensor, const char *name, struct err *err);
size_t gguf_scalar_bytes(uint32_t type); // of a value; 0: a text or an array

// Maps the file, and the others when it is one of the parts of a split model (any of them,
// NAME-00002-of-00003.gguf), and checks all but the tensors' contents.
MUST_USE enum status gguf_open(struct gguf **out, const char *path, struct err *err);
// The same of files whose tensors need not all be there: what describes them is. Of the parts of a
// split model the first must be there.
MUST_USE enum status gguf_open_head(struct gguf **out, const char *path, struct err *err);
// The same over bytes in memory, which must outlive the result.
MUST_USE enum status gguf_parse(struct gguf **out, struct bytes file, struct err *err);
void gguf_close(struct gguf *gguf);
// One file alone, which may be a part; it is the result's, or unmapped on failure.
MUST_USE enum status gguf_read(struct gguf **out, struct gguf_part part, bool head_alone,
                               struct err *err);
// Takes the file and the tensors of `part`, which is closed; BAD_INPUT: a tensor is there already.
MUST_USE enum status gguf_join(struct gguf *whole, struct gguf *part, struct err *err);
void gguf_unmap(struct gguf_part *part);
bool gguf_lost(const struct gguf *gguf); // a file of it can no longer be read; zeros stand for it
// What a model file is called: the path's last part without -00001-of-00003 and .gguf.
struct bytes gguf_file_name(const char *path);

// The tensor's bytes, n_bytes of them.
const uint8_t *gguf_bytes(const struct gguf *gguf, const struct gguf_tensor *tensor);
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

// The file's chat templates; nothing of the file is kept.
void template_read(struct template **out, const struct gguf *gguf,
                   const struct tokenizer *tokenizer);
// The tokenizer that a file's keys describe; it keeps nothing of the file.
MUST_USE enum status vocabulary_read(struct tokenizer **out, const struct gguf *gguf,
                                     struct err *err);
