// tokenizer.c - fuzz target: any text through a tokenizer, the built-in model's or one that the
// input brings along. Ids stay within the vocabulary; with the built-in one a text without control
// tokens comes back as it was, and telling ends apart does not depend on where it is cut.
//
// Input: two bytes n (little endian), n bytes of text, a GGUF file; without a good one the built-in
// model's is taken. Kept inputs: tokenizer/.
#include "model/parts.h"

#include <stdlib.h>
#include <string.h>

enum { TEXT_MOST = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tokenizer *builtin;

static void encode(const struct tokenizer *t, struct bytes text, bool special, int32_t *ids,
                   size_t *n)
{
    struct err err = {0};
    size_t cap = 3 * TEXT_MOST + 1;
    *n = 0;
    if (tokenizer_encode(t, text, special, ids, cap, n, &err) != OK) {
        if (!err.text[0])
            abort();
        *n = 0;
    }
    for (size_t i = 0; i < *n; i++)
        if (ids[i] < 0 || ids[i] >= tokenizer_n_vocab(t))
            abort();
}

static void round_trip(struct bytes text, const int32_t *ids, size_t n)
{
    struct buf back, clean;
    buf_init(&back, 16 * TEXT_MOST);
    buf_init(&clean, 16 * TEXT_MOST);
    for (size_t i = tokenizer_add_bos(builtin) ? 1 : 0; i < n; i++) {
        struct bytes piece = tokenizer_decode(builtin, ids[i]);
        if (buf_add(&back, piece.p, piece.n) != OK)
            abort();
    }
    if (utf8_clean(&clean, text) != OK)
        abort();
    if (utf8_valid(text) && !bytes_equal(buf_view(&back), buf_view(&clean)))
        abort();
    buf_free(&back);
    buf_free(&clean);
}

static void use(const struct tokenizer *t, struct bytes text)
{
    static int32_t ids[3 * TEXT_MOST + 1];
    size_t n;
    encode(t, text, true, ids, &n);
    for (size_t i = 0; i < n; i++) {
        (void)tokenizer_decode(t, ids[i]);
        (void)tokenizer_is_end(t, ids[i]);
    }
    encode(t, text, false, ids, &n);
    if (t == builtin)
        round_trip(text, ids, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf *gguf = NULL;
    struct tokenizer *own = NULL;
    struct err err;
    if (!builtin && model_tokenizer_open(&builtin, MODEL_BUILTIN, &err) != OK)
        abort();
    if (size < 2)
        return 0;
    size_t n = data[0] | (size_t)data[1] << 8;
    n = n > size - 2 ? size - 2 : n;
    n = n > TEXT_MOST ? TEXT_MOST : n;
    uint8_t *copy = malloc(size); // the text, then the file: neither has a byte to spare
    uint8_t *file = malloc(size - 2 - n + 1);
    if (!copy || !file)
        abort();
    memcpy(copy, data + 2, n);
    memcpy(file, data + 2 + n, size - 2 - n);
    bool brought = gguf_parse(&gguf, (struct bytes){file, size - 2 - n}, &err) == OK &&
                   vocabulary_read(&own, gguf, &err) == OK;
    use(brought ? own : builtin, (struct bytes){copy, n});
    tokenizer_close(own);
    gguf_close(gguf);
    free(file);
    free(copy);
    return 0;
}
