// verb_lines.c - the history of `tawny chat` in its file (engine/verb/lines.c): what comes back is
// what was written, the oldest go first, and neither a foreign file nor a long entry passes a cap.
// That lines are edited as they should be is shown in a terminal (tests/api/chat.py).
#include "../../engine/verb/lines.h"
#include "check.h"

#include <stdlib.h>
#include <string.h>

static void add(struct buf *file, const char *entry)
{
    CHECK(lines_history_add(file, bytes_of(entry)) == OK);
}

static bool next_is(const struct buf *file, size_t *at, const char *wanted)
{
    struct buf entry;
    buf_init(&entry, LINES_ENTRY_BYTES);
    const bool there = lines_history_next(buf_view(file), at, &entry);
    const bool same = wanted ? there && bytes_equal_text(buf_view(&entry), wanted) : !there;
    buf_free(&entry);
    return same;
}

static void round_trip(void)
{
    static const char *const entries[] = {"one", "Grüße, 中文 🦉", "a\nb\n\nc", "C:\\new\\\\",
                                          "\\n", "/help"};
    struct buf file;
    size_t at = 0;
    buf_init(&file, LINES_FILE_BYTES);
    for (size_t i = 0; i < COUNT_OF(entries); i++) {
        add(&file, entries[i]);
        add(&file, entries[i]); // again: once is enough
    }
    for (size_t i = 0; i < COUNT_OF(entries); i++)
        CHECK(next_is(&file, &at, entries[i]));
    CHECK(next_is(&file, &at, NULL));
    CHECK(bytes_ends_in(buf_view(&file), "\na\\nb\\n\\nc\nC:\\\\new\\\\\\\\\n\\\\n\n/help\n"));
    buf_free(&file);
}

static void not_kept(void)
{
    struct buf file;
    char *longest = calloc(1, LINES_ENTRY_BYTES + 2);
    buf_init(&file, LINES_FILE_BYTES);
    add(&file, "");
    add(&file, "\n\n");
    add(&file, " a space before it");
    add(&file, "\x1b[31m");
    add(&file, "\xc2\x9b"
               "31m");
    memset(longest, 'x', LINES_ENTRY_BYTES + 1);
    add(&file, longest);
    CHECK(file.n == 0);
    longest[LINES_ENTRY_BYTES] = 0;
    add(&file, longest);
    CHECK(file.n == LINES_ENTRY_BYTES + 1);
    free(longest);
    buf_free(&file);
}

static void oldest_go(void)
{
    struct buf file;
    char entry[LINES_ENTRY_BYTES];
    size_t at = 0;
    buf_init(&file, LINES_FILE_BYTES);
    for (int i = 0; i < LINES_KEPT + 3; i++) {
        snprintf(entry, sizeof(entry), "entry %d", i);
        add(&file, entry);
    }
    CHECK(next_is(&file, &at, "entry 3"));
    memset(entry, '\\', sizeof(entry) - 1); // twice as long in the file
    entry[sizeof(entry) - 1] = 0;
    for (int i = 0; i < 40; i++) {
        entry[0] = (char)('a' + i % 2);
        add(&file, entry);
    }
    CHECK(file.n <= LINES_FILE_BYTES && file.n > LINES_FILE_BYTES / 2);
    at = 0;
    CHECK(next_is(&file, &at, entry) || (entry[0] ^= 3, at = 0, next_is(&file, &at, entry)));
    buf_free(&file);
}

// What somebody else wrote there: no end of line, none but ends of lines, too long a line.
static void foreign(void)
{
    struct buf file;
    size_t at = 0, n = 0;
    buf_init(&file, LINES_FILE_BYTES);
    CHECK(buf_add(&file, "a\\", 2) == OK);
    add(&file, "b");
    CHECK(next_is(&file, &at, "a\\") && next_is(&file, &at, "b") && next_is(&file, &at, NULL));
    buf_free(&file);
    buf_init(&file, LINES_FILE_BYTES);
    while (buf_add(&file, "\n", 1) == OK)
        n++;
    add(&file, "c");
    CHECK(n == LINES_FILE_BYTES && file.n <= LINES_KEPT + 2);
    buf_free(&file);
    buf_init(&file, LINES_FILE_BYTES);
    while (buf_add(&file, "y", 1) == OK)
        n++;
    at = 0;
    struct buf entry;
    buf_init(&entry, LINES_ENTRY_BYTES);
    CHECK(lines_history_next(buf_view(&file), &at, &entry) && entry.n == LINES_ENTRY_BYTES);
    CHECK(!lines_history_next(buf_view(&file), &at, &entry) && entry.n == 0);
    add(&file, "d");
    CHECK(bytes_equal_text(buf_view(&file), "d\n") || bytes_ends_in(buf_view(&file), "\nd\n"));
    CHECK(file.n <= LINES_FILE_BYTES);
    buf_free(&entry);
    buf_free(&file);
}

int main(void)
{
    round_trip();
    not_kept();
    oldest_go();
    foreign();
    return check_done("verb_lines");
}
