// text.h - floor 2: all that is about text and not about tensors: tokenizers, chat format, stop
// strings, and (answer.h) what a model writes taken apart into content, thinking and calls.
//
// A tokenizer only reads once it is open: its calls may come from any thread. What a file or a
// client says is trusted in nothing; the cost of a call grows with its text as n log n at most,
// whatever the vocabulary is.
#pragma once

#include "../base/base.h"
#include "answer.h"
#include "grammar.h"
#include "jinja.h"
#include "value.h"

// ---- vocabulary (vocabulary.c) ------------------------------------------------------------------

enum said { UNSAID = 0, SAID_NO, SAID_YES };

// What a model file says of its vocabulary, as plain data. Nothing of it is trusted, and nothing is
// kept: it may go away after tokenizer_open. In brackets the GGUF key after "tokenizer.ggml.".
struct vocabulary_source {
    struct bytes model;         // [model]: n == 0: not said
    struct bytes pre;           // [pre]; n == 0: not said
    struct bytes name, arch;    // general.name, general.architecture; n == 0: not said
    const struct bytes *tokens; // [tokens] [n_tokens]
    const int32_t *types;       // [token_type] [n_tokens]; NULL: not said
    const float *scores;        // [scores] [n_tokens]; NULL: not said
    const struct bytes *merges; // [merges] [n_merges]; NULL: not said
    struct bytes charsmap;      // [precompiled_charsmap]; n == 0: not said
    size_t n_tokens, n_merges;
    int64_t bos, eos, eot, eom, sep, unknown; // [bos_token_id] ...; -1: none
    int32_t ends[16];                         // [eos_token_ids] [n_ends]
    size_t n_ends;
    enum said add_bos, add_eos;              // [add_bos_token], [add_eos_token]
    enum said add_space, merge_spaces;       // [add_space_prefix], [remove_extra_whitespaces]
    enum said lowercase, strip_accents, nfc; // [normalizer.lowercase] ...
};

// ---- tokenizer (tokenizer.c) --------------------------------------------------------------------

struct tokenizer; // byte-level BPE; read-only once opened

// Makes the tokenizer. On failure the sentence names the key.
MUST_USE enum status tokenizer_open(struct tokenizer **out, const struct vocabulary_source *source,
                                    struct err *err);
void tokenizer_close(struct tokenizer *tokenizer);

// Appends the ids of `text`. special: texts of control tokens (<|im_start|> ...) in it become those
// tokens; false = they are plain text (what a client sends as content). add_bos as the file says.
// TOO_LARGE when over cap ids. Invalid UTF-8 is replaced by U+FFFD as llama.cpp does.
MUST_USE enum status tokenizer_encode(const struct tokenizer *tokenizer, struct bytes text,
                                      bool special, int32_t *ids, size_t cap, size_t *n,
                                      struct err *err);
// Appends ids without BOS; *n counts those already there.
MUST_USE enum status tokenizer_append(const struct tokenizer *tokenizer, struct bytes text,
                                      bool special, int32_t *ids, size_t cap, size_t *n,
                                      struct err *err);
// The same of a text with two authors: client [text.n] is 1 where a client wrote the byte; control
// texts count only where none of their bytes is a client's.
MUST_USE enum status tokenizer_append_written(const struct tokenizer *tokenizer, struct bytes text,
                                              const uint8_t *client, int32_t *ids, size_t cap,
                                              size_t *n, struct err *err);
int32_t tokenizer_find_special(const struct tokenizer *tokenizer,
                               const char *text); // -1 when there is none
// The bytes of one token (empty for control tokens); a view that lives as long as the tokenizer.
struct bytes tokenizer_decode(const struct tokenizer *tokenizer, int32_t id);
// The same, but of a control token its text.
struct bytes tokenizer_mark(const struct tokenizer *tokenizer, int32_t id);
bool tokenizer_is_end(const struct tokenizer *tokenizer,
                      int32_t id); // eos, eot: generation ends here
bool tokenizer_is_text(const struct tokenizer *tokenizer, int32_t id); // no control token
bool tokenizer_add_bos(const struct tokenizer *tokenizer);
int32_t tokenizer_bos(const struct tokenizer *tokenizer);
int32_t tokenizer_n_vocab(const struct tokenizer *tokenizer);
// Bytes of the longest token: text of n bytes (whole UTF-8) is n / this tokens at least.
size_t tokenizer_longest(const struct tokenizer *tokenizer);

// ---- a gap to be filled in (infill.c) -----------------------------------------------------------

struct infill_file { // one that is known beside the one with the gap
    struct bytes name, text;
};
struct infill {
    struct bytes before, behind; // the gap; all is plain text
    struct bytes begun;          // what stands in it already
    const struct infill_file *files;
    size_t n_files;
    const char *path; // of the field that asks for it: how sentences call it
};
// The whole prompt, with BOS where the file says so. UNSUPPORTED: the vocabulary has no marks for
// it. At most infill_bytes() ids.
MUST_USE enum status infill_encode(const struct tokenizer *tokenizer, const struct infill *infill,
                                   int32_t *ids, size_t cap, size_t *n, struct err *err);
uint64_t infill_bytes(const struct infill *infill);
bool infill_has_marks(const struct tokenizer *tokenizer); // else infill_encode is UNSUPPORTED

// ---- chat format (template.c) -------------------------------------------------------------------

// What is talked about, in OpenAI's shape. It lives on an arena of whoever made it.
struct conversation {
    // A list of objects: "role" (system, user, assistant, tool) and "content", texts both; where
    // given, "reasoning_content", "name", "tool_call_id", and an assistant's "tool_calls":
    // a list of {"function": {"name", "arguments": an object, or a text}, "type", "id"}.
    const struct value *messages;
    const struct value *tools;   // a list of {"type": "function", "function": {...}}; NULL: none
    const struct value *options; // an object: variables for the template; NULL: none
};

struct template; // how a model wants conversations written; read-only once opened
struct template_source {
    struct bytes text;     // [tokenizer.chat_template]; n == 0: it has none
    struct bytes tools;    // the variant for conversations with tools; n == 0: there is none
    struct bytes bos, eos; // their texts; n == 0: the tokenizer's
};
// Nothing of the source is kept; tokenizer may be NULL, then only template_render works. A template
// that cannot be used does not fail here: template_fault says why, and so does each rendering.
void template_open(struct template **out, const struct template_source *source,
                   const struct tokenizer *tokenizer);
void template_close(struct template *template);                    // NULL: nothing
const struct err *template_fault(const struct template *template); // NULL: there is none
// The whole conversation plus the opening of the assistant's turn, or with its turn left open when
// the last message is the assistant's. What the template has no place for is folded in elsewhere;
// BAD_INPUT is the template's own refusal of what is left. jinja_text_free() it.
MUST_USE enum status template_render(struct jinja_text *out, const struct template *template,
                                     const struct conversation *conversation, struct err *err);
// Its ids, with BOS where the file or the template wants it; free() them. What a client wrote never
// yields control tokens.
MUST_USE enum status template_encode(const struct template *template,
                                     const struct tokenizer *tokenizer,
                                     const struct conversation *conversation, int32_t **ids,
                                     size_t *n, struct err *err);
// Bytes of all that a client wrote in it.
uint64_t conversation_bytes(const struct conversation *conversation);

// ---- query and document (pair.c) ----------------------------------------------------------------

// Ids of what a reranker reads. format: the file's own, with {query} and {document} in it; empty:
// both between the vocabulary's separators. Neither text yields control tokens. TOO_LARGE when over
// cap ids.
MUST_USE enum status pair_encode(const struct tokenizer *tokenizer, struct bytes format,
                                 struct bytes query, struct bytes document, int32_t *ids,
                                 size_t cap, size_t *n, struct err *err);

// ---- stop strings (stop.c) ----------------------------------------------------------------------

// Streaming search over generated text: holds back what could still become a stop string, and
// incomplete UTF-8.
struct stopper;
// Copies the stops; an empty one is ignored. The stop that is complete first wins.
void stopper_open(struct stopper **out, const struct bytes *stops, size_t n_stops);
void stopper_close(struct stopper *stopper);
// Feeds the bytes of one token; *out views the text that may be sent now (valid until the next
// call; whole, valid UTF-8). Returns true when a stop string was completed: *out is the text before
// it, and nothing more may be fed.
bool stopper_feed(struct stopper *stopper, struct bytes piece, struct bytes *out);
struct bytes stopper_flush(struct stopper *stopper); // the rest, at the end of generation
// Bytes that a completed stop string took away: itself, and what came behind it. 0: there is none.
size_t stopper_cut(const struct stopper *stopper);
// The stop string that was completed; n == 0: none was. A view that lives as long as the stopper.
struct bytes stopper_completed(const struct stopper *stopper);
