// gguf_get.c - the values of a GGUF file by their keys, checked against what the caller can use.
//
// A value of another type, or outside what is allowed, is BAD_INPUT and named; a key that is not
// there is NOT_FOUND and says nothing. Whole numbers may be of any of the format's eight types.

#include "parts.h"

#include <string.h>

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
    size_t n = gguf_scalar_bytes(value->type);
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
    size_t n = v->type == GGUF_ARRAY ? gguf_scalar_bytes(v->item_type) : 0;
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
