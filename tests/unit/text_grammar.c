// text_grammar.c - grammars followed byte by byte: what each accepts and refuses, masks against
// every token tried alone, going back, forgetting, and what is refused when it is made.
#include "../../engine/text/matcher.h"
#include "check.h"
#include "grammar_fixture.h"

static struct grammar *gbnf(const char *text)
{
    struct grammar *g = NULL;
    struct err err = {0};
    if (!CHECK(grammar_compile_gbnf(&g, bytes_of(text), &err) == OK))
        fprintf(stderr, "    %s: %s\n", text, err.text);
    return g;
}

static void test_gbnf(void)
{
    check_texts(gbnf("root ::= \"a\" b* # comment\nb ::= [x-z] | \"-\"\n"),
                TEXTS("a", "ax", "ay-z"), TEXTS("", "b", "a-w", "aa"));
    check_texts(gbnf("root ::= (\"a\" | \"b\"\n)+ \"c\"?"), TEXTS("a", "abab", "bc"),
                TEXTS("c", "acc"));
    check_texts(gbnf("root ::= \"x\"{2,3} [^a]{1}"), TEXTS("xxb", "xxx", "xxx\xc3\xa9"),
                TEXTS("xx", "xb", "xxxxx", "xxa"));
    check_texts(gbnf("root ::= \"ab\"{2,}\n"), TEXTS("abab", "ababab"), TEXTS("ab", "aba"));
    check_texts(gbnf("root ::= \"\\n\\x41\\u00e9\\\"\" ."), TEXTS("\nA\xc3\xa9\"?"),
                TEXTS("\nA\xc3\xa9\""));
    // nested, ambiguous, recursive to the right, empty in the middle
    check_texts(gbnf("root ::= \"(\" root \")\" | \"\""), TEXTS("", "()", "((()))"),
                TEXTS("(", "())"));
    check_texts(gbnf("root ::= a a a\na ::= \"x\" a | \"x\" | \"\""),
                TEXTS("", "x", "xxx", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"), TEXTS("y", "xy"));
    check_texts(gbnf("root ::= e \"!\" c\ne ::= m | \"\"\nm ::= e2 \"?\"\ne2 ::= \"\"\nc ::= \"\""),
                TEXTS("!", "?!"), TEXTS("", "?", "?\?!"));
    check_texts(gbnf("root ::= s\ns ::= \"a\" s \"a\" | \"b\" s \"b\" | \"\""),
                TEXTS("abba", "aa", "abaaba"), TEXTS("ab", "aba"));
    // a part that can never end is cut off before anything is chosen
    check_texts(gbnf("root ::= \"a\" | \"b\" endless\nendless ::= \"x\" endless"), TEXTS("a"),
                TEXTS("b"));
    struct grammar *g = gbnf("root ::= \"a\" | \"b\" endless\nendless ::= \"x\" endless");
    CHECK(try_text(g, "b") == WRONG);
    grammar_close(g);
}

static void check_refused(const char *text, const char *word)
{
    struct grammar *g = NULL;
    struct err err = {0};
    if (!CHECK(grammar_compile_gbnf(&g, bytes_of(text), &err) != OK && strstr(err.text, word)))
        fprintf(stderr, "    %s: %s\n", text, err.text);
}

static void test_refused(void)
{
    check_refused("", "root");
    check_refused("root ::= a", "'a'");
    check_refused("root ::= root \"x\" | \"y\"", "left recursion");
    check_refused("root ::= a \"x\"\na ::= b? root | \"y\"\nb ::= \"b\"", "left recursion");
    check_refused("root ::= \"x\nb", "not closed");
    check_refused("root ::= \"a\"\n\nroot ::= \"b\"", "line 3");
    check_refused("root ::= [z-a]", "backwards");
    check_refused("root ::= (\"a\"", "group");
    check_refused("root ::= \"a\"{3,2}", "backwards");
    check_refused("root ::= <think>", "tokens");
    check_refused("root ::= x\nx ::= \"a\" x", "no text");
    check_refused("root ::= a{9999}\na ::= b{9999}\nb ::= ([a-z] [^a] .){9999} | b2{9999}\n"
                  "b2 ::= (\"x\"{9999} \"y\"{9999}){9999} (\"z\"{9999}){9999} (\"z\"{9999}){9999}"
                  "(\"z\"{9999}){9999}(\"z\"{9999}){9999}(\"z\"{9999}){9999}(\"z\"{9999}){9999}"
                  "(\"z\"{9999}){9999}(\"z\"{9999}){9999}(\"z\"{9999}){9999}(\"z\"{9999}){9999}"
                  "(\"z\"{9999}){9999}(\"z\"{9999}){9999}(\"z\"{9999}){9999}(\"z\"{9999}){9999}"
                  "(\"z\"{9999}){9999}(\"z\"{9999}){9999}(\"z\"{9999}){9999}(\"z\"{9999}){9999}",
                  "too large");
}

static struct grammar *regex(const char *text)
{
    struct grammar *g = NULL;
    struct err err = {0};
    if (!CHECK(grammar_compile_regex(&g, bytes_of(text), &err) == OK))
        fprintf(stderr, "    %s: %s\n", text, err.text);
    return g;
}

static void test_regex(void)
{
    check_texts(regex("^a+b?$"), TEXTS("a", "aab"), TEXTS("", "b", "abb", "ca"));
    check_texts(regex("(ab|c){2}\\d"), TEXTS("abc1", "cc0", "abab9"), TEXTS("ab1", "ccc1"));
    check_texts(regex("[^a-c\\d]+?"), TEXTS("xyz", "\xc3\xa9"), TEXTS("a", "x1"));
    check_texts(regex("(^a|b$|c)x?"), TEXTS("a", "b", "c", "ax", "cx"), TEXTS("bx", "d"));
    check_texts(regex("(?:a{0}b){2,}"), TEXTS("bb", "bbb"), TEXTS("b", "ab"));
    check_texts(regex("\\u00e9\\x41\\.\\S[\\]\\-]"),
                TEXTS("\xc3\xa9"
                      "A.x]",
                      "\xc3\xa9"
                      "A.?-"),
                TEXTS("\xc3\xa9"
                      "A. ]"));
    check_texts(regex("((a*)*)*b"), TEXTS("b", "aaab"), TEXTS("a", "ba"));
    check_texts(regex("a{,2}"), TEXTS("a{,2}"), TEXTS("", "aa"));
    static const char *const refused[] = {
        "(?=a)", "(?<!a)", "\\bx",   "(a)\\1",   "\\p{L}",          "(a", "a)",
        "*",     "[z-a]",  "a{2,1}", "a{20000}", "(a{1000}){1000}", "[a", "\\"};
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        struct grammar *g = NULL;
        struct err err = {0};
        if (!CHECK(grammar_compile_regex(&g, bytes_of(refused[i]), &err) != OK && err.text[0]))
            fprintf(stderr, "    %s\n", refused[i]);
    }
}

static void test_json(void)
{
    struct grammar *g = NULL;
    struct err err = {0};
    CHECK(grammar_compile_json(&g, &err) == OK);
    check_texts(g,
                TEXTS("{}", "{\"a\": [1, -2.5e+3, true, null, {\"b\":\"\\u00e9\\n\xc3\xa9\"}]}",
                      "{\n  \"a\": \"\\ud83d\\ude00\"\n}", " {\"\":0}",
                      "{\"a\":{},\"b\":[[],[{}]]}"),
                TEXTS("", "[]", "{a:1}", "{\"a\":01}", "{\"a\":1,}", "{\"a\":\"\\ud83d\"}",
                      "{\"a\":\"\n\"}", "{\"a\" :1}", "{}}", "{\"a\":\"\xff\"}", "{\"a\":.5}",
                      "{\"a\":\"\xed\xa0\x80\"}"));
    struct bytes choices[] = {bytes_of("yes"), bytes_of("no"), bytes_of("nothing")};
    CHECK(grammar_compile_choices(&g, choices, 3, &err) == OK);
    CHECK(try_text(g, "noth") == PART && try_text(g, "no") == WHOLE);
    check_texts(g, TEXTS("yes", "no", "nothing"), TEXTS("", "n", "yesno", "maybe"));
    CHECK(grammar_compile_choices(&g, NULL, 0, &err) == BAD_INPUT);
}

// The mask's own oracle: every token tried alone. Long walks, so that places are forgotten.
static void test_masks(void)
{
    static const char *const texts[] = {
        "{",     "}",    "[",   "]",    "\"",       ":",       ",",        " ",      "\n",
        "a",     "ab",   "abc", "1",    "12",       "-",       ".",        "e",      "true",
        "false", "null", "tr",  "ue",   "{\"",      "\":",     "\"a\"",    "\", \"", "}}",
        "]}",    "\\",   "\\n", "\\u0", "\xc3",     "\xa9",    "\xc3\xa9", "a\xc3",  "\xed\xa0",
        "\": [", "a",    "  ",  "\"}",  "\xf0\x9f", "\x98\x80"};
    struct tokenizer *t = vocabulary(texts, COUNT_OF(texts));
    struct grammar *g = NULL;
    struct err err = {0};
    CHECK(grammar_compile_json(&g, &err) == OK);
    uint32_t random = 1, n_different = 0;
    for (int round = 0; round < 60; round++) {
        struct matcher *m;
        matcher_open(&m, g, t);
        for (int step = 0; step < 300 && !matcher_must_end(m); step++) {
            uint32_t bits[8] = {0};
            int32_t allowed[64], n = 0;
            CHECK(matcher_mask(m, bits, &err) == OK);
            for (int32_t id = 0; id < t->n_vocab; id++) {
                bool alone = matcher_allows(m, id), masked = bits[id / 32] >> (id % 32) & 1;
                n_different += alone != masked;
                if (alone && !tokenizer_is_end(t, id))
                    allowed[n++] = id;
            }
            if (n == 0)
                break;
            random = random * 1664525u + 1013904223u;
            CHECK(matcher_accept(m, allowed[(random >> 8) % (uint32_t)n]));
            if (step % 7 == 6) { // everything made anew
                uint32_t before[8], after[8];
                CHECK(matcher_mask(m, before, &err) == OK);
                matcher_forget(m, NULL, 0);
                CHECK(matcher_mask(m, after, &err) == OK);
                CHECK(memcmp(before, after, sizeof(uint32_t) * ((COUNT_OF(texts) + 32) / 32)) == 0);
            }
        }
        matcher_close(m);
    }
    CHECK(n_different == 0);
    grammar_close(g);
    vocabulary_close(t);
}

// An answer of a million bytes, deep and long: memory stays within its caps.
static void test_bounds(void)
{
    struct grammar *g = NULL;
    struct err err = {0};
    struct matcher *m;
    CHECK(grammar_compile_json(&g, &err) == OK);
    matcher_open(&m, g, bytes_only);
    CHECK(matcher_accept_bytes(m, bytes_of("{\"a\":")));
    bool good = true;
    for (int i = 0; i < 20000; i++)
        good = good && matcher_accept_bytes(m, bytes_of("["));
    CHECK(good && m->places.n_sets <= PLACES_MOST + 100);
    for (int i = 0; i < 20000; i++)
        good = good && matcher_accept_bytes(m, bytes_of(i == 0 ? "1]" : "]"));
    CHECK(good && !matcher_may_end(m));
    CHECK(matcher_accept_bytes(m, bytes_of("}")) && matcher_must_end(m));
    matcher_close(m);
    grammar_close(g);
    // as ambiguous as can be: it is followed, or given up, and soon
    g = gbnf("root ::= a\na ::= (\"x\" | \"xx\" | \"x\" a | a2)*\na2 ::= \"x\" (a | \"y\") a a");
    matcher_open(&m, g, bytes_only);
    for (int i = 0; i < 200; i++)
        (void)matcher_accept_bytes(m, bytes_of("x"));
    matcher_close(m);
    grammar_close(g);
}

// The texts of n tokens of one byte, with a mask before each, as an engine does at worst; how many
// of them came before the matcher gave up.
static int follow(const struct grammar *g, const char *text, int n, uint64_t *work, struct err *err)
{
    struct matcher *m;
    const size_t n_text = strlen(text);
    int i = 0;
    *work = 0;
    matcher_open(&m, g, bytes_only);
    for (; i < n; i++) {
        uint32_t bits[8];
        const uint64_t before = m->work;
        if (matcher_mask(m, bits, err) != OK)
            break;
        *work += before - m->work;
        CHECK(bits[(text[(size_t)i % n_text] - 1) / 32] >> (text[(size_t)i % n_text] - 1) % 32 & 1);
        CHECK(
            matcher_accept_bytes(m, (struct bytes){(const uint8_t *)text + (size_t)i % n_text, 1}));
    }
    CHECK(!m->lost || i < n);
    matcher_close(m);
    return i;
}

// A generation whose grammar grows dearer with every token ends, and says why; one that does not is
// followed as long as it likes, though its stack is deep.
static void test_work(void)
{
    static const char *const dear[] = {
        "root ::= s\ns ::= \"x\" s s s | \"x\" s s | \"x\" s | \"x\"",
        "root ::= a*\na ::= \"x\" | \"x\" a | \"x\" a a",
    };
    struct grammar *g = NULL;
    struct err err = {0};
    uint64_t work;
    for (size_t i = 0; i < COUNT_OF(dear); i++) {
        g = gbnf(dear[i]);
        const int n = follow(g, "x", 900, &work, &err);
        CHECK(n > 50 && n < 900 && strstr(err.text, "too many ways"));
        CHECK(work <= (uint64_t)WORK_BURST + (uint64_t)n * WORK_EACH);
        grammar_close(g);
    }
    CHECK(grammar_compile_json(&g, &err) == OK);
    CHECK(follow(g, "{\"a\":", 8000, &work, &err) == 8000);
    // with nothing left no question is answered, but what was allowed can be accepted
    struct matcher *m;
    matcher_open(&m, g, bytes_only);
    CHECK(matcher_accept_bytes(m, bytes_of("{")) && matcher_allows(m, '"' - 1));
    matcher_forget(m, NULL, 0);
    m->work = 0;
    CHECK(!matcher_allows(m, '"' - 1) && matcher_gave_up(m, &err) == BAD_INPUT);
    CHECK(matcher_accept_bytes(m, bytes_of("\"")) && matcher_gave_up(m, &err) == OK);
    CHECK(matcher_allows(m, 'a' - 1));
    matcher_close(m);
    grammar_close(g);
    CHECK(grammar_compile_regex(&g, bytes_of("(a|b)*a(a|b){300}"), &err) == OK);
    CHECK(follow(g, "abbaabaa", 2000, &work, &err) == 2000);
    grammar_close(g);
}

// "begin" ("w0" tail | "w1" tail | ...): n alternatives.
static enum status many(struct grammar **out, const char *begin, int n, const char *tail,
                        struct err *err)
{
    struct buf text;
    char part[64];
    buf_init(&text, SIZE_MAX);
    snprintf(part, sizeof(part), "root ::= \"%s\" (", begin);
    CHECK(buf_add(&text, part, strlen(part)) == OK);
    for (int i = 0; i < n; i++) {
        snprintf(part, sizeof(part), "%s\"w%d\"%s", i ? " | " : "", i, tail);
        CHECK(buf_add(&text, part, strlen(part)) == OK);
    }
    CHECK(buf_add(&text, ")\nx ::= [0-9]", 13) == OK);
    const enum status status = grammar_compile_gbnf(out, buf_view(&text), err);
    buf_free(&text);
    return status;
}

// A list of words is followed however long it is, wherever it stands; what a matcher would give up
// is refused when it is made.
static void test_width(void)
{
    struct grammar *g = NULL;
    struct err err = {0};
    uint64_t work;
    CHECK(many(&g, "", 12000, "", &err) == OK);
    CHECK(follow(g, "w1199", 5, &work, &err) == 5);
    check_texts(g, TEXTS("w0", "w10", "w11999"), TEXTS("", "w", "w12000", "w00"));
    CHECK(many(&g, "Hello ", 12000, "", &err) == OK);
    check_texts(g, TEXTS("Hello w7", "Hello w11999"), TEXTS("Hello ", "w1", "Hello w12000"));
    CHECK(many(&g, "", 4000, " x", &err) == OK);
    CHECK(follow(g, "w3999", 5, &work, &err) == 5);
    check_texts(g, TEXTS("w07", "w39990"), TEXTS("w1", "w4000x"));
    CHECK(many(&g, "Hello ", 12000, " x", &err) == TOO_LARGE && strstr(err.text, "20000"));
    check_texts(
        gbnf("root ::= (\"\" | \"a\" | \"ab\" | \"ab\" | \"a\" x)* \"!\"\nx ::= \"\" | \"y\""),
        TEXTS("!", "ab!", "aayab!"), TEXTS("", "b!", "aby!"));
    check_refused("root ::= \"\\ud800\" | \"a\"", "surrogate");
}

int main(void)
{
    open_bytes();
    test_gbnf();
    test_refused();
    test_regex();
    test_json();
    test_masks();
    test_bounds();
    test_work();
    test_width();
    vocabulary_close(bytes_only);
    return check_done("text_grammar");
}
