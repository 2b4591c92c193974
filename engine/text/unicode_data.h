// unicode_data.h - the tables of unicode_data.c, which the build makes (unicode_data.py).
#pragma once

#include "inside.h"

struct unicode_range {
    uint32_t first, last;
    uint8_t value; // enum category; canonical combining class
};
struct unicode_pair {
    uint32_t from, to;
};
struct unicode_parts {
    uint32_t whole, first, second; // second 0: one part
};

extern const struct unicode_range unicode_categories[], unicode_classes[]; // sorted; 0 elsewhere
extern const struct unicode_pair unicode_lowers[];                         // sorted by from
// One step of the canonical decomposition, sorted by whole; those that are composed again, sorted
// by first and second. Hangul is in neither.
extern const struct unicode_parts unicode_decompositions[], unicode_compositions[];
extern const size_t n_unicode_categories, n_unicode_classes, n_unicode_lowers,
    n_unicode_decompositions, n_unicode_compositions;
