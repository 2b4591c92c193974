// handover.c - a second device is signed in without a key being typed there:
//
//   POST /v1/handovers        with a key: {"code": ..., "url": ..., "qr": [rows of 0 and 1],
//                             "expires_in": 120}
//   POST /v1/handovers/take   without one: {"code": ...} gives {"key": ..., "name": ...}, once
//
// The page shows the url as a QR code, in whose fragment the code stands: no server and no proxy
// sees it, and the page that opens it takes it out of the address at once. A code has 130 random
// bits, counts for two minutes, once, and while the key that it stands for counts. What is kept
// here meanwhile is the key as its owner showed it, in memory alone, and of the code its SHA-256.
#include "fields.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CODE_LETTERS = 26, LIVES_S = 120, URL_BYTES = 320, EACH_MS = 1000, QR_BYTES = 64 << 10 };

void handovers_tick(struct api *api, uint64_t now_ms)
{
    for (size_t i = 0; i < COUNT_OF(api->handovers); i++)
        if (api->handovers[i].until_ms && now_ms >= api->handovers[i].until_ms)
            explicit_bzero(&api->handovers[i], sizeof(api->handovers[i]));
}

// That of the same key, or a free place, or the one that ends first.
static struct handover *place_for(struct api *api, uint64_t who)
{
    struct handover *first = &api->handovers[0];
    for (size_t i = 0; i < COUNT_OF(api->handovers); i++) {
        struct handover *one = &api->handovers[i];
        if (one->who == who)
            return one;
        if (one->until_ms < first->until_ms)
            first = one;
    }
    return first;
}

// Row by row; no row where none can be had.
static void qr_write(struct json *json, const char *text)
{
    int side = 0;
    uint8_t *squares = qr_squares(text, true, &side);
    char row[200];
    json_array(json, "qr");
    for (int y = 0; squares && y < side && side < (int)sizeof(row); y++) {
        for (int x = 0; x < side; x++)
            row[x] = squares[y * side + x] ? '1' : '0';
        row[side] = 0;
        json_string(json, NULL, row);
    }
    json_end(json);
    free(squares);
}

// Drawing one costs the net thread: false, with *refusal filled, where the key has just had one.
static bool may_draw(struct key *key, struct refusal *refusal)
{
    const uint64_t now_ms = clock_ms();
    if (key && (!key->handed_ms || now_ms - key->handed_ms >= EACH_MS)) {
        key->handed_ms = now_ms;
        return true;
    }
    (void)refuse(refusal, 429, "rate_limit_exceeded", NULL,
                 "A key may have one code a second; try again in 1 s.");
    refusal->retry_after_s = 1;
    return false;
}

void handover_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    char code[CODE_LETTERS + 1], host[256], url[URL_BYTES];
    const struct bytes secret = key_given(request);
    struct handover *one = place_for(api, request->who);
    struct refusal refusal;
    struct json json;
    if (!may_draw(keys_who(&api->keys, request->who), &refusal)) {
        refusal_reply(exchange, &refusal);
        return;
    }
    if (secret.n > API_KEY_BYTES)
        die("a key was taken that is longer than keys are");
    key_letters(code, CODE_LETTERS);
    host_typed(api, request, host, sizeof(host));
    snprintf(url, sizeof(url), "https://%s/#/in/%s", host, code);
    explicit_bzero(one, sizeof(*one));
    sha256_of(bytes_of(code), one->hash);
    snprintf(one->secret, sizeof(one->secret), "%.*s", (int)secret.n, (const char *)secret.p);
    one->who = request->who;
    one->until_ms = clock_ms() + LIVES_S * 1000;
    exchange_note(exchange, "its key may be taken by another device");
    json_init(&json, QR_BYTES);
    json_object(&json, NULL);
    json_string(&json, "object", "handover");
    json_string(&json, "code", code);
    json_string(&json, "url", url);
    json_whole(&json, "expires_in", LIVES_S);
    qr_write(&json, url);
    json_end(&json);
    exchange_reply_header(exchange, "Cache-Control", "no-store");
    json_reply(exchange, 201, &json);
    explicit_bzero(code, sizeof(code));
    explicit_bzero(url, sizeof(url));
}

// Looked up by its hash, against all of them. NULL: there is none that counts.
static struct handover *find(struct api *api, struct bytes code)
{
    uint8_t hash[SHA256_BYTES];
    struct handover *found = NULL;
    sha256_of(code, hash);
    for (size_t i = 0; i < COUNT_OF(api->handovers); i++)
        if (api->handovers[i].until_ms > clock_ms() &&
            bytes_equal_secret((struct bytes){api->handovers[i].hash, SHA256_BYTES},
                               (struct bytes){hash, SHA256_BYTES}))
            found = &api->handovers[i];
    return found;
}

static void taken(struct api *api, struct exchange *exchange, const struct request *request,
                  struct handover *one)
{
    const struct key *key = keys_find(&api->keys, bytes_of(one->secret));
    struct refusal refusal;
    struct json json;
    if (!key) {
        explicit_bzero(one, sizeof(*one));
        (void)refuse(&refusal, 404, "unknown_code", "code", "The key of this code was revoked.");
        refusal_reply(exchange, &refusal);
        return;
    }
    log_info("the key %s ('%s') was handed over to %s", key->id, key->name, request->peer);
    exchange_keyed(exchange, key->who); // the audit log names the key that was handed over
    exchange_note(exchange, "taken by another device");
    json_init(&json, 4096);
    json_object(&json, NULL);
    json_string(&json, "object", "key");
    json_string(&json, "key", one->secret);
    json_string(&json, "name", key->name);
    json_end(&json);
    explicit_bzero(one, sizeof(*one));
    exchange_reply_header(exchange, "Cache-Control", "no-store");
    json_reply(exchange, 200, &json);
}

void handover_take_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    struct refusal refusal;
    struct body body;
    struct bytes code;
    if (!body_open(&body, request->body, &refusal)) {
        refusal_reply(exchange, &refusal);
        return;
    }
    struct handover *one = NULL;
    if (text_field(yyjson_doc_get_root(body.doc), "code", &code, &refusal)) {
        one = find(api, code);
        if (!one)
            (void)refuse(&refusal, 404, "unknown_code", "code",
                         "There is no such code any more: each counts once, for two minutes.");
    }
    body_close(&body);
    if (one)
        taken(api, exchange, request, one);
    else
        refusal_reply(exchange, &refusal);
}
