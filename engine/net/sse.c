// sse.c - server-sent events: the framing of
// https://html.spec.whatwg.org/multipage/server-sent-events.html that OpenAI's streams use. One
// event is "data: " + one line + an empty line, sent as one chunk. There are no comment lines (":
// x"): some clients take them for broken events.
#include "conn.h"

enum status sse_data(struct exchange *exchange, struct bytes json)
{
    const struct bytes parts[] = {bytes_of("data: "), json, bytes_of("\n\n")};
    return exchange_write_parts(exchange, parts, COUNT_OF(parts));
}
