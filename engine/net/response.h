// response.h - floor 2, inside net/: HTTP/1.x responses to requests of ours, read strictly.
//
// The grammar is llhttp's, no lenient flag set. Incremental: bytes go in as they come, in pieces of
// any size. Interim answers (1xx) are passed over. A body's length must be told by Content-Length,
// by chunks, or by a proper end of the connection (response_ended).
#pragma once

#include "../base/base.h"
#include "limits.h"

#include <llhttp.h>

enum {
    RESPONSE_HEAD_BYTES = 32768, // addresses that are signed take 2 KB, policies for browsers more
    RESPONSE_FIELDS = 96,
    RESPONSE_CONTENT_BYTES = 65536 + 16, // what one piece of input can make
};

struct response_field {
    uint16_t name, n_name, value, n_value; // in text; names in lower case
};

struct response {
    int code;
    bool head_done, done; // of the answer that counts
    bool has_length;
    uint64_t length;   // of the body
    const char *fault; // why it cannot be read: the end of "the answer of HOST ..."; NULL: it can
    struct buf content;
    // where the reading stands
    llhttp_t parser;
    bool head_only; // it answers a HEAD
    struct response_field fields[RESPONSE_FIELDS];
    size_t n_fields, n;
    char text[RESPONSE_HEAD_BYTES];
};

void response_init(struct response *response, bool head_only);
void response_free(struct response *response);
// Content is appended to response->content, which the caller empties before it feeds again.
// AGAIN: more; OK: it is whole; BAD_INPUT: `fault` says why not.
MUST_USE enum status response_feed(struct response *response, struct bytes in);
// The connection has ended properly: whether the answer is whole by that.
bool response_ended(struct response *response);
struct bytes response_field(const struct response *response, const char *lower_case_name);
