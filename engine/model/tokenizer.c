// tokenizer.c - byte-level BPE (Sennrich et al. 2016; Radford et al. 2019): text to ids and ids to bytes.
//
// A file's vocabulary spells every byte as one printable character (GPT-2's table: 33-126, 161-172, 174-255 as themselves,
// the other 68 as U+0100 ...). Here everything is turned back into raw bytes once, when the file is opened.
//
// Symbols: 0 .. n_vocab-1 are the tokens; above them are texts that only merges speak of. A merge (left, right) -> result has a
// rank, its line in the file; the lowest rank goes first, at equal rank the leftmost. A priority queue and a linked list make
// that n log n in the length of a word, so that one long word costs no more than many short ones.
//
// Encoding: 1. tokens with special texts are cut out, longest text first over the whole input (as the independent engine does);
// 2. what is between is cleaned and cut into words (pretokenizer.c); 3. each word is merged.
// Control tokens are never the result of 2 and 3: a client's content cannot forge them.

#include "parts.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_VOCAB = 1 << 20,
    MAX_MERGES = 1 << 22,
    MAX_TEXT_BYTES = 64 << 20,
    MAX_END = 16,
};

enum token_type { TYPE_NORMAL = 1, TYPE_UNKNOWN = 2, TYPE_CONTROL = 3, TYPE_USER = 4, TYPE_UNUSED = 5, TYPE_BYTE = 6 };

struct special { // a token that is found by its text, before words are cut
    struct bytes text;
    int32_t id;
    bool control;
};

struct merge {
    int32_t left, right; // symbols; left < 0: free slot
    int32_t rank, result;
};

struct tokenizer {
    struct pretokenizer *pretokenizer;
    uint8_t *bytes;            // the texts of all symbols, one after the other
    size_t n_bytes, bytes_allocated;
    size_t *start;             // [n_symbols + 1] into bytes
    int32_t n_vocab, n_symbols, symbols_allocated;
    uint8_t *hidden;           // [n_vocab]: 1 = decodes to nothing (control, unused)
    int32_t *by_text;          // hash table of symbols, -1 free; only those BPE may produce
    size_t by_text_mask;
    struct merge *merges;      // hash table
    size_t merges_mask;
    uint64_t hash_seed;        // so that a file cannot aim at collisions
    int32_t byte_symbol[256];
    struct special *specials;  // [n_specials], longest first
    int32_t *specials_by_text; // [n_specials], indices in order of text
    int32_t n_specials;
    uint8_t *special_texts;    // what they view
    int32_t bos, end[MAX_END];
    int n_end;
    bool add_bos;
};

// ---- GPT-2's table of bytes ------------------------------------------------------------------------------

static bool is_itself(uint32_t point) {
    return (point >= 33 && point <= 126) || (point >= 161 && point <= 172) || (point >= 174 && point <= 255);
}

static void byte_table(int16_t byte_of[324]) { // code point -> byte, or -1
    int n = 0;
    for (int point = 0; point < 324; point++)
        byte_of[point] = is_itself((uint32_t)point) ? (int16_t)point : -1;
    for (int byte = 0; byte < 256; byte++)
        if (!is_itself((uint32_t)byte))
            byte_of[256 + n++] = (int16_t)byte;
}

// A vocabulary text to raw bytes; false when a character is outside the table. out has room for text.n bytes.
static bool unspell(const int16_t byte_of[324], struct bytes text, uint8_t *out, size_t *n) {
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

// ---- symbols ---------------------------------------------------------------------------------------------

static uint64_t mix(uint64_t h, uint64_t word) {
    h = (h ^ word) * 0x9e3779b97f4a7c15ull;
    return h ^ h >> 29;
}

static uint64_t hash_bytes(uint64_t seed, struct bytes text) {
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

static struct bytes symbol_text(const struct tokenizer *t, int32_t symbol) {
    return (struct bytes){t->bytes + t->start[symbol], t->start[symbol + 1] - t->start[symbol]};
}

static int32_t symbol_find(const struct tokenizer *t, struct bytes text) {
    for (size_t slot = hash_bytes(t->hash_seed, text) & t->by_text_mask;; slot = (slot + 1) & t->by_text_mask) {
        int32_t symbol = t->by_text[slot];
        if (symbol < 0 || bytes_equal(symbol_text(t, symbol), text))
            return symbol;
    }
}

static void symbol_index(struct tokenizer *t, int32_t symbol) {
    size_t slot = hash_bytes(t->hash_seed, symbol_text(t, symbol)) & t->by_text_mask;
    while (t->by_text[slot] >= 0)
        slot = (slot + 1) & t->by_text_mask;
    t->by_text[slot] = symbol;
}

static int32_t symbol_add(struct tokenizer *t, struct bytes text) {
    if (t->n_symbols == t->symbols_allocated) {
        t->symbols_allocated = t->symbols_allocated < 1024 ? 1024 : t->symbols_allocated * 2;
        t->start = mem_resize(t->start, ((size_t)t->symbols_allocated + 1) * sizeof *t->start);
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
    return t->n_symbols++;
}

static int32_t symbol_need(struct tokenizer *t, struct bytes text) {
    int32_t symbol = symbol_find(t, text);
    if (symbol < 0) {
        symbol = symbol_add(t, text);
        symbol_index(t, symbol);
    }
    return symbol;
}

// ---- merges ----------------------------------------------------------------------------------------------

static struct merge *merge_slot(const struct tokenizer *t, int32_t left, int32_t right) {
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t slot = mix(mix(t->hash_seed, pair), pair >> 17) & t->merges_mask;
    while (t->merges[slot].left >= 0 && (t->merges[slot].left != left || t->merges[slot].right != right))
        slot = (slot + 1) & t->merges_mask;
    return &t->merges[slot];
}

static size_t table_mask(uint64_t n) { // at most two thirds full
    size_t size = 64;
    while (size < n + n / 2)
        size *= 2;
    return size - 1;
}

static enum status read_merges(struct tokenizer *t, const struct gguf *gguf, const int16_t byte_of[324], struct err *err) {
    const struct gguf_value *list = NULL;
    enum status status = gguf_get_array(gguf, "tokenizer.ggml.merges", GGUF_STRING, MAX_MERGES, &list, err);
    if (status == NOT_FOUND)
        return err_set(err, BAD_INPUT, "key 'tokenizer.ggml.merges' is missing: byte-level BPE needs it");
    if (status != OK)
        return status;
    t->merges_mask = table_mask(list->n_items);
    t->merges = mem_array(t->merges_mask + 1, sizeof *t->merges);
    for (size_t i = 0; i <= t->merges_mask; i++)
        t->merges[i].left = -1;
    const uint8_t *at = list->p;
    for (uint64_t rank = 0; rank < list->n_items; rank++) {
        struct bytes line = gguf_next_string(&at);
        const uint8_t *space = line.n > 1 ? memchr(line.p + 1, ' ', line.n - 1) : NULL;
        if (space == NULL || space + 1 == line.p + line.n)
            return err_set(err, BAD_INPUT, "key 'tokenizer.ggml.merges': line %llu is not two texts with a space between them",
                           (unsigned long long)rank);
        struct bytes left = {line.p, (size_t)(space - line.p)}, right = {space + 1, line.n - left.n - 1};
        uint8_t *text = mem_alloc(line.n);
        size_t n_left, n_right;
        if (unspell(byte_of, left, text, &n_left) && unspell(byte_of, right, text + n_left, &n_right)) {
            int32_t a = symbol_need(t, (struct bytes){text, n_left});
            int32_t b = symbol_need(t, (struct bytes){text + n_left, n_right});
            struct merge *slot = merge_slot(t, a, b);
            if (slot->left < 0) // a pair named twice keeps its first rank
                *slot = (struct merge){a, b, (int32_t)rank, symbol_need(t, (struct bytes){text, n_left + n_right})};
        }
        free(text);
    }
    return OK;
}

// ---- vocabulary ------------------------------------------------------------------------------------------

// Texts that end a turn or a text whatever the file says of their type; the independent engine's list.
static bool ends_by_text(struct bytes text) {
    static const char *const texts[] = {
        "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>",
        "<end_of_turn>", "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]",
        "<|end_of_text|>", "<end_of_utterance>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>",
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        if (bytes_equal_text(text, texts[i]))
            return true;
    return false;
}

static bool control_by_text(struct bytes text) {
    return ends_by_text(text) || bytes_equal_text(text, "<|fim_prefix|>") || bytes_equal_text(text, "<|fim_suffix|>") ||
           bytes_equal_text(text, "<|fim_middle|>");
}

static int compare_texts(struct bytes a, struct bytes b) {
    int order = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);
    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

static int longest_first(const void *a, const void *b) {
    const struct special *x = a, *y = b;
    if (x->text.n != y->text.n)
        return x->text.n > y->text.n ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

struct named { // a token's text in the file, to find one that is there twice
    struct bytes text;
    int32_t id;
};

static int by_name(const void *a, const void *b) {
    return compare_texts(((const struct named *)a)->text, ((const struct named *)b)->text);
}

static enum status check_unique(const struct gguf_value *list, struct err *err) {
    struct named *names = mem_array((size_t)list->n_items, sizeof *names);
    const uint8_t *at = list->p;
    enum status status = OK;
    for (uint64_t i = 0; i < list->n_items; i++)
        names[i] = (struct named){gguf_next_string(&at), (int32_t)i};
    qsort(names, (size_t)list->n_items, sizeof *names, by_name);
    for (uint64_t i = 1; i < list->n_items && status == OK; i++) {
        char text[NAME_TEXT];
        if (names[i].text.n > 0 && by_name(&names[i - 1], &names[i]) == 0)
            status = err_set(err, BAD_INPUT, "key 'tokenizer.ggml.tokens': tokens %d and %d have the same text '%s'",
                             names[i - 1].id, names[i].id, name_text(text, names[i].text));
    }
    free(names);
    return status;
}

static void add_special(struct tokenizer *t, struct bytes text, int32_t id, bool control) {
    size_t room = (size_t)t->n_specials;
    if ((room & (room - 1)) == 0) // grows at powers of two
        t->specials = mem_resize(t->specials, (room != 0 ? 2 * room : 1) * sizeof *t->specials);
    t->specials[t->n_specials++] = (struct special){text, id, control};
}

static void add_token(struct tokenizer *t, const int16_t byte_of[324], struct bytes text, int32_t id, int32_t type,
                      uint8_t *scratch) {
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
    if (spelled && !control && text.n > 0 && (type != TYPE_USER || bytes_equal(raw, text)) && symbol_find(t, raw) < 0)
        symbol_index(t, id);
}

// The specials view the file, which may go away: their texts move into memory of our own.
static void keep_specials(struct tokenizer *t) {
    size_t n_bytes = 0;
    for (int32_t i = 0; i < t->n_specials; i++)
        n_bytes += t->specials[i].text.n;
    t->special_texts = mem_alloc(n_bytes + 1);
    qsort(t->specials, (size_t)t->n_specials, sizeof *t->specials, longest_first);
    n_bytes = 0;
    for (int32_t i = 0; i < t->n_specials; i++) {
        struct special *special = &t->specials[i];
        memcpy(t->special_texts + n_bytes, special->text.p, special->text.n);
        special->text.p = t->special_texts + n_bytes;
        n_bytes += special->text.n;
        if (ends_by_text(special->text) && t->n_end < MAX_END - 2)
            t->end[t->n_end++] = special->id;
    }
    struct named *order = mem_array((size_t)t->n_specials + 1, sizeof *order);
    for (int32_t i = 0; i < t->n_specials; i++)
        order[i] = (struct named){t->specials[i].text, i};
    qsort(order, (size_t)t->n_specials, sizeof *order, by_name);
    t->specials_by_text = mem_array((size_t)t->n_specials + 1, sizeof *t->specials_by_text);
    for (int32_t i = 0; i < t->n_specials; i++)
        t->specials_by_text[i] = order[i].id;
    free(order);
}

static enum status read_tokens(struct tokenizer *t, const struct gguf *gguf, const int16_t byte_of[324], struct err *err) {
    const struct gguf_value *list = NULL, *types = NULL;
    enum status status = gguf_get_array(gguf, "tokenizer.ggml.tokens", GGUF_STRING, MAX_VOCAB, &list, err);
    if (status == NOT_FOUND || (status == OK && list->n_items == 0))
        return err_set(err, BAD_INPUT, "key 'tokenizer.ggml.tokens' is missing or empty: the file has no vocabulary");
    if (status == OK)
        status = gguf_get_array(gguf, "tokenizer.ggml.token_type", GGUF_I32, MAX_VOCAB, &types, err);
    if (status != OK && status != NOT_FOUND)
        return status;
    if (types != NULL && types->n_items != list->n_items)
        return err_set(err, BAD_INPUT, "key 'tokenizer.ggml.token_type' has %llu items for %llu tokens",
                       (unsigned long long)types->n_items, (unsigned long long)list->n_items);
    status = check_unique(list, err);
    if (status != OK)
        return status;
    const struct gguf_value *merges = gguf_find(gguf, "tokenizer.ggml.merges");
    uint64_t n_merges = merges != NULL && merges->type == GGUF_ARRAY && merges->n_items <= MAX_MERGES ? merges->n_items : 0;
    t->by_text_mask = table_mask(list->n_items + 3 * n_merges + 256); // room for what only merges speak of
    t->by_text = mem_array(t->by_text_mask + 1, sizeof *t->by_text);
    memset(t->by_text, 0xff, (t->by_text_mask + 1) * sizeof *t->by_text);
    t->hidden = mem_array((size_t)list->n_items, 1);
    const uint8_t *at = list->p;
    for (uint64_t i = 0; i < list->n_items; i++) {
        struct bytes text = gguf_next_string(&at);
        int32_t type = TYPE_NORMAL;
        if (types != NULL)
            memcpy(&type, types->p + 4 * i, 4);
        uint8_t *scratch = mem_alloc(text.n + 1);
        add_token(t, byte_of, text, (int32_t)i, type, scratch);
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

// An id named by the file; -1 (as u32 too) and absence mean none.
static enum status read_id(const struct tokenizer *t, const struct gguf *gguf, const char *key, int32_t *out, struct err *err) {
    uint64_t id = UINT32_MAX;
    enum status status = gguf_get_uint(gguf, key, 0, UINT32_MAX, &id, err);
    if (status != OK && status != NOT_FOUND)
        return status;
    if (id != UINT32_MAX && id >= (uint64_t)t->n_vocab)
        return err_set(err, BAD_INPUT, "key '%s' is %llu; the vocabulary has %d tokens", key, (unsigned long long)id, t->n_vocab);
    *out = id == UINT32_MAX ? -1 : (int32_t)id;
    return OK;
}

static enum status read_ids(struct tokenizer *t, const struct gguf *gguf, struct err *err) {
    int32_t eos = -1, eot = -1;
    enum status status = read_id(t, gguf, "tokenizer.ggml.bos_token_id", &t->bos, err);
    if (status == OK)
        status = read_id(t, gguf, "tokenizer.ggml.eos_token_id", &eos, err);
    if (status == OK)
        status = read_id(t, gguf, "tokenizer.ggml.eot_token_id", &eot, err);
    if (status != OK)
        return status;
    if (eos >= 0)
        t->end[t->n_end++] = eos;
    if (eot >= 0)
        t->end[t->n_end++] = eot;
    t->add_bos = pretokenizer_adds_bos(t->pretokenizer);
    status = gguf_get_bool(gguf, "tokenizer.ggml.add_bos_token", &t->add_bos, err);
    if (status != OK && status != NOT_FOUND)
        return status;
    if (t->add_bos && t->bos < 0)
        return err_set(err, BAD_INPUT, "a BOS token is to be added, but key 'tokenizer.ggml.bos_token_id' names none");
    return OK;
}

enum status tokenizer_open(struct tokenizer **out, const struct gguf *gguf, struct err *err) {
    int16_t byte_of[324];
    struct bytes kind = {NULL, 0}, pre = {NULL, 0};
    char text[NAME_TEXT];
    byte_table(byte_of);
    enum status status = gguf_get_string(gguf, "tokenizer.ggml.model", &kind, err);
    if (status == NOT_FOUND)
        return err_set(err, BAD_INPUT, "key 'tokenizer.ggml.model' is missing: the file has no tokenizer");
    if (status != OK)
        return status;
    if (!bytes_equal_text(kind, "gpt2"))
        return err_set(err, UNSUPPORTED, "key 'tokenizer.ggml.model' is '%s'; this build knows 'gpt2' (byte-level BPE)",
                       name_text(text, kind));
    status = gguf_get_string(gguf, "tokenizer.ggml.pre", &pre, err);
    if (status != OK && status != NOT_FOUND)
        return status;
    struct tokenizer *t = mem_alloc(sizeof *t);
    random_bytes(&t->hash_seed, sizeof t->hash_seed);
    status = pretokenizer_open(&t->pretokenizer, pre, err);
    if (status == OK)
        status = read_tokens(t, gguf, byte_of, err);
    if (status == OK)
        status = read_merges(t, gguf, byte_of, err);
    if (status == OK)
        status = read_ids(t, gguf, err);
    if (status != OK)
        tokenizer_close(t);
    else
        *out = t;
    return status;
}

void tokenizer_close(struct tokenizer *tokenizer) {
    if (tokenizer == NULL)
        return;
    pretokenizer_close(tokenizer->pretokenizer);
    free(tokenizer->bytes);
    free(tokenizer->start);
    free(tokenizer->hidden);
    free(tokenizer->by_text);
    free(tokenizer->merges);
    free(tokenizer->specials);
    free(tokenizer->specials_by_text);
    free(tokenizer->special_texts);
    free(tokenizer);
}

enum status model_tokenizer_open(struct tokenizer **out, const char *path, struct err *err) {
    struct gguf *gguf;
    enum status status = gguf_open(&gguf, path, err);
    if (status != OK)
        return status;
    status = tokenizer_open(out, gguf, err);
    gguf_close(gguf);
    return status != OK && err != NULL ? err_prefix(err, "model file %s", path) : status;
}

void model_tokenizer_close(struct tokenizer *tokenizer) {
    tokenizer_close(tokenizer);
}

// ---- ids to bytes ----------------------------------------------------------------------------------------

struct bytes tokenizer_decode(const struct tokenizer *tokenizer, int32_t id) {
    if (id < 0 || id >= tokenizer->n_vocab || tokenizer->hidden[id])
        return (struct bytes){tokenizer->bytes, 0};
    return symbol_text(tokenizer, id);
}

bool tokenizer_is_end(const struct tokenizer *tokenizer, int32_t id) {
    for (int i = 0; i < tokenizer->n_end; i++)
        if (tokenizer->end[i] == id)
            return true;
    return false;
}

bool tokenizer_add_bos(const struct tokenizer *tokenizer) {
    return tokenizer->add_bos;
}

int32_t tokenizer_bos(const struct tokenizer *tokenizer) {
    return tokenizer->bos;
}

int32_t tokenizer_n_vocab(const struct tokenizer *tokenizer) {
    return tokenizer->n_vocab;
}

int32_t tokenizer_find_special(const struct tokenizer *tokenizer, const char *text) {
    for (int32_t i = 0; i < tokenizer->n_specials; i++)
        if (bytes_equal_text(tokenizer->specials[i].text, text))
            return tokenizer->specials[i].id;
    return -1;
}

// ---- one word --------------------------------------------------------------------------------------------

struct node { // a symbol of the word, in a linked list
    int32_t symbol; // -1: merged into its left neighbour
    int32_t prev, next;
};

struct pair { // a merge that may be done
    int32_t rank, at; // at: the left node
    int32_t left, right, result; // the symbols it was made for; stale when they have changed
};

struct speller { // scratch of one encode call
    struct node *nodes;
    struct pair *heap; // smallest (rank, at) first
    size_t n_heap, nodes_allocated, heap_allocated;
    int32_t *ids;
    size_t cap, *n;
    bool full;
};

static bool pair_before(const struct pair *a, const struct pair *b) {
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static void heap_push(struct speller *s, struct pair pair) {
    if (s->n_heap == s->heap_allocated) {
        s->heap_allocated = s->heap_allocated != 0 ? s->heap_allocated * 2 : 256;
        s->heap = mem_resize(s->heap, s->heap_allocated * sizeof *s->heap);
    }
    size_t i = s->n_heap++;
    for (; i > 0 && pair_before(&pair, &s->heap[(i - 1) / 2]); i = (i - 1) / 2)
        s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = pair;
}

static struct pair heap_pop(struct speller *s) {
    struct pair first = s->heap[0], last = s->heap[--s->n_heap];
    size_t i = 0;
    for (size_t child = 1; child < s->n_heap; child = 2 * i + 1) {
        if (child + 1 < s->n_heap && pair_before(&s->heap[child + 1], &s->heap[child]))
            child++;
        if (!pair_before(&s->heap[child], &last))
            break;
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = last;
    return first;
}

static void consider(const struct tokenizer *t, struct speller *s, int32_t left, int32_t right) {
    if (left < 0 || right < 0)
        return;
    const struct merge *merge = merge_slot(t, s->nodes[left].symbol, s->nodes[right].symbol);
    if (merge->left >= 0)
        heap_push(s, (struct pair){merge->rank, left, merge->left, merge->right, merge->result});
}

static void emit(struct speller *s, int32_t id) {
    if (*s->n < s->cap)
        s->ids[(*s->n)++] = id;
    else
        s->full = true;
}

// A text that only merges speak of has no id: like the independent engine, those of its bytes that the vocabulary spells
// with one ASCII character come out alone and the others are lost. No real vocabulary gets here.
static void emit_bytes(const struct tokenizer *t, struct speller *s, struct bytes text) {
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] > 32 && text.p[i] < 127 && t->byte_symbol[text.p[i]] < t->n_vocab)
            emit(s, t->byte_symbol[text.p[i]]);
}

static void spell_word(const struct tokenizer *t, struct speller *s, struct bytes word) {
    if (pretokenizer_whole_words(t->pretokenizer)) {
        int32_t id = symbol_find(t, word);
        if (id >= 0 && id < t->n_vocab) {
            emit(s, id);
            return;
        }
    }
    if (word.n > s->nodes_allocated) {
        s->nodes_allocated = word.n * 2;
        s->nodes = mem_resize(s->nodes, s->nodes_allocated * sizeof *s->nodes);
    }
    int32_t n = (int32_t)word.n;
    for (int32_t i = 0; i < n; i++)
        s->nodes[i] = (struct node){t->byte_symbol[word.p[i]], i - 1, i + 1 < n ? i + 1 : -1};
    s->n_heap = 0;
    for (int32_t i = 0; i + 1 < n; i++)
        consider(t, s, i, i + 1);
    while (s->n_heap > 0) {
        struct pair pair = heap_pop(s);
        struct node *left = &s->nodes[pair.at];
        if (left->symbol != pair.left || left->next < 0 || s->nodes[left->next].symbol != pair.right)
            continue;
        struct node *right = &s->nodes[left->next];
        left->symbol = pair.result;
        right->symbol = -1;
        left->next = right->next;
        if (right->next >= 0)
            s->nodes[right->next].prev = pair.at;
        consider(t, s, left->prev, pair.at);
        consider(t, s, pair.at, left->next);
    }
    for (int32_t i = 0; i >= 0; i = s->nodes[i].next) {
        if (s->nodes[i].symbol < t->n_vocab)
            emit(s, s->nodes[i].symbol);
        else
            emit_bytes(t, s, symbol_text(t, s->nodes[i].symbol));
    }
}

static enum status spell_text(const struct tokenizer *t, struct speller *s, struct bytes text, struct err *err) {
    struct clean_text clean;
    struct words words = {NULL, 0, 0};
    clean_text_make(&clean, text);
    enum status status = pretokenizer_split(t->pretokenizer, &clean, &words, err);
    size_t start = 0;
    for (size_t i = 0; i < words.n && status == OK && !s->full; i++) {
        spell_word(t, s, (struct bytes){clean.text + start, words.end[i] - start});
        start = words.end[i];
    }
    words_free(&words);
    clean_text_free(&clean);
    return status;
}

// ---- special texts ---------------------------------------------------------------------------------------

// Of specials_by_text[*low .. *high), which agree with some text on `depth` bytes, keeps those whose next byte is `byte`.
static void narrow(const struct tokenizer *t, int32_t *low, int32_t *high, size_t depth, uint8_t byte) {
    int32_t from = *low, to = *high;
    while (from < to) { // first whose next byte is >= byte; a text that ends here counts as smaller
        int32_t middle = from + (to - from) / 2;
        struct bytes name = t->specials[t->specials_by_text[middle]].text;
        if (name.n <= depth || name.p[depth] < byte)
            from = middle + 1;
        else
            to = middle;
    }
    *low = from;
    to = *high;
    while (from < to) { // first whose next byte is > byte
        int32_t middle = from + (to - from) / 2;
        if (t->specials[t->specials_by_text[middle]].text.p[depth] <= byte)
            from = middle + 1;
        else
            to = middle;
    }
    *high = from;
}

// Marks the specials that occur anywhere in the text: most do not, and only those that do need a pass over it.
static bool mark_present(const struct tokenizer *t, struct bytes text, bool special, uint8_t *present) {
    bool any = false, first_byte[256] = {false};
    for (int32_t i = 0; i < t->n_specials; i++)
        if (special || !t->specials[i].control)
            first_byte[t->specials[i].text.p[0]] = true;
    for (size_t at = 0; at < text.n; at++) {
        if (!first_byte[text.p[at]])
            continue;
        int32_t low = 0, high = t->n_specials;
        for (size_t depth = 0; low < high && at + depth < text.n; depth++) {
            narrow(t, &low, &high, depth, text.p[at + depth]);
            int32_t found = low < high ? t->specials_by_text[low] : -1;
            if (found < 0 || t->specials[found].text.n != depth + 1 || (!special && t->specials[found].control))
                continue;
            present[found] = 1;
            any = true;
        }
    }
    return any;
}

struct piece { // of the input: a found special, or text to be spelled
    struct bytes text;
    int32_t id; // -1: text
};

struct pieces {
    struct piece *p;
    size_t n, allocated;
};

static void add_piece(struct pieces *pieces, struct bytes text, int32_t id) {
    if (text.n == 0)
        return;
    if (pieces->n == pieces->allocated) {
        pieces->allocated = pieces->allocated != 0 ? pieces->allocated * 2 : 64;
        pieces->p = mem_resize(pieces->p, pieces->allocated * sizeof *pieces->p);
    }
    pieces->p[pieces->n++] = (struct piece){text, id};
}

static void cut_special(struct pieces *out, const struct piece *piece, const struct special *special) {
    struct bytes rest = piece->text;
    while (piece->id < 0 && rest.n >= special->text.n) {
        const uint8_t *found = memmem(rest.p, rest.n, special->text.p, special->text.n);
        if (found == NULL)
            break;
        add_piece(out, (struct bytes){rest.p, (size_t)(found - rest.p)}, -1);
        add_piece(out, (struct bytes){found, special->text.n}, special->id);
        rest.n -= (size_t)(found - rest.p) + special->text.n;
        rest.p = found + special->text.n;
    }
    add_piece(out, rest, piece->id);
}

static void cut_specials(const struct tokenizer *t, struct bytes text, bool special, struct pieces *pieces) {
    uint8_t *present = mem_alloc((size_t)t->n_specials + 1);
    add_piece(pieces, text, -1);
    if (mark_present(t, text, special, present)) {
        struct pieces other = {NULL, 0, 0};
        for (int32_t i = 0; i < t->n_specials; i++) {
            if (!present[i])
                continue;
            other.n = 0;
            for (size_t k = 0; k < pieces->n; k++)
                cut_special(&other, &pieces->p[k], &t->specials[i]);
            struct pieces swap = *pieces;
            *pieces = other;
            other = swap;
        }
        free(other.p);
    }
    free(present);
}

// ---- text to ids -----------------------------------------------------------------------------------------

enum status tokenizer_append(const struct tokenizer *tokenizer, struct bytes text, bool special, int32_t *ids, size_t cap,
                             size_t *n, struct err *err) {
    if (text.n > MAX_TEXT_BYTES)
        return err_set(err, TOO_LARGE, "text of %zu bytes; at most %d are tokenized", text.n, MAX_TEXT_BYTES);
    struct pieces pieces = {NULL, 0, 0};
    struct speller speller = {.ids = ids, .cap = cap, .n = n};
    enum status status = OK;
    size_t n_before = *n;
    cut_specials(tokenizer, text, special, &pieces);
    for (size_t i = 0; i < pieces.n && status == OK && !speller.full; i++) {
        if (pieces.p[i].id >= 0)
            emit(&speller, pieces.p[i].id);
        else
            status = spell_text(tokenizer, &speller, pieces.p[i].text, err);
    }
    free(pieces.p);
    free(speller.nodes);
    free(speller.heap);
    if (status == OK && speller.full)
        status = err_set(err, TOO_LARGE, "text of %zu bytes is more than the %zu tokens that fit", text.n, cap);
    if (status != OK)
        *n = n_before;
    return status;
}

enum status tokenizer_encode(const struct tokenizer *tokenizer, struct bytes text, bool special, int32_t *ids, size_t cap,
                             size_t *n, struct err *err) {
    size_t count = 0;
    if (tokenizer->add_bos) {
        if (cap == 0)
            return err_set(err, TOO_LARGE, "no room for a token");
        ids[count++] = tokenizer->bos;
    }
    enum status status = tokenizer_append(tokenizer, text, special, ids, cap, &count, err);
    if (status == OK)
        *n = count;
    return status;
}
