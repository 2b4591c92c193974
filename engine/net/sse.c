// sse.c - server-sent events: the framing of
// https://html.spec.whatwg.org/multipage/server-sent-events.html that OpenAI's streams use. One
// event is "data: " + one line + an empty line, sent as one chunk; a line that begins with ':' is a
// comment, which clients drop and which keeps proxies and read timeouts content while a long prompt
// is being read.
#include "conn.h"

enum status sse_data(struct exchange *exchange, struct bytes json)
{
    const struct bytes parts[] = {bytes_of("data: "), json, bytes_of("\n\n")};
    return exchange_write_parts(exchange, parts, COUNT_OF(parts));
}

enum status sse_comment(struct exchange *exchange, const char *text)
{
    const struct bytes parts[] = {bytes_of(": "), bytes_of(text), bytes_of("\n\n")};
    return exchange_write_parts(exchange, parts, COUNT_OF(parts));
}
