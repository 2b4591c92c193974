// vocabulary.c - turns the tokens and merges of a file into the tables of inside.h; all is hostile.
//
// A file's vocabulary spells every byte as one printable character (GPT-2's table: 33-126, 161-172,
// 174-255 as themselves, the other 68 as U+0100 ...). Here everything is turned back into raw bytes
// once, when the file is opened. A merge (left, right) -> result has a rank, its line in the file.
// Control tokens are in no table that BPE looks at: text cannot become one by spelling it.

#include "inside.h"

#include <stdlib.h>
#include <string.h>

enum token_type {
    TYPE_NORMAL = 1,
    TYPE_UNKNOWN = 2,
    TYPE_CONTROL = 3,
    TYPE_USER = 4,
    TYPE_UNUSED = 5,
    TYPE_BYTE = 6
};

// ---- GPT-2's table of bytes ---------------------------------------------------------------------

static bool is_itself(uint32_t point)
{
    return (point >= 33 && point <= 126) || (point >= 161 && point <= 172) ||
           (point >= 174 && point <= 255);
}

// Code point -> byte, or -1.
static void byte_table(int16_t byte_of[324])
{
    int n = 0;
    for (int point = 0; point < 324; point++)
        byte_of[point] = is_itself((uint32_t)point) ? (int16_t)point : -1;
    for (int byte = 0; byte < 256; byte++)
        if (!is_itself((uint32_t)byte))
            byte_of[256 + n++] = (int16_t)byte;
}

// A vocabulary text to raw bytes; false when a character is outside the table. out has room for
// text.n bytes.
static bool unspell(const int16_t byte_of[324], struct bytes text, uint8_t *out, size_t *n)
{
    *n = 0;
    for (size_t i = 0; i < text.n;) {
        uint32_t point = text.p[i++];
        if (point >= 0xc2 && point <= 0xc5 && i < text.n && (text.p[i] & 0xc0) == 0x80)
            point = (point & 0x1f) << 6 | (text.p[i++] & 0x3f);
        else if (point >= 0x80)
            return false;
        if (point >= 324 || byte_of[point] < 0)
            return false;
        out[(*n)++] = (uint8_t)byte_of[point];
    }
    return true;
}

// ---- symbols ------------------------------------------------------------------------------------

static uint64_t mix(uint64_t h, uint64_t word)
{
    h = (h ^ word) * 0x9e3779b97f4a7c15ull;
    return h ^ h >> 29;
}

static uint64_t hash_bytes(uint64_t seed, struct bytes text)
{
    uint64_t h = mix(seed, text.n), word = 0;
    size_t i = 0;
    for (; i + 8 <= text.n; i += 8) {
        memcpy(&word, text.p + i, 8);
        h = mix(h, word);
    }
    word = 0;
    for (size_t k = 0; i + k < text.n; k++)
        word |= (uint64_t)text.p[i + k] << 8 * k;
    return mix(mix(h, word), seed);
}

struct bytes vocabulary_text(const struct tokenizer *t, int32_t symbol)
{
    return (struct bytes){t->bytes + t->start[symbol], t->start[symbol + 1] - t->start[symbol]};
}

int32_t vocabulary_find(const struct tokenizer *t, struct bytes text)
{
    for (size_t slot = hash_bytes(t->hash_seed, text) & t->by_text_mask;;
         slot = (slot + 1) & t->by_text_mask) {
        int32_t symbol = t->by_text[slot];
        if (symbol < 0 || bytes_equal(vocabulary_text(t, symbol), text))
            return symbol;
    }
}

static void symbol_index(struct tokenizer *t, int32_t symbol)
{
    size_t slot = hash_bytes(t->hash_seed, vocabulary_text(t, symbol)) & t->by_text_mask;
    while (t->by_text[slot] >= 0)
        slot = (slot + 1) & t->by_text_mask;
    t->by_text[slot] = symbol;
}

static int32_t symbol_add(struct tokenizer *t, struct bytes text)
{
    if (t->n_symbols == t->symbols_allocated) {
        t->symbols_allocated = t->symbols_allocated < 1024 ? 1024 : t->symbols_allocated * 2;
        t->start = mem_resize(t->start, ((size_t)t->symbols_allocated + 1) * sizeof(*t->start));
    }
    if (t->n_bytes + text.n > t->bytes_allocated) {
        t->bytes_allocated = (t->n_bytes + text.n) * 2 + 4096;
        t->bytes = mem_resize(t->bytes, t->bytes_allocated);
    }
    if (text.n > 0)
        memcpy(t->bytes + t->n_bytes, text.p, text.n);
    t->start[t->n_symbols] = t->n_bytes;
    t->n_bytes += text.n;
    t->start[t->n_symbols + 1] = t->n_bytes;
    if (text.n > t->longest)
        t->longest = text.n;
    return t->n_symbols++;
}

static int32_t symbol_need(struct tokenizer *t, struct bytes text)
{
    int32_t symbol = vocabulary_find(t, text);
    if (symbol < 0) {
        symbol = symbol_add(t, text);
        symbol_index(t, symbol);
    }
    return symbol;
}

// ---- merges -------------------------------------------------------------------------------------

struct merge *vocabulary_merge(const struct tokenizer *t, int32_t left, int32_t right)
{
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t slot = mix(mix(t->hash_seed, pair), pair >> 17) & t->merges_mask;
    while (t->merges[slot].left >= 0 &&
           (t->merges[slot].left != left || t->merges[slot].right != right))
        slot = (slot + 1) & t->merges_mask;
    return &t->merges[slot];
}

// At most two thirds full.
static size_t table_mask(uint64_t n)
{
    size_t size = 64;
    while (size < n + n / 2)
        size *= 2;
    return size - 1;
}

static enum status read_merges(struct tokenizer *t, const struct vocabulary_source *source,
                               const int16_t byte_of[324], struct err *err)
{
    if (!source->merges)
        return err_set(err, BAD_INPUT,
                       "key 'tokenizer.ggml.merges' is missing: byte-level BPE needs it");
    t->merges_mask = table_mask(source->n_merges);
    t->merges = mem_array(t->merges_mask + 1, sizeof(*t->merges));
    for (size_t i = 0; i <= t->merges_mask; i++)
        t->merges[i].left = -1;
    for (size_t rank = 0; rank < source->n_merges; rank++) {
        struct bytes line = source->merges[rank];
        const uint8_t *space = line.n > 1 ? memchr(line.p + 1, ' ', line.n - 1) : NULL;
        if (!space || space + 1 == line.p + line.n)
            return err_set(
                err, BAD_INPUT,
                "key 'tokenizer.ggml.merges': line %zu is not two texts with a space between them",
                rank);
        struct bytes left = {line.p, (size_t)(space - line.p)},
                     right = {space + 1, line.n - left.n - 1};
        uint8_t *text = mem_alloc(line.n);
        size_t n_left, n_right;
        if (unspell(byte_of, left, text, &n_left) &&
            unspell(byte_of, right, text + n_left, &n_right)) {
            int32_t a = symbol_need(t, (struct bytes){text, n_left});
            int32_t b = symbol_need(t, (struct bytes){text + n_left, n_right});
            struct merge *slot = vocabulary_merge(t, a, b);
            if (slot->left < 0) // a pair named twice keeps its first rank
                *slot = (struct merge){a, b, (int32_t)rank,
                                       symbol_need(t, (struct bytes){text, n_left + n_right})};
        }
        free(text);
    }
    return OK;
}

// ---- vocabulary ---------------------------------------------------------------------------------

// Texts that end a turn or a text whatever the file says of their type; llama.cpp's list.
static bool ends_by_text(struct bytes text)
{
    static const char *const texts[] = {
        "<|eot_id|>",
        "<|im_end|>",
        "<|end|>",
        "<|return|>",
        "<|call|>",
        "<|flush|>",
        "<|calls|>",
        "<end_of_turn>",
        "<|endoftext|>",
        "</s>",
        "<|eom_id|>",
        "<EOT>",
        "_<EOT>",
        "[EOT]",
        "[EOS]",
        "<|end_of_text|>",
        "<end_of_utterance>",
        "<|fim_pad|>",
        "<|repo_name|>",
        "<|file_sep|>",
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        if (bytes_equal_text(text, texts[i]))
            return true;
    return false;
}

static bool control_by_text(struct bytes text)
{
    return ends_by_text(text) || bytes_equal_text(text, "<|fim_prefix|>") ||
           bytes_equal_text(text, "<|fim_suffix|>") || bytes_equal_text(text, "<|fim_middle|>");
}

static int compare_texts(struct bytes a, struct bytes b)
{
    int order = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);
    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

static int longest_first(const void *a, const void *b)
{
    const struct special *x = a, *y = b;
    if (x->text.n != y->text.n)
        return x->text.n > y->text.n ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

struct named { // a token's text in the file, to find one that is there twice
    struct bytes text;
    int32_t id;
};

static int by_name(const void *a, const void *b)
{
    return compare_texts(((const struct named *)a)->text, ((const struct named *)b)->text);
}

static enum status check_unique(const struct vocabulary_source *source, struct err *err)
{
    struct named *names = mem_array(source->n_tokens, sizeof(*names));
    enum status status = OK;
    for (size_t i = 0; i < source->n_tokens; i++)
        names[i] = (struct named){source->tokens[i], (int32_t)i};
    qsort(names, source->n_tokens, sizeof(*names), by_name);
    for (size_t i = 1; i < source->n_tokens && status == OK; i++) {
        char text[NAME_TEXT];
        if (names[i].text.n > 0 && by_name(&names[i - 1], &names[i]) == 0)
            status =
                err_set(err, BAD_INPUT,
                        "key 'tokenizer.ggml.tokens': tokens %d and %d have the same text '%s'",
                        names[i - 1].id, names[i].id, name_text(text, names[i].text));
    }
    free(names);
    return status;
}

static void add_special(struct tokenizer *t, struct bytes text, int32_t id, bool control)
{
    size_t room = (size_t)t->n_specials;
    if ((room & (room - 1)) == 0) // grows at powers of two
        t->specials = mem_resize(t->specials, (room != 0 ? 2 * room : 1) * sizeof(*t->specials));
    t->specials[t->n_specials++] = (struct special){text, id, control};
    if (text.n > t->longest) // symbol_add() may get it shorter, unspelled
        t->longest = text.n;
}

static void add_token(struct tokenizer *t, const int16_t byte_of[324], struct bytes text,
                      int32_t id, int32_t type, uint8_t *scratch)
{
    if (control_by_text(text))
        type = TYPE_CONTROL;
    bool control = type == TYPE_CONTROL || type == TYPE_UNKNOWN;
    if ((control || type == TYPE_USER) && text.n > 0)
        add_special(t, text, id, control);
    t->hidden[id] = control || type == TYPE_UNUSED;
    size_t n;
    bool spelled = unspell(byte_of, text, scratch, &n);
    struct bytes raw = {scratch, n};
    symbol_add(t, spelled && type != TYPE_USER ? raw : text);
    if (spelled && !control && text.n > 0 && (type != TYPE_USER || bytes_equal(raw, text)) &&
        vocabulary_find(t, raw) < 0)
        symbol_index(t, id);
}

// The specials view the file, which may go away: their texts move into memory of our own.
static void keep_specials(struct tokenizer *t)
{
    size_t n_bytes = 0;
    for (int32_t i = 0; i < t->n_specials; i++)
        n_bytes += t->specials[i].text.n;
    t->special_texts = mem_alloc(n_bytes + 1);
    if (t->n_specials > 0)
        qsort(t->specials, (size_t)t->n_specials, sizeof(*t->specials), longest_first);
    n_bytes = 0;
    for (int32_t i = 0; i < t->n_specials; i++) {
        struct special *special = &t->specials[i];
        memcpy(t->special_texts + n_bytes, special->text.p, special->text.n);
        special->text.p = t->special_texts + n_bytes;
        n_bytes += special->text.n;
        if (ends_by_text(special->text) && t->n_end < MAX_END - 2)
            t->end[t->n_end++] = special->id;
    }
    struct named *order = mem_array((size_t)t->n_specials + 1, sizeof(*order));
    for (int32_t i = 0; i < t->n_specials; i++)
        order[i] = (struct named){t->specials[i].text, i};
    qsort(order, (size_t)t->n_specials, sizeof(*order), by_name);
    t->specials_by_text = mem_array((size_t)t->n_specials + 1, sizeof(*t->specials_by_text));
    for (int32_t i = 0; i < t->n_specials; i++)
        t->specials_by_text[i] = order[i].id;
    free(order);
}

static enum status read_tokens(struct tokenizer *t, const struct vocabulary_source *source,
                               const int16_t byte_of[324], struct err *err)
{
    if (source->n_tokens == 0)
        return err_set(
            err, BAD_INPUT,
            "key 'tokenizer.ggml.tokens' is missing or empty: the file has no vocabulary");
    enum status status = check_unique(source, err);
    if (status != OK)
        return status;
    // room for what only merges speak of
    t->by_text_mask = table_mask(source->n_tokens + 3 * source->n_merges + 256);
    t->by_text = mem_array(t->by_text_mask + 1, sizeof(*t->by_text));
    memset(t->by_text, 0xff, (t->by_text_mask + 1) * sizeof(*t->by_text));
    t->hidden = mem_array(source->n_tokens, 1);
    for (size_t i = 0; i < source->n_tokens; i++) {
        struct bytes text = source->tokens[i];
        uint8_t *scratch = mem_alloc(text.n + 1);
        add_token(t, byte_of, text, (int32_t)i, source->types ? source->types[i] : TYPE_NORMAL,
                  scratch);
        free(scratch);
    }
    t->n_vocab = t->n_symbols;
    for (int byte = 0; byte < 256; byte++) {
        uint8_t one = (uint8_t)byte;
        t->byte_symbol[byte] = symbol_need(t, (struct bytes){&one, 1});
    }
    keep_specials(t);
    return OK;
}

static enum status read_id(const struct tokenizer *t, const char *key, int64_t id, int32_t *out,
                           struct err *err)
{
    if (id >= t->n_vocab)
        return err_set(err, BAD_INPUT,
                       "key 'tokenizer.ggml.%s' is %lld; the vocabulary has %d tokens", key,
                       (long long)id, t->n_vocab);
    *out = id < 0 ? -1 : (int32_t)id;
    return OK;
}

static enum status read_ids(struct tokenizer *t, const struct vocabulary_source *source,
                            struct err *err)
{
    int32_t eos = -1, eot = -1;
    enum status status = read_id(t, "bos_token_id", source->bos, &t->bos, err);
    if (status == OK)
        status = read_id(t, "eos_token_id", source->eos, &eos, err);
    if (status == OK)
        status = read_id(t, "eot_token_id", source->eot, &eot, err);
    if (status != OK)
        return status;
    if (eos >= 0)
        t->end[t->n_end++] = eos;
    if (eot >= 0)
        t->end[t->n_end++] = eot;
    t->add_bos = source->add_bos == UNSAID ? pretokenizer_adds_bos(t->pretokenizer)
                                           : source->add_bos == SAID_YES;
    if (t->add_bos && t->bos < 0)
        return err_set(
            err, BAD_INPUT,
            "a BOS token is to be added, but key 'tokenizer.ggml.bos_token_id' names none");
    return OK;
}

enum status vocabulary_fill(struct tokenizer *t, const struct vocabulary_source *source,
                            struct err *err)
{
    int16_t byte_of[324];
    byte_table(byte_of);
    random_bytes(&t->hash_seed, sizeof(t->hash_seed));
    enum status status = read_tokens(t, source, byte_of, err);
    if (status == OK)
        status = read_merges(t, source, byte_of, err);
    if (status == OK)
        status = read_ids(t, source, err);
    return status;
}

void vocabulary_free(struct tokenizer *t)
{
    free(t->bytes);
    free(t->start);
    free(t->hidden);
    free(t->by_text);
    free(t->merges);
    free(t->specials);
    free(t->specials_by_text);
    free(t->special_texts);
}
