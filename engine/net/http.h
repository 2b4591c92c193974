// http.h - floor 2, inside net/: HTTP/1.0 and 1.1 requests (RFC 9110, RFC 9112), read strictly.
//
// The grammar is llhttp's (the parser of Node.js), no lenient flag set; the policy is ours: caps,
// and a refusal of everything that two parsers could read differently, since every leniency is a
// way to smuggle a request past somebody: bare LF and bare CR, folded lines, control characters,
// Content-Length twice (even the same), Transfer-Encoding beside Content-Length, any coding but
// "chunked", fields twice that may come once, a Host that is no host.
//
// Incremental: bytes go in as they come, in pieces of any size; it says how many it used and never
// takes a byte behind the end of the request. Three outcomes: OK (whole), AGAIN (more, please),
// BAD_INPUT (`fault` says which answer it deserves and why; the connection must then be closed:
// nobody knows where the next request would begin).
#pragma once

#include "../base/base.h"
#include "limits.h"

#include <llhttp.h>

struct http_fault {
    int code;        // HTTP status of the answer; 0: no fault
    const char *why; // one sentence
};

struct http_field {
    struct bytes name;  // lower case
    struct bytes value; // without the white space around it
};

struct http { // one request; views point into text and path_text, so it does not move
    // what the head said
    struct bytes method, target, path, query; // path decoded; target and query as they came
    struct bytes host;                        // of an absolute target, else of the Host field
    int minor;                                // HTTP/1.<minor>: 0 or 1
    struct http_field fields[LIMIT_FIELDS];
    size_t n_fields;
    uint64_t length;                             // Content-Length; 0 when there is none
    bool has_body, expects_continue, keep_alive; // has_body: of one byte at least, or chunked
    bool body_told;                              // Content-Length or Transfer-Encoding is there
    struct http_fault fault;

    // where the reading stands
    llhttp_t parser;
    bool head_done, message_done;
    size_t n, line, n_lines; // bytes in text; where the current line begins; whole lines so far
    size_t n_blank;          // empty lines in front of the request line
    size_t n_between;        // bytes of chunk framing since the last content
    uint64_t cap, n_content; // most bytes of the body; so many came
    struct buf *content;     // where http_body_feed puts the body
    uint8_t text[LIMIT_HEAD];
    uint8_t path_text[LIMIT_TARGET];
};

void http_init(struct http *http);
MUST_USE enum status http_head_feed(struct http *http, struct bytes in, size_t *n_used);
// After a head with has_body: the body may have so many bytes; 413 when it is known to have more.
MUST_USE enum status http_body_cap(struct http *http, uint64_t cap_bytes);
// After http_body_cap. The content is appended to *content, which may be emptied between calls.
MUST_USE enum status http_body_feed(struct http *http, struct bytes in, size_t *n_used,
                                    struct buf *content);
struct bytes http_field(const struct http *http,
                        const char *lower_case_name); // .p NULL when absent

bool http_is_token(struct bytes text);

const char *code_reason(int code);    // code.c
bool host_is_good(struct bytes text); // host.c: a name or an address, perhaps with a port
struct bytes host_without_port(struct bytes host);
