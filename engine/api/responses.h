// responses.h - what the files of OpenAI's Responses dialect share: a response from its request to
// its last event, and the store of those that are kept.
//
//   responses.c         the fields of POST /v1/responses, and what of them its answer repeats
//   responses_items.c   items (messages, calls, what tools gave, thoughts) into messages
//   responses_tools.c   its tools
//   responses_write.c   the answer, as events and whole
//   responses_kept.c    what is kept for previous_response_id
//   responses_get.c     GET and DELETE /v1/responses/ID
//
// An item of a response has the id KIND_HEX_N: KIND is msg, rs, fc or ctc, HEX that of the response
// (resp_HEX), N the item's place among all that the response holds: those of its input, then those
// of its answer. So an id says where the item is.
#pragma once

#include "fields.h"

enum {
    RESPONSE_ID_BYTES = 48,
    // Of one answer: it is told piece by piece, whole where its item ends, and again in the last
    // event, which must fit the largest answer (limits.h).
    RESPONSE_BYTES_MOST = 2 << 20,
    // What an answer repeats of its request (tools, instructions ...): three times in a stream,
    // whose reader may be this far behind at most.
    RESPONSE_HEAD_MOST = 192 << 10,
    // What is read to find the items that a request refers to: a response's, once for each of them.
    RESPONSE_LOOK_UPS = 64 << 20,
    RESPONSES_KEPT_MOST = 4096,
    RESPONSES_KEPT_BYTES = 64 << 20,
    RESPONSES_KEPT_S = 24 * 3600, // OpenAI: 30 days; ours are gone with a restart
};

// What `encrypted_content` of a thought begins with; the thought follows.
#define RESPONSE_THOUGHT "tawny:"

// ---- what is kept (responses_kept.c) --------------------------------------------------------

// Items, never changed, behind those of the response that came before. Counted references: one of
// each response that is kept, one of what follows, one of each request that goes on from there.
struct kept_items {
    struct kept_items *before;       // NULL: none
    uint32_t n_refs, n_items, n_all; // its own; with those before it
    size_t n_bytes, n_bytes_all;
    uint8_t json[]; // n_bytes: the items, commas between them
};

struct kept_response {
    struct kept_response *next; // used longer ago
    char id[RESPONSE_ID_BYTES];
    uint64_t owner; // whose key it was asked with
    uint64_t until_ms;
    struct kept_items *items; // of the answer; before them those of the request
    struct buf object;        // as JSON
};

struct kept {                    // the store (kept_open, kept_close: inside.h)
    struct kept_response *first; // the one used last
    size_t n, n_bytes;           // n_bytes: of the responses and of all items
};

// n_items of them, comma between comma; takes over the caller's reference to `before`. Yours: one
// reference.
struct kept_items *kept_items_make(struct kept *kept, struct kept_items *before, struct bytes json,
                                   uint32_t n_items);
struct kept_items *kept_items_hold(struct kept_items *items);      // one more reference
void kept_items_drop(struct kept *kept, struct kept_items *items); // NULL: nothing
// Takes over the reference and the buffer. What was used longest ago gives way.
void kept_add(struct kept *kept, uint64_t owner, const char *id, struct kept_items *items,
              struct buf object);
struct kept_response *kept_find(struct kept *kept, uint64_t owner, struct bytes id); // or NULL
void kept_remove(struct kept *kept, struct kept_response *response);
// The item of that id (KIND_HEX_N) of a response that is kept, from yyjson_read: free the document.
// NULL: there is none.
yyjson_doc *kept_item(struct kept *kept, uint64_t owner, struct bytes id, yyjson_val **item);
yyjson_doc *kept_items_read(const struct kept_items *items); // an array
// A refusal: no such response.
bool kept_missing(struct refusal *refusal, struct bytes id, const char *param);

// ---- a response under way -------------------------------------------------------------------

struct response_input {     // an item of the request, on the job's arena
    struct message message; // role.p == NULL: it says nothing
    struct bytes json;      // as it is kept
    struct bytes reference; // p != NULL: the id of the item that it stands for
};

enum response_item { ITEM_NONE, ITEM_REASONING, ITEM_MESSAGE, ITEM_CALL, ITEM_CUSTOM };

struct response { // form->of_dialect, then the reply's
    struct kept *kept;
    uint64_t owner;
    bool store, summary, encrypted, logprobs;
    // While it is read, on the job's arena; NULL once it is settled:
    struct bytes previous, instructions;
    struct response_input *input;
    size_t n_input, n_looked_up;
    const struct value *reasoning, *text_sent, *tools, *choice, *metadata; // as sent
    // Then:
    struct buf head;          // members of the object that stay: "tools":[...],...
    struct buf custom;        // names of tools whose input is a text, each between line breaks
    struct kept_items *items; // the conversation with this request's; ours: one reference
    // The answer:
    int64_t sequence;
    struct buf output; // items that are done, commas between them
    uint32_t n_output;
    enum response_item open; // the item that is being written
    struct buf text;         // its text, or the arguments
    struct buf chances;      // log-probabilities of its tokens, as JSON, commas between them
    struct buf call;         // its id and its name
    size_t n_call_id;
};

extern const struct writer response_writer;

// responses_items.c
field_reader read_input;
// The items at `path` of the request become messages: everything that was read, behind what is kept
// of the response before.
bool response_conversation(struct response *response, struct reading *r);
// responses_tools.c
field_reader read_response_tools;
