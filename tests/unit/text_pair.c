// text_pair.c - query and document as one text of ids: between separators, in a file's own format,
// and what a client cannot make of it.
#include "check.h"
#include "text/text.h"

#include <stdlib.h>
#include <string.h>

#define S "\xe2\x96\x81"

enum { MOST = 16 };
static struct bytes tokens[MOST];
static int32_t types[MOST];
static float scores[MOST];

static struct vocabulary_source begin(const char *model)
{
    return (struct vocabulary_source){.model = bytes_of(model),
                                      .tokens = tokens,
                                      .types = types,
                                      .scores = scores,
                                      .bos = -1,
                                      .eos = -1,
                                      .eot = -1,
                                      .eom = -1,
                                      .sep = -1,
                                      .unknown = -1};
}

static void add(struct vocabulary_source *s, const char *text, int32_t type)
{
    types[s->n_tokens] = type;
    scores[s->n_tokens] = type == 1 ? -1.0f : 0;
    tokens[s->n_tokens++] = bytes_of(text);
}

static struct tokenizer *open(const struct vocabulary_source *s)
{
    struct tokenizer *t = NULL;
    struct err err = {0};
    if (tokenizer_open(&t, s, &err) != OK)
        die("%s", err.text);
    return t;
}

static void pairs(const struct tokenizer *t, const char *format, const char *query,
                  const char *document, const int32_t *want, size_t n_want)
{
    int32_t ids[64];
    size_t n = 0;
    struct err err = {0};
    const bool good = pair_encode(t, bytes_of(format), bytes_of(query), bytes_of(document), ids, 64,
                                  &n, &err) == OK &&
                      n == n_want && memcmp(ids, want, n * sizeof(*ids)) == 0;
    if (CHECK(good))
        return;
    fprintf(stderr, "    %s %s: %s", query, document, err.text);
    for (size_t i = 0; i < n; i++)
        fprintf(stderr, " %d", ids[i]);
    fprintf(stderr, "\n");
}
#define PAIRS(t, format, query, document, ...)                                                     \
    pairs(t, format, query, document, (int32_t[]){__VA_ARGS__},                                    \
          sizeof((int32_t[]){__VA_ARGS__}) / 4)

static void test_bert(void)
{
    struct vocabulary_source s = begin("bert");
    int32_t ids[4];
    size_t n = 7;
    struct err err = {0};
    add(&s, "[UNK]", 2), add(&s, "[CLS]", 3), add(&s, "[SEP]", 3);
    add(&s, S "a", 1), add(&s, S "b", 1), add(&s, S "[", 1), add(&s, S "]", 1);
    s.unknown = 0, s.bos = 1, s.sep = 2;
    struct tokenizer *t = open(&s);
    PAIRS(t, "", "a", "b a", 1, 3, 2, 4, 3, 2);
    PAIRS(t, "", "", "b", 1, 2, 4, 2);
    PAIRS(t, "", "[SEP]", "a", 1, 5, 0, 6, 2, 3, 2); // text, not the separator
    CHECK(pair_encode(t, (struct bytes){NULL, 0}, bytes_of("a a"), bytes_of("b"), ids, 4, &n,
                      &err) == TOO_LARGE &&
          n == 7);
    tokenizer_close(t);
}

static void test_roberta(void)
{
    struct vocabulary_source s = begin("t5");
    add(&s, "<s>", 3), add(&s, "<pad>", 3), add(&s, "</s>", 3), add(&s, "<unk>", 2);
    add(&s, S "a", 1), add(&s, S "b", 1);
    s.bos = 0, s.eos = 2, s.unknown = 3;
    s.add_bos = s.add_eos = s.add_space = SAID_YES;
    struct tokenizer *t = open(&s);
    PAIRS(t, "", "a", "b", 0, 4, 2, 5, 2);
    tokenizer_close(t);
    s.sep = 2;
    t = open(&s);
    PAIRS(t, "", "a", "b", 0, 4, 2, 2, 5, 2);
    tokenizer_close(t);
}

static void test_format(void)
{
    struct vocabulary_source s = begin("gpt2");
    static const struct bytes merges[] = {{(const uint8_t *)"a b", 3}, {(const uint8_t *)": a", 3}};
    add(&s, "<|end|>", 3), add(&s, ":", 1), add(&s, "a", 1), add(&s, "b", 1), add(&s, "ab", 1);
    add(&s, ":a", 1), add(&s, "<", 1), add(&s, "|", 1), add(&s, "e", 1), add(&s, "n", 1);
    add(&s, "d", 1), add(&s, ">", 1), add(&s, "{", 1);
    s.merges = merges;
    s.n_merges = 2;
    s.pre = bytes_of("gpt-2");
    s.eos = 0;
    struct tokenizer *t = open(&s);
    PAIRS(t, "a{query}:{document}<|end|>", "b", "ab", 4, 1, 4, 0); // a and b meet in one word
    PAIRS(t, "{document}{document}{query}", "", "b", 3, 3);
    PAIRS(t, "{query}<|end|>", "a<|end|>b", "", 2, 6, 7, 8, 9, 10, 7, 11, 3, 0);
    PAIRS(t, "<|end|>{query}", "a", "never in it", 0, 2);
    PAIRS(t, "{{query}", "a", "", 12, 2); // and what is no slot stays
    tokenizer_close(t);
}

int main(void)
{
    test_bert();
    test_roberta();
    test_format();
    return check_done("text_pair");
}
