// audit.h - inside api/: what was done with keys that may change the box, and what the log keeps.
#pragma once

#include "../base/base.h"
#include "../net/net.h"

enum {
    AUDIT_KEPT = 512,             // entries in memory: what GET /v1/audit shows at most
    AUDIT_FILE_BYTES = 256 << 10, // then the file becomes audit.log.1
    AUDIT_LINE_BYTES = 1500,
    LOGS_MOST = 1000, // lines of one answer
    LOGS_USUAL = 200,
};

struct api;
struct key;
struct refusal;

struct audit {
    char path[600];
    char *line[AUDIT_KEPT]; // by number % AUDIT_KEPT, each a JSON object; NULL: none yet
    uint64_t n;             // entries since the file began, or since what is left of it
};

// audit.c
void audit_open(struct audit *audit, const char *state); // with what the file holds
void audit_close(struct audit *audit);
// One more. key: NULL, it was revoked meanwhile, perhaps by this very request.
void audit_add(struct api *api, const struct key *key, const struct request *request,
               const struct answered *answered);

// logs.c
struct page_query { // ?since=N&level=warn&limit=100
    int64_t since, limit;
    enum log_level least;
};
// False: refused, with the name of what is not known or wrong.
bool page_query_read(struct bytes query, bool of_logs, struct page_query *out,
                     struct refusal *refusal);
const char *utc_text(char out[32], int64_t unix_ms); // 2026-01-31T12:00:00.000Z
