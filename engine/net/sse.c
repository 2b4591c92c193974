// sse.c - server-sent events: the framing of
// https://html.spec.whatwg.org/multipage/server-sent-events.html. One event is, where it has a
// name, "event: " + the name + an end of line; then "data: " + one line + an empty line; all sent
// as one chunk. There are no comment lines (": x"): some clients take them for broken events.
#include "conn.h"

enum status sse_event(struct exchange *exchange, const char *name, struct bytes json)
{
    const struct bytes parts[] = {bytes_of(name ? "event: " : ""), bytes_of(name ? name : ""),
                                  bytes_of(name ? "\ndata: " : "data: "), json, bytes_of("\n\n")};
    return exchange_write_parts(exchange, parts, COUNT_OF(parts));
}

enum status sse_data(struct exchange *exchange, struct bytes json)
{
    return sse_event(exchange, NULL, json);
}

enum status ndjson_data(struct exchange *exchange, struct bytes json)
{
    const struct bytes parts[] = {json, bytes_of("\n")};
    return exchange_write_parts(exchange, parts, COUNT_OF(parts));
}
