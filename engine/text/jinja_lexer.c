// jinja_lexer.c - a template's text into tokens, with Jinja2's rules for white space.
//
// As transformers sets it up: the newline behind a block or a comment goes (trim_blocks), so do
// blanks in front of one that begins a line (lstrip_blocks); `-` takes all white space on its side,
// `+` keeps it. A newline that ends the template goes too, and \r\n and \r count as \n.
#include "jinja_inside.h"
#include "inside.h"

#include <stdlib.h>

struct lexer {
    struct arena *arena;
    struct err *err;
    enum status status;
    struct bytes text;
    size_t at;
    int32_t line;
    bool line_starts;          // what was read last ended in a newline, or nothing was read
    char closes[JINJA_NESTED]; // of brackets that are open
    int n_open;
    struct lexeme *tokens;
    size_t n, allocated;
};

static void refuse(struct lexer *l, const char *what)
{
    if (l->status == OK)
        l->status = err_set(l->err, BAD_INPUT, "line %d: %s", l->line, what);
}

static struct lexeme *add(struct lexer *l, enum token_kind kind, struct bytes text)
{
    static struct lexeme nowhere;
    if (l->n == l->allocated) {
        size_t n = l->allocated ? 2 * l->allocated : 256;
        struct lexeme *tokens = arena_take(l->arena, n * sizeof(*tokens));
        if (!tokens) {
            if (l->status == OK)
                l->status = err_set(l->err, TOO_LARGE, "line %d: too many parts", l->line);
            return &nowhere;
        }
        if (l->n > 0)
            memcpy(tokens, l->tokens, l->n * sizeof(*tokens));
        l->tokens = tokens;
        l->allocated = n;
    }
    l->tokens[l->n] = (struct lexeme){.kind = kind, .line = l->line, .text = text};
    return &l->tokens[l->n++];
}

// ---- places -------------------------------------------------------------------------------------

static bool here(const struct lexer *l, size_t at, const char *text)
{
    size_t n = strlen(text);
    return at <= l->text.n && l->text.n - at >= n && memcmp(l->text.p + at, text, n) == 0;
}

static void go(struct lexer *l, size_t to)
{
    for (; l->at < to; l->at++)
        l->line += l->text.p[l->at] == '\n';
    l->line_starts = to > 0 && l->text.p[to - 1] == '\n';
}

size_t jinja_space(struct bytes text, size_t at)
{
    uint32_t point;
    size_t n = unicode_decode(text.p + at, text.n - at, &point);
    bool space = (point >= 9 && point <= 13) || (point >= 0x1c && point <= 0x20) || point == 0x85 ||
                 point == 0xa0 || point == 0x1680 || (point >= 0x2000 && point <= 0x200a) ||
                 point == 0x2028 || point == 0x2029 || point == 0x202f || point == 0x205f ||
                 point == 0x3000;
    return n > 0 && space ? n : 0;
}

static size_t spaces(const struct lexer *l, size_t at)
{
    while (at < l->text.n) {
        size_t n = jinja_space(l->text, at);
        if (n == 0)
            break;
        at += n;
    }
    return at;
}

struct bytes jinja_strip_end(struct bytes text)
{
    while (text.n > 0) {
        size_t at = text.n - 1;
        while (at > 0 && (text.p[at] & 0xc0) == 0x80)
            at--;
        if (jinja_space(text, at) != text.n - at)
            break;
        text.n = at;
    }
    return text;
}

// Where the end of a tag at `at` leads to, behind what it takes along; 0: there is none. mark: "%}"
static size_t tag_end(const struct lexer *l, size_t at, const char *mark, bool trims)
{
    bool plus = here(l, at, "+") && trims, minus = here(l, at, "-");
    size_t from = at + (plus || minus);
    if (!here(l, from, mark))
        return 0;
    from += 2;
    if (minus)
        return spaces(l, from);
    return trims && !plus && here(l, from, "\n") ? from + 1 : from;
}

// ---- between the tags ---------------------------------------------------------------------------

// The text in front of a tag whose sign is `sign`.
static void add_data(struct lexer *l, size_t from, size_t to, char sign, bool strips_line)
{
    struct bytes text = {l->text.p + from, to - from};
    if (sign == '-')
        text = jinja_strip_end(text);
    else if (sign != '+' && strips_line) {
        size_t line = text.n;
        while (line > 0 && text.p[line - 1] != '\n')
            line--;
        struct bytes rest = {text.p + line, text.n - line};
        if ((line > 0 || l->line_starts) && jinja_strip_end(rest).n == 0)
            text.n = line;
    }
    if (text.n > 0)
        add(l, T_DATA, text);
}

static char sign_at(const struct lexer *l, size_t at)
{
    return at < l->text.n && (l->text.p[at] == '-' || l->text.p[at] == '+') ? (char)l->text.p[at]
                                                                            : 0;
}

// `word` behind the block opening at `at`, and its end: where it leads to; 0: something else.
static size_t word_tag(const struct lexer *l, size_t at, const char *word, bool trims)
{
    size_t from = spaces(l, at + 2 + (sign_at(l, at + 2) != 0));
    if (!here(l, from, word))
        return 0;
    return tag_end(l, spaces(l, from + strlen(word)), "%}", trims);
}

static void lex_raw(struct lexer *l, size_t begin)
{
    go(l, begin);
    for (size_t at = begin; at < l->text.n; at++) {
        size_t end = here(l, at, "{%") ? word_tag(l, at, "endraw", true) : 0;
        if (end == 0)
            continue;
        add_data(l, begin, at, sign_at(l, at + 2), true);
        go(l, end);
        return;
    }
    refuse(l, "{% raw %} is not closed");
}

static void lex_comment(struct lexer *l, size_t begin)
{
    for (size_t at = begin; at < l->text.n; at++) {
        size_t end = tag_end(l, at, "#}", true);
        if (end == 0)
            continue;
        go(l, end);
        return;
    }
    refuse(l, "{# is not closed");
}

// ---- within a tag -------------------------------------------------------------------------------

static bool is_name(uint8_t c)
{
    return c == '_' || (c | 32) - 'a' < 26u || c - '0' < 10u || c >= 0x80;
}

static int digit_of(uint8_t c)
{
    return c - '0' < 10u ? c - '0' : (c | 32) - 'a' < 26u ? (c | 32) - 'a' + 10 : 99;
}

static void lex_whole(struct lexer *l, size_t from, size_t to, int base)
{
    int64_t whole = 0;
    for (size_t i = from; i < to; i++) {
        if (l->text.p[i] == '_')
            continue;
        if (__builtin_mul_overflow(whole, base, &whole) ||
            __builtin_add_overflow(whole, digit_of(l->text.p[i]), &whole)) {
            refuse(l, "a whole number of more than 63 bits");
            return;
        }
    }
    add(l, T_WHOLE, (struct bytes){l->text.p + from, to - from})->whole = whole;
}

static size_t digits(const struct lexer *l, size_t at, int base)
{
    while (at < l->text.n &&
           (digit_of(l->text.p[at]) < base ||
            (l->text.p[at] == '_' && at + 1 < l->text.n && digit_of(l->text.p[at + 1]) < base)))
        at++;
    return at;
}

static void lex_real(struct lexer *l, size_t from, size_t to)
{
    char text[64];
    size_t n = 0;
    for (size_t i = from; i < to && n < sizeof(text) - 1; i++)
        if (l->text.p[i] != '_')
            text[n++] = (char)l->text.p[i];
    text[n] = 0;
    add(l, T_REAL, (struct bytes){l->text.p + from, to - from})->real = strtod(text, NULL);
}

static void lex_number(struct lexer *l)
{
    size_t from = l->at, to = digits(l, from, 10);
    uint8_t letter = from + 1 < l->text.n && l->text.p[from] == '0' ? l->text.p[from + 1] | 32 : 0;
    int base = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 10;
    if (base != 10) {
        to = digits(l, from + 2, base);
        lex_whole(l, from + 2, to, base);
        go(l, to);
        return;
    }
    size_t end = to;
    if (here(l, to, ".") && to + 1 < l->text.n && l->text.p[to + 1] - '0' < 10u)
        end = digits(l, to + 1, 10);
    if (end < l->text.n && (l->text.p[end] | 32) == 'e') {
        size_t power = end + 1 + (sign_at(l, end + 1) != 0);
        if (digits(l, power, 10) > power)
            end = digits(l, power, 10);
    }
    if (end > to)
        lex_real(l, from, end);
    else
        lex_whole(l, from, to, 10);
    go(l, end);
}

// The character that \x41, \u0041, \U00000041 at `at` (of the letter) means.
static size_t hex_escape(const struct lexer *l, size_t at, uint32_t *point)
{
    size_t n = l->text.p[at] == 'x' ? 2 : l->text.p[at] == 'u' ? 4 : 8;
    *point = 0;
    for (size_t i = 1; i <= n; i++) {
        int digit = at + i < l->text.n ? digit_of(l->text.p[at + i]) : 99;
        if (digit >= 16)
            return 0;
        *point = *point << 4 | (uint32_t)digit;
    }
    if (*point > 0x10ffff || (*point >= 0xd800 && *point < 0xe000))
        *point = 0xfffd;
    return n + 1;
}

// One escape at `at`, behind its backslash; returns its bytes in the source.
static size_t escape(struct lexer *l, size_t at, uint8_t *out, size_t *n)
{
    static const char letters[] = "abfnrtv\\'\"", meant[] = "\a\b\f\n\r\t\v\\'\"";
    uint8_t c = l->text.p[at];
    uint32_t point = 0;
    const char *letter = c ? strchr(letters, c) : NULL;
    if (letter) {
        out[(*n)++] = (uint8_t)meant[letter - letters];
        return 1;
    }
    if (c == '\n')
        return 1;
    if (c == 'x' || c == 'u' || c == 'U') {
        size_t used = hex_escape(l, at, &point);
        if (used == 0)
            refuse(l, "an escape in a string lacks hexadecimal digits");
        *n += unicode_encode(out + *n, point);
        return used ? used : 1;
    }
    size_t used = 0;
    while (used < 3 && at + used < l->text.n && l->text.p[at + used] - '0' < 8u)
        point = point * 8 + (l->text.p[at + used++] - '0');
    if (used > 0) {
        *n += unicode_encode(out + *n, point);
        return used;
    }
    out[(*n)++] = '\\';
    return 0;
}

static void lex_text(struct lexer *l)
{
    uint8_t quote = l->text.p[l->at];
    size_t end = l->at + 1, n = 0;
    while (end < l->text.n && l->text.p[end] != quote)
        end += l->text.p[end] == '\\' ? 2 : 1;
    if (end >= l->text.n) {
        refuse(l, "a string is not closed");
        return;
    }
    uint8_t *text = arena_take(l->arena, end - l->at + 4);
    if (!text) {
        refuse(l, "the strings are too long");
        return;
    }
    for (size_t i = l->at + 1; i < end;)
        if (l->text.p[i] == '\\')
            i += 1 + escape(l, i + 1, text, &n);
        else
            text[n++] = l->text.p[i++];
    add(l, T_TEXT, (struct bytes){text, n});
    go(l, end + 1);
}

static void lex_operator(struct lexer *l)
{
    static const char *const operators[] = {"**", "//", "==", "!=", ">=", "<=", "+", "-", "/",
                                            "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                            ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
    static const char opens[] = "([{", closes[] = ")]}";
    uint8_t c = l->text.p[l->at];
    const char *open = c ? strchr(opens, c) : NULL;
    size_t i = 0;
    while (i < COUNT_OF(operators) && !here(l, l->at, operators[i]))
        i++;
    if (i == COUNT_OF(operators)) {
        refuse(l, "a character that is no part of an expression");
        return;
    }
    if (open && l->n_open == JINJA_NESTED)
        refuse(l, "too many brackets within each other");
    else if (open)
        l->closes[l->n_open++] = closes[open - opens];
    else if (strchr(closes, c) && (l->n_open == 0 || l->closes[--l->n_open] != (char)c))
        refuse(l, "a closing bracket that nothing opened");
    add(l, T_OPERATOR, bytes_of(operators[i]));
    go(l, l->at + strlen(operators[i]));
}

static void lex_tag(struct lexer *l, bool block)
{
    add(l, block ? T_OPEN_BLOCK : T_OPEN_VARIABLE, bytes_of(block ? "{%" : "{{"));
    int32_t began = l->line;
    l->n_open = 0;
    go(l, l->at + 2 + (sign_at(l, l->at + 2) != 0));
    while (l->status == OK) {
        size_t to = spaces(l, l->at);
        if (to > l->at)
            go(l, to);
        size_t end = l->n_open ? 0 : tag_end(l, l->at, block ? "%}" : "}}", block);
        if (end > 0) {
            add(l, block ? T_CLOSE_BLOCK : T_CLOSE_VARIABLE, bytes_of(block ? "%}" : "}}"));
            go(l, end);
            return;
        }
        if (l->at >= l->text.n) {
            l->line = began;
            refuse(l, "a tag is not closed");
        } else if (l->text.p[l->at] - '0' < 10u)
            lex_number(l);
        else if (is_name(l->text.p[l->at])) {
            for (to = l->at; to < l->text.n && is_name(l->text.p[to]);)
                to++;
            add(l, T_NAME, (struct bytes){l->text.p + l->at, to - l->at});
            go(l, to);
        } else if (l->text.p[l->at] == '\'' || l->text.p[l->at] == '"')
            lex_text(l);
        else
            lex_operator(l);
    }
}

// ---- the whole ----------------------------------------------------------------------------------

// \r\n and \r become \n, and one at the end goes.
static struct bytes plain_lines(struct arena *arena, struct bytes source)
{
    uint8_t *text = arena_take(arena, source.n + 1);
    size_t n = 0;
    for (size_t i = 0; text && i < source.n; i++) {
        bool both = source.p[i] == '\r' && i + 1 < source.n && source.p[i + 1] == '\n';
        if (!both)
            text[n++] = source.p[i] == '\r' ? '\n' : source.p[i];
    }
    return (struct bytes){text, n > 0 && text[n - 1] == '\n' ? n - 1 : n};
}

enum status jinja_lex(struct lexeme **out, size_t *n, struct arena *arena, struct bytes source,
                      struct err *err)
{
    struct lexer l = {.arena = arena, .err = err, .line = 1, .line_starts = true};
    l.text = plain_lines(arena, source);
    if (!l.text.p)
        return err_set(err, TOO_LARGE, "the template is too long");
    while (l.status == OK && l.at < l.text.n) {
        size_t at = l.at;
        while (at < l.text.n && !here(&l, at, "{{") && !here(&l, at, "{%") && !here(&l, at, "{#"))
            at++;
        bool tag = at < l.text.n;
        add_data(&l, l.at, at, tag ? sign_at(&l, at + 2) : '+', tag && l.text.p[at + 1] != '{');
        go(&l, at);
        if (!tag)
            break;
        size_t raw = l.text.p[at + 1] == '%' ? word_tag(&l, at, "raw", false) : 0;
        if (raw)
            lex_raw(&l, raw);
        else if (l.text.p[at + 1] == '#')
            lex_comment(&l, at + 2 + (sign_at(&l, at + 2) != 0));
        else
            lex_tag(&l, l.text.p[at + 1] == '%');
    }
    add(&l, T_END, bytes_of("the end of the template"));
    *out = l.tokens;
    *n = l.n;
    return l.status;
}
