// decode_all.h - the bytes of many tokens, without the space that encoding puts in front of a text:
// what a text must come back as.
#pragma once

#include "text/inside.h"

static inline enum status decode_all(const struct tokenizer *tokenizer, const int32_t *ids,
                                     size_t n, struct buf *out)
{
    bool at_start = tokenizer->add_space;
    enum status status = OK;
    for (size_t i = 0; i < n && status == OK; i++) {
        const struct bytes piece = tokenizer_decode(tokenizer, ids[i]);
        if (piece.n == 0)
            continue;
        const size_t skip = at_start && piece.p[0] == ' ';
        at_start = false;
        status = buf_add(out, piece.p + skip, piece.n - skip);
    }
    return status;
}
