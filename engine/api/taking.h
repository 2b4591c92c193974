// taking.h - a request's body becomes a model that arrives, or a piece of one.
#pragma once

#include "inside.h"

// Of a body whose length is not told (chunked): the disk is full long before that.
#define BODY_FILE_BYTES_MOST ((uint64_t)1 << 50)

struct taking_plan {
    struct incoming *incoming;
    bool follows;       // the body goes on at `offset`: is that where the file ends by now?
    uint64_t offset;    // of the body's first byte
    uint64_t cap_bytes; // of the body; 0: the request has none, what is here is made safe
    bool finishes;      // nothing comes behind the body; else the file ends where its length says
    bool one_shot;      // what does not become whole by this request is deleted
    enum error_shape errors;
    // Answers: all of it is safe and more must come (INCOMING_ARRIVES), or the file is whole (KEPT,
    // DONE). Whatever else happens is answered by taking.c.
    void (*done)(struct api *api, struct exchange *exchange, const struct arrival *at);
};
// Takes the body, from the handler of its head; answers the exchange, now or later. A request that
// is refused here leaves alone who holds the arrival.
void taking_begin(struct api *api, struct exchange *exchange, const struct taking_plan *plan);

// A refusal that the store gave (incoming.h).
bool refuse_arrival(struct refusal *refusal, const struct err *err);

// uploads.c: a random id with that prefix.
void upload_id(char out[INCOMING_ID_BYTES], const char *prefix);
