// vocabulary.c - turns the tokens and merges of a file into the tables of inside.h; all is hostile.
//
// Byte-level BPE spells every byte as one printable character (GPT-2's table: 33-126, 161-172,
// 174-255 as themselves, the other 68 as U+0100 ...). Here everything is turned back into raw bytes
// once, when the file is opened. The other kinds spell a space as U+2581 and a byte that nothing
// else covers as <0xNN>. A merge (left, right) -> result has a rank: its line in the file, or,
// where the file has scores instead, the place of its result in the order of scores. Control tokens
// are in no table that spelling looks at: text cannot become one by spelling it.

#include "inside.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_TOKEN_BYTES = 16384, MAX_ALL_BYTES = 128 << 20, MAX_ADDED_BYTES = 16 << 20 };

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

// ---- merges -------------------------------------------------------------------------------------

// A text as BPE works with it: raw bytes, or as it stands. False when it cannot be spelled.
static bool as_symbol(bool raw, const int16_t byte_of[324], struct bytes text, uint8_t *out,
                      size_t *n)
{
    if (!raw)
        return unspell(byte_of, text, out, n);
    memcpy(out, text.p, text.n);
    *n = text.n;
    return true;
}

static enum status read_merges(struct tokenizer *t, const struct vocabulary_source *source,
                               const int16_t byte_of[324], struct err *err)
{
    bool raw = pretokenizer_family(t->pretokenizer)->raw;
    if (!source->merges && !bytes_equal_text(source->pre, "kimi-k2"))
        return err_set(err, BAD_INPUT,
                       "key 'tokenizer.ggml.merges' is missing: byte-level BPE needs it");
    symbols_reserve_merges(t, source->n_merges);
    uint8_t *text = mem_alloc(2 * MAX_TOKEN_BYTES);
    enum status status = OK;
    for (size_t rank = 0; rank < source->n_merges && status == OK; rank++) {
        struct bytes line = source->merges[rank];
        const uint8_t *space = line.n > 1 ? memchr(line.p + 1, ' ', line.n - 1) : NULL;
        if (!space || space + 1 == line.p + line.n || line.n > MAX_TOKEN_BYTES) {
            status = err_set(err, BAD_INPUT,
                             "key 'tokenizer.ggml.merges': line %zu is not two texts with a space "
                             "between them, of at most %d bytes",
                             rank, MAX_TOKEN_BYTES);
            break;
        }
        struct bytes left = {line.p, (size_t)(space - line.p)},
                     right = {space + 1, line.n - left.n - 1};
        size_t n_left, n_right;
        if (!as_symbol(raw, byte_of, left, text, &n_left) ||
            !as_symbol(raw, byte_of, right, text + n_left, &n_right))
            continue;
        int32_t a = symbols_need(t, (struct bytes){text, n_left});
        int32_t b = symbols_need(t, (struct bytes){text + n_left, n_right});
        int32_t both = symbols_need(t, (struct bytes){text, n_left + n_right});
        symbols_add_merge(t, &(struct merge){a, b, (int32_t)rank, both});
    }
    free(text);
    return status;
}

// ---- merges by score ----------------------------------------------------------------------------

struct by_score {
    float score;
    int32_t id;
};

static int best_first(const void *a, const void *b)
{
    const struct by_score *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

// The symbol that a part of a token is before it is merged: a token, or one character.
static int32_t part_symbol(struct tokenizer *t, struct bytes part)
{
    int32_t symbol = symbols_find(t, part);
    if (symbol >= 0 || unicode_length(part.p[0]) < part.n)
        return symbol;
    uint8_t character[4]; // the part lies in t->bytes, which may move
    memcpy(character, part.p, part.n);
    return symbols_need(t, (struct bytes){character, part.n});
}

// Every way to put a token together from two symbols is a merge.
static void merges_by_score(struct tokenizer *t)
{
    struct by_score *order = mem_array((size_t)t->n_vocab, sizeof(*order));
    for (int32_t i = 0; i < t->n_vocab; i++) // what is not a number comes last
        order[i] = (struct by_score){t->score[i] == t->score[i] ? t->score[i] : -1e38f, i};
    qsort(order, (size_t)t->n_vocab, sizeof(*order), best_first);
    symbols_reserve_merges(t, (size_t)t->n_vocab * 4);
    int32_t rank = 0;
    for (int32_t i = 0; i < t->n_vocab; i++) {
        rank = i > 0 && order[i].score == order[i - 1].score ? rank : i;
        int32_t id = order[i].id;
        size_t n = symbols_text(t, id).n;
        if (n == 0 || symbols_find(t, symbols_text(t, id)) != id)
            continue;
        for (size_t cut = 0; cut < n;) {
            const uint8_t *p = t->bytes + t->start[id]; // moves when symbols are added
            cut += unicode_length(p[cut]);
            if (cut >= n)
                break;
            int32_t left = part_symbol(t, (struct bytes){p, cut});
            p = t->bytes + t->start[id];
            int32_t right = part_symbol(t, (struct bytes){p + cut, n - cut});
            if (left >= 0 && right >= 0)
                symbols_add_merge(t, &(struct merge){left, right, rank, id});
        }
    }
    free(order);
}

// ---- tokens -------------------------------------------------------------------------------------

struct named { // a token's text in the file, to find one that is there twice
    struct bytes text;
    int32_t id;
};

static int by_name(const void *a, const void *b)
{
    return bytes_compare(((const struct named *)a)->text, ((const struct named *)b)->text);
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

static enum status check_sizes(const struct vocabulary_source *source, struct err *err)
{
    uint64_t all = 0;
    for (size_t i = 0; i < source->n_tokens; i++) {
        uint64_t n = source->tokens[i].n;
        all += n;
        if (n > MAX_TOKEN_BYTES)
            return err_set(err, TOO_LARGE,
                           "key 'tokenizer.ggml.tokens': token %zu is a text of %llu bytes; at "
                           "most %d are read",
                           i, (unsigned long long)n, MAX_TOKEN_BYTES);
        if (all > MAX_ALL_BYTES)
            return err_set(
                err, TOO_LARGE,
                "key 'tokenizer.ggml.tokens': the texts up to token %zu have %llu bytes; "
                "at most %d are read",
                i, (unsigned long long)all, MAX_ALL_BYTES);
    }
    return OK;
}

// 0 .. 255 of "<0xNN>"; -1: not such a text.
static int byte_of_text(struct bytes text)
{
    static const char digits[] = "0123456789ABCDEF";
    if (text.n != 6 || memcmp(text.p, "<0x", 3) != 0 || text.p[5] != '>')
        return -1;
    const char *high = memchr(digits, text.p[3], 16), *low = memchr(digits, text.p[4], 16);
    return high && low ? (int)((high - digits) * 16 + (low - digits)) : -1;
}

// RWKV spells bytes as \\xNN, \\t, \\n, \\r and any other character behind a backslash as itself.
static size_t unescape(struct bytes text, uint8_t *out)
{
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
        uint8_t byte = text.p[i];
        if (byte == '\\' && i + 1 < text.n) {
            byte = text.p[++i];
            unsigned value = 0;
            if (byte == 'x' && i + 2 < text.n) {
                for (int k = 0; k < 2; k++) {
                    uint8_t digit = text.p[++i];
                    value = value * 16 + (digit >= 'a' ? digit - 'a' + 10u : digit - '0');
                }
                byte = (uint8_t)value;
            } else {
                byte = byte == 't' ? '\t' : byte == 'n' ? '\n' : byte == 'r' ? '\r' : byte;
            }
        }
        out[n++] = byte;
    }
    return n;
}

// U+2581 -> space.
static size_t with_spaces(struct bytes text, uint8_t *out)
{
    size_t n = 0;
    for (size_t i = 0; i < text.n;) {
        bool space = i + 3 <= text.n && memcmp(text.p + i, "\xe2\x96\x81", 3) == 0;
        out[n++] = space ? ' ' : text.p[i];
        i += space ? 3 : 1;
    }
    return n;
}

static void add_piece(struct tokenizer *t, int32_t id, struct bytes piece)
{
    if (piece.n > 0)
        memcpy(t->pieces + t->piece_start[id], piece.p, piece.n);
    t->piece_start[id + 1] = t->piece_start[id] + piece.n;
}

static bool is_control(enum token_type type)
{
    return type == TYPE_CONTROL || type == TYPE_UNKNOWN || type == TYPE_MARK;
}

static bool is_raw(const struct tokenizer *t)
{
    return t->kind != BPE || pretokenizer_family(t->pretokenizer)->raw;
}

// The token's text as it is given out; `symbol` is it as it is looked for.
static void give_out(struct tokenizer *t, int32_t id, struct bytes text, struct bytes symbol,
                     uint8_t *scratch)
{
    enum token_type type = t->type[id];
    int byte = type == TYPE_BYTE ? byte_of_text(text) : -1;
    uint8_t one = (uint8_t)byte;
    if (t->kind == GREEDY)
        add_piece(t, id, symbol);
    else if (byte >= 0)
        add_piece(t, id, (struct bytes){&one, 1});
    else if (type == TYPE_CONTROL || type == TYPE_UNKNOWN || type == TYPE_UNUSED)
        add_piece(t, id, (struct bytes){scratch, 0});
    else if (t->kind == PLAMO || (!is_raw(t) && (type == TYPE_USER || type == TYPE_MARK)))
        add_piece(t, id, text);
    else if (!is_raw(t))
        add_piece(t, id, symbol);
    else
        add_piece(t, id, (struct bytes){scratch, with_spaces(text, scratch)});
}

static void add_token(struct tokenizer *t, const int16_t byte_of[324], struct bytes text,
                      int32_t id, uint8_t *scratch)
{
    enum token_type type = t->type[id];
    bool control = is_control(type), spelled = true;
    struct bytes symbol = text;
    size_t n;
    if (t->dna && dna_take(t->dna, text, id)) {
        symbols_add(t, text);
        add_piece(t, id, (struct bytes){text.p, 6});
        return;
    }
    if (t->kind == GREEDY) {
        symbol = (struct bytes){scratch, unescape(text, scratch)};
    } else if (!is_raw(t)) {
        spelled = unspell(byte_of, text, scratch, &n);
        if (spelled && type != TYPE_USER)
            symbol = (struct bytes){scratch, n};
        spelled = spelled && (type != TYPE_USER || bytes_equal((struct bytes){scratch, n}, text));
    }
    symbols_add(t, symbol);
    give_out(t, id, text, symbol, scratch + MAX_TOKEN_BYTES);
    int byte = byte_of_text(text);
    if (byte >= 0 && t->byte_id[byte] < 0)
        t->byte_id[byte] = id;
    if (control || type == TYPE_BYTE || symbol.n == 0 || !spelled)
        return;
    if (t->kind == BPE || t->kind == SCORED) {
        if (symbols_find(t, symbol) < 0)
            symbols_index(t, id);
    } else {
        trie_add(&t->trie, symbol, id);
    }
}

// ---- tokens that are found by their texts -------------------------------------------------------

static bool contains(struct bytes text, const char *part)
{
    return text.n > 0 && memmem(text.p, text.n, part, strlen(part));
}

// No file says which of them take the white space beside them along; llama.cpp knows these.
static void set_strips(const struct vocabulary_source *source, struct special *special)
{
    bool mask = contains(source->pre, "jina-v2-de") || contains(source->pre, "jina-v2-es") ||
                contains(source->pre, "jina-v2-code") || contains(source->pre, "mmbert") ||
                contains(source->arch, "nomic-bert-moe") || contains(source->arch, "jina-bert-v3");
    char name[64] = {0};
    for (size_t i = 0; i < source->name.n && i < sizeof(name) - 1; i++) {
        uint8_t c = source->name.p[i];
        name[i] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    if (mask)
        special->lstrip = bytes_equal_text(special->text, "<mask>");
    else if (strstr(name, "phi-3") || strstr(name, "phi3"))
        special->rstrip = !bytes_equal_text(special->text, "<unk>") &&
                          !bytes_equal_text(special->text, "<s>") &&
                          !bytes_equal_text(special->text, "<|endoftext|>");
    else if (strstr(name, "modern-bert"))
        special->lstrip = bytes_equal_text(special->text, "[MASK]");
}

static bool is_added(const struct tokenizer *t, const struct vocabulary_source *source, size_t i)
{
    enum token_type type = t->type[i];
    return (is_control(type) || type == TYPE_USER) && source->tokens[i].n > 0;
}

static enum status make_added(struct tokenizer *t, const struct vocabulary_source *source,
                              struct err *err)
{
    size_t n = 0, n_bytes = 0;
    for (size_t i = 0; i < source->n_tokens; i++) {
        n += is_added(t, source, i);
        n_bytes += is_added(t, source, i) ? source->tokens[i].n : 0;
    }
    if (n_bytes > MAX_ADDED_BYTES)
        return err_set(err, TOO_LARGE,
                       "key 'tokenizer.ggml.tokens': the texts of the control and user-defined "
                       "tokens have %zu bytes; at most %d are read",
                       n_bytes, MAX_ADDED_BYTES);
    t->added.list = mem_array(n, sizeof(*t->added.list));
    t->added_texts = mem_alloc(n_bytes);
    n_bytes = 0;
    for (size_t i = 0; i < source->n_tokens; i++) {
        if (!is_added(t, source, i))
            continue;
        struct bytes text = {t->added_texts + n_bytes, source->tokens[i].n};
        memcpy(t->added_texts + n_bytes, source->tokens[i].p, text.n);
        n_bytes += text.n;
        struct special *special = &t->added.list[t->added.n++];
        *special = (struct special){text, (int32_t)i, is_control(t->type[i]), false, false};
        set_strips(source, special);
        if (special->lstrip || special->rstrip)
            t->longest = SIZE_MAX;
        else if (text.n > t->longest)
            t->longest = text.n;
    }
    added_make(&t->added);
    return OK;
}

// ---- all together -------------------------------------------------------------------------------

static void read_tokens(struct tokenizer *t, const struct vocabulary_source *source,
                        const int16_t byte_of[324])
{
    size_t n = source->n_tokens, n_bytes = 0;
    for (size_t i = 0; i < n; i++)
        n_bytes += source->tokens[i].n;
    symbols_reserve(t, n + 256);
    memset(t->byte_id, 0xff, sizeof(t->byte_id));
    t->pieces = mem_alloc(n_bytes);
    t->piece_start = mem_array(n + 1, sizeof(*t->piece_start));
    t->score = mem_array(n, sizeof(*t->score));
    if (source->scores)
        memcpy(t->score, source->scores, n * sizeof(*t->score));
    uint8_t *scratch = mem_alloc(2 * MAX_TOKEN_BYTES);
    for (size_t i = 0; i < n; i++)
        add_token(t, byte_of, source->tokens[i], (int32_t)i, scratch);
    free(scratch);
    t->n_vocab = t->n_symbols;
    for (int byte = 0; byte < 256; byte++) {
        uint8_t one = (uint8_t)byte;
        if (!is_raw(t))
            t->byte_symbol[byte] = symbols_need(t, (struct bytes){&one, 1});
        if (t->byte_id[byte] < 0 && t->kind == SCORED)
            t->byte_id[byte] = symbols_find(t, (struct bytes){&one, 1});
    }
}

static void unknown_score(struct tokenizer *t)
{
    float least = 3.4e38f;
    for (int32_t i = 0; i < t->n_vocab; i++)
        if (t->type[i] == TYPE_NORMAL && t->score[i] < least)
            least = t->score[i];
    t->unknown_score = least - 10;
}

enum status vocabulary_fill(struct tokenizer *t, const struct vocabulary_source *source,
                            struct err *err)
{
    int16_t byte_of[324];
    byte_table(byte_of);
    random_bytes(&t->hash_seed, sizeof(t->hash_seed));
    trie_init(&t->trie);
    if (source->n_tokens == 0)
        return err_set(
            err, BAD_INPUT,
            "key 'tokenizer.ggml.tokens' is missing or empty: the file has no vocabulary");
    enum status status = check_sizes(source, err);
    if (status == OK)
        status = check_unique(source, err);
    if (status != OK)
        return status;
    t->type = mem_alloc(source->n_tokens);
    special_types(t->type, source);
    read_tokens(t, source, byte_of);
    if (t->kind == BPE)
        status = read_merges(t, source, byte_of, err);
    else if (t->kind == SCORED)
        merges_by_score(t);
    if (status == OK && t->dna)
        status = dna_check(t->dna, err);
    if (status == OK)
        status = make_added(t, source, err);
    if (status != OK)
        return status;
    unknown_score(t);
    if (source->charsmap.n > 0) {
        t->charsmap = mem_alloc(source->charsmap.n);
        memcpy(t->charsmap, source->charsmap.p, source->charsmap.n);
        t->n_charsmap = source->charsmap.n;
    }
    return special_ids(t, source, err);
}

void vocabulary_free(struct tokenizer *t)
{
    free(t->dna);
    free(t->bytes);
    free(t->start);
    free(t->by_text);
    free(t->merges);
    free(t->score);
    free(t->charsmap);
    free(t->pieces);
    free(t->piece_start);
    free(t->type);
    free(t->added_texts);
    trie_free(&t->trie);
    added_free(&t->added);
}
