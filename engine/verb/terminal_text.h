// terminal_text.h - Markdown as it comes, a piece at a time, for a terminal that knows ANSI's
// escapes: headings and **strong** words are bold, `code` has a colour, a block of code is set off,
// and points of lists are points.
#pragma once

#include "base/base.h"

// Nothing of a text is lost: what is not told apart goes out as it is. At most so many bytes are
// held back until what follows says what they are.
enum { TERMINAL_TEXT_HELD = 8 };
struct terminal_text { // zeros: at the start of a text
    char held[TERMINAL_TEXT_HELD];
    size_t n_held;
    bool mid_line, heading, fence, fence_line, strong, code;
};
// Appends what is to be printed of the next piece, whose control characters are gone already.
MUST_USE enum status terminal_text_add(struct terminal_text *t, struct buf *out,
                                       struct bytes piece);
// Appends what was held back, and whatever ends the colours; then a new text may begin.
MUST_USE enum status terminal_text_end(struct terminal_text *t, struct buf *out);
