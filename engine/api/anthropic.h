// anthropic.h - what the files of Anthropic's dialect share: what one request says until all of its
// fields were read, since a tool may depend on a message, and the system prompt comes in a field of
// its own.
#pragma once

#include "fields.h"

struct anthropic_ask {        // on the job's arena
    struct message *messages; // [1 + n_messages]; the first is for the system prompt
    size_t n_messages;
    bool has_messages, has_thinking;
    struct bytes system;  // n == 0: none
    struct value *tools;  // [n_tools], as templates take them
    bool *deferred;       // [n_tools]: told only where a message brings it in
    struct bytes *called; // [n_called] names that messages bring in
    size_t n_tools, n_called;
    enum said thinks; // what `thinking` says; UNSAID: as the model likes
};

// anthropic_turns.c
field_reader read_anthropic_messages, read_anthropic_system;
// anthropic_signature.c: what stands beside a thought and comes back with it. It holds the thought
// where that is not told, so that the model has it in the next turn.
MUST_USE enum status signature_write(struct buf *out, struct bytes thought);
// The thought in it, on the arena; n == 0: it holds none. p == NULL: no room.
struct bytes signature_read(struct arena *arena, struct bytes signature);
extern const struct writer anthropic_writer, anthropic_count_writer; // anthropic_write.c
