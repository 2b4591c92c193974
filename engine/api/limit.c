// limit.c - what a key may use: requests and tokens a minute, and requests at once.
//
// Two buckets that hold a minute's worth and fill evenly. A request takes one from the first when
// it begins. What its tokens will be nobody knows then: it begins while the second is not empty,
// and what it read and wrote is taken out afterwards, below zero if need be; what is owed is waited
// for. Whoever is over a limit learns when to come again (Retry-After), and every answer says what
// is left, in the headers that OpenAI's clients read.
#include "inside.h"

#include <math.h>
#include <stdio.h>

static void fill(struct bucket *bucket, int32_t a_minute, uint64_t now_ms)
{
    if (bucket->at_ms == 0)
        bucket->left = a_minute;
    else
        bucket->left += (double)(now_ms - bucket->at_ms) * a_minute / 60000;
    bucket->at_ms = now_ms ? now_ms : 1;
    if (bucket->left > a_minute)
        bucket->left = a_minute;
}

// Seconds until there is so much.
static double seconds_until(const struct bucket *bucket, int32_t a_minute, double wanted)
{
    return bucket->left >= wanted ? 0 : (wanted - bucket->left) * 60 / a_minute;
}

static bool refuse_limit(struct refusal *refusal, const char *what, int32_t limit, double wait_s)
{
    (void)refuse(refusal, 429, "rate_limit_exceeded", NULL,
                 "This key may use %d %s a minute, and has; try again in %.0f s.", (int)limit, what,
                 ceil(wait_s));
    refusal->retry_after_s = (int32_t)ceil(wait_s);
    return false;
}

bool limit_at_once(const struct key *key, struct refusal *refusal)
{
    const int32_t most = key->limits.at_once;
    if (most == 0 || key->n_open < most)
        return true;
    (void)refuse(refusal, 429, "rate_limit_exceeded", NULL,
                 "This key may have %d request%s answered at once, and has; try again when one has "
                 "ended.",
                 (int)most, most == 1 ? "" : "s");
    refusal->retry_after_s = 1;
    return false;
}

bool limit_take(struct key *key, uint64_t now_ms, struct refusal *refusal)
{
    const struct key_limits *limits = &key->limits;
    fill(&key->requests, limits->requests, now_ms);
    fill(&key->tokens, limits->tokens, now_ms);
    if (limits->requests && key->requests.left < 1)
        return refuse_limit(refusal, limits->requests == 1 ? "request" : "requests",
                            limits->requests, seconds_until(&key->requests, limits->requests, 1));
    if (limits->tokens && key->tokens.left < 1)
        return refuse_limit(refusal, limits->tokens == 1 ? "token" : "tokens", limits->tokens,
                            seconds_until(&key->tokens, limits->tokens, 1));
    if (!limit_at_once(key, refusal))
        return false;
    if (limits->requests)
        key->requests.left -= 1;
    key->n_requests++;
    return true;
}

void limit_charge(struct key *key, uint64_t now_ms, int64_t n_tokens)
{
    if (key->limits.tokens == 0)
        return;
    fill(&key->tokens, key->limits.tokens, now_ms);
    key->tokens.left -= (double)n_tokens;
}

// As OpenAI writes it: 1s, 6m0s, 120ms.
static const char *time_text(char out[32], double seconds)
{
    if (seconds < 1)
        snprintf(out, 32, "%.0fms", ceil(seconds * 1000));
    else if (seconds < 60)
        snprintf(out, 32, "%.0fs", ceil(seconds));
    else
        snprintf(out, 32, "%dm%ds", (int)(ceil(seconds) / 60), (int)ceil(seconds) % 60);
    return out;
}

static void headers_of(const char *what, const struct bucket *bucket, int32_t limit,
                       struct exchange *exchange)
{
    char name[64], value[32];
    snprintf(name, sizeof(name), "x-ratelimit-limit-%s", what);
    snprintf(value, sizeof(value), "%d", (int)limit);
    exchange_reply_header(exchange, name, value);
    snprintf(name, sizeof(name), "x-ratelimit-remaining-%s", what);
    snprintf(value, sizeof(value), "%.0f", bucket->left > 0 ? floor(bucket->left) : 0);
    exchange_reply_header(exchange, name, value);
    snprintf(name, sizeof(name), "x-ratelimit-reset-%s", what);
    exchange_reply_header(exchange, name, time_text(value, seconds_until(bucket, limit, limit)));
}

void limit_headers(struct key *key, uint64_t now_ms, struct exchange *exchange)
{
    const struct key_limits *limits = &key->limits;
    fill(&key->requests, limits->requests, now_ms);
    fill(&key->tokens, limits->tokens, now_ms);
    if (limits->requests)
        headers_of("requests", &key->requests, limits->requests, exchange);
    if (limits->tokens)
        headers_of("tokens", &key->tokens, limits->tokens, exchange);
}
