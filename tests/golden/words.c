// words.c - the tokenizer of a file, asked about many texts at once: a tool of the golden tier.
//
//   words MODEL.gguf hash|ids|bare|back FILE...   for each file a line: NAME, the number of ids and
//                                                 their hash (or the ids themselves; or the hash
//                                                 without BOS and EOS), or whether decoding gives
//                                                 the text back
//   words MODEL.gguf time TEXT...                 the place of TEXT, ids, CPU milliseconds: for
//                                                 1 MB of TEXT over and over
//
// The hash is FNV-1a (64 bits) over the ids as four bytes each, lowest first; peer/peertokens.c
// prints the same for llama.cpp.
#include "../unit/decode_all.h"
#include "model/model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct tokenizer *tokenizer;

static void fail(const char *what, const struct err *err)
{
    fprintf(stderr, "words: %s: %s\n", what, err->text);
    exit(1);
}

static int32_t *encode(struct bytes text, bool special, size_t *n)
{
    size_t cap = text.n * 4 + 16;
    int32_t *ids = mem_array(cap, sizeof(*ids));
    struct err err;
    if (tokenizer_encode(tokenizer, text, special, ids, cap, n, &err) != OK)
        fail("encode", &err);
    return ids;
}

static uint64_t hash_ids(const int32_t *ids, size_t n)
{
    uint64_t hash = 0xcbf29ce484222325ull;
    for (size_t i = 0; i < n; i++)
        for (int shift = 0; shift < 32; shift += 8)
            hash = (hash ^ ((uint32_t)ids[i] >> shift & 0xff)) * 0x100000001b3ull;
    return hash;
}

static void tell_ids(const char *name, struct bytes text, bool all)
{
    size_t n = 0;
    int32_t *ids = encode(text, true, &n);
    printf("%s %zu", name, n);
    if (!all)
        printf(" %016" PRIx64, hash_ids(ids, n));
    for (size_t i = 0; i < n && all; i++)
        printf(" %d", ids[i]);
    putchar('\n');
    free(ids);
}

static void tell_bare(const char *name, struct bytes text)
{
    size_t cap = text.n * 4 + 16, n = 0;
    int32_t *ids = mem_array(cap, sizeof(*ids));
    struct err err;
    if (tokenizer_append(tokenizer, text, true, ids, cap, &n, &err) != OK)
        fail("encode", &err);
    printf("%s %zu %016" PRIx64 "\n", name, n, hash_ids(ids, n));
    free(ids);
}

static void tell_back(const char *name, struct bytes text)
{
    size_t n = 0;
    int32_t *ids = encode(text, false, &n);
    struct buf out;
    buf_init(&out, SIZE_MAX);
    if (decode_all(tokenizer, ids, n, &out) != OK)
        exit(1);
    size_t same = 0;
    while (same < out.n && same < text.n && out.p[same] == text.p[same])
        same++;
    bool equal = same == text.n && out.n == text.n;
    printf("%s %s at byte %zu of %zu\n", name, equal ? "same" : "different", same, text.n);
    buf_free(&out);
    free(ids);
}

static void tell_time(int number, const char *fill)
{
    enum { MEGABYTE = 1 << 20 };
    size_t n_fill = strlen(fill), n = MEGABYTE / n_fill * n_fill, n_ids = 0;
    uint8_t *text = mem_alloc(n);
    for (size_t i = 0; i < n; i++)
        text[i] = (uint8_t)fill[i % n_fill];
    struct timespec from, to;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    free(encode((struct bytes){text, n}, true, &n_ids));
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    printf("%d %zu %.0f\n", number, n_ids,
           (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6);
    free(text);
}

int main(int argc, char **argv)
{
    struct err err;
    if (argc < 3) {
        fprintf(stderr, "usage: words MODEL.gguf hash|ids|bare|back FILE... | time TEXT...\n");
        return 2;
    }
    if (model_tokenizer_open(&tokenizer, argv[1], &err) != OK)
        fail("open", &err);
    for (int i = 3; i < argc; i++) {
        if (strcmp(argv[2], "time") == 0) {
            tell_time(i - 3, argv[i]);
            continue;
        }
        struct buf text;
        const char *slash = strrchr(argv[i], '/');
        if (file_read(&text, argv[i], 64 << 20, &err) != OK)
            fail(argv[i], &err);
        if (strcmp(argv[2], "back") == 0)
            tell_back(slash ? slash + 1 : argv[i], buf_view(&text));
        else if (strcmp(argv[2], "bare") == 0)
            tell_bare(slash ? slash + 1 : argv[i], buf_view(&text));
        else
            tell_ids(slash ? slash + 1 : argv[i], buf_view(&text), strcmp(argv[2], "ids") == 0);
        buf_free(&text);
    }
    tokenizer_close(tokenizer);
    return 0;
}
