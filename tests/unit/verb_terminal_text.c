// verb_terminal_text.c - Markdown for a terminal: what each mark becomes, that a text comes out the
// same however it is cut into pieces, and that nothing of it is lost.
#include "../../engine/verb/terminal_text.h"
#include "check.h"

#include <string.h>

static void shown(struct buf *out, const char *text, size_t cut)
{
    struct terminal_text t = {.n_held = 0};
    const struct bytes all = bytes_of(text);
    buf_init(out, 1 << 16);
    for (size_t at = 0; at < all.n; at += cut) {
        const size_t n = all.n - at < cut ? all.n - at : cut;
        CHECK(terminal_text_add(&t, out, (struct bytes){all.p + at, n}) == OK);
        CHECK(t.n_held < TERMINAL_TEXT_HELD);
    }
    CHECK(terminal_text_end(&t, out) == OK);
}

static const struct {
    const char *text, *shown;
} vectors[] = {
    {"plain", "plain"},
    {"a **b** c", "a \x1b[0m\x1b[1mb\x1b[0m c"},
    {"a `b**c` d", "a \x1b[0m\x1b[36mb**c\x1b[0m d"},
    {"## An owl\nflies", "\x1b[0m\x1b[1mAn owl\x1b[0m\nflies"},
    {"#hash", "#hash"},
    {"####### seven", "####### seven"},
    {"- one\n* two\n  + three", "• one\n• two\n  • three"},
    {"-5 * 3*2 -", "-5 * 3*2 -"},
    {"**b** it", "\x1b[0m\x1b[1mb\x1b[0m it"},
    {"> said", "\x1b[2m│ \x1b[0msaid"},
    {"**open\nnext", "\x1b[0m\x1b[1mopen\x1b[0m\nnext"},
    {"a*", "a*"},
    {"a*\nb", "a*\nb"},
    {"*", "*"},
    {"```c\n**x** # y\n```\nz", "\x1b[0m\x1b[2m```c\x1b[0m\n\x1b[0m\x1b[36m**x** # y\x1b[0m\n"
                                "\x1b[0m\x1b[36m\x1b[0m\x1b[2m```\x1b[0m\nz"},
    {"``a``", "\x1b[0m\x1b[36m\x1b[0ma\x1b[0m\x1b[36m\x1b[0m"},
};

// Without escapes and marks.
static size_t letters(const char *text, size_t n, char *out)
{
    size_t n_out = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\x1b') {
            while (i < n && text[i] != 'm')
                i++;
            continue;
        }
        const char c = text[i];
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '\n')
            out[n_out++] = c;
    }
    return n_out;
}

static void pieces(void)
{
    for (size_t i = 0; i < COUNT_OF(vectors); i++)
        for (size_t cut = 1; cut <= 40; cut++) {
            struct buf out;
            shown(&out, vectors[i].text, cut);
            CHECK(bytes_equal_text(buf_view(&out), vectors[i].shown));
            buf_free(&out);
        }
}

static void anything(void)
{
    static const char ALPHABET[] = "#`~-*+> \nab1";
    char text[65], before[65], after[4096];
    uint32_t state = 1;
    for (int run = 0; run < 20000; run++) {
        struct buf out;
        for (size_t i = 0; i < 64; i++) {
            state = state * 1664525 + 1013904223;
            text[i] = ALPHABET[(state >> 16) % (sizeof(ALPHABET) - 1)];
        }
        text[64] = 0;
        shown(&out, text, 1 + (size_t)run % 9);
        CHECK(out.n < sizeof(after));
        const size_t n = letters(text, 64, before), m = letters((const char *)out.p, out.n, after);
        CHECK(n == m && memcmp(before, after, n) == 0);
        buf_free(&out);
    }
}

int main(void)
{
    pieces();
    anything();
    return check_done("verb_terminal_text");
}
