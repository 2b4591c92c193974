// lines.h - lines that a person writes at a terminal: edited, completed, and remembered for the
// next time. One person, one terminal: what the library holds is the program's.
#pragma once

#include "base/base.h"

enum {
    LINES_KEPT = 200,             // entries of the history
    LINES_FILE_BYTES = 256 << 10, // and what they may take in its file
    LINES_ENTRY_BYTES = 16 << 10, // longer ones are remembered until the end alone
};

// What Tab completes where a line begins with it.
struct lines_word {
    const char *name, *what;
};

// Whether stdin and stdout are a terminal on which a line can be edited.
bool lines_can(void);
// Takes up the history of the file, where there is one. `history`: "" keeps none; copied. `words`
// end with a name of NULL and stay the caller's. What cannot be read or written is logged once, and
// left as it is. From here on, what is typed between two lines waits for the next one, unseen; a
// signal that ends the program, and die(), give the terminal back first.
void lines_open(const char *history, const struct lines_word *words);
void lines_close(void); // the terminal is as it was before lines_open
// A line (or several, with '\n' between them) into *out, which the caller has buf_init'ed and is
// emptied here: "" where it was cleared by Ctrl-C. CLOSED: Ctrl-D on an empty line, or the terminal
// is gone. TOO_LARGE: over the cap of *out.
MUST_USE enum status lines_read(struct buf *out);

// The history's file: an entry a line, the last one last, '\n' and '\\' within it as "\n" and "\\".
// Appends `entry` to what the file holds and leaves out the oldest until it fits; a line that says
// nothing or the same as the last one, begins with a space or is too long is not kept. `file` is
// buf_init'ed.
MUST_USE enum status lines_history_add(struct buf *file, struct bytes entry);
// The entry that begins at *at, into *out (emptied here), and *at behind it. False: there is none.
bool lines_history_next(struct bytes file, size_t *at, struct buf *out);
