// api_keys.c - the table of keys: found by their secrets alone, kept and read again, spoilt files
// set aside; what a key may use, with a clock of the test's own; and the thread that writes.
#include "../../engine/api/inside.h"
#include "check.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const state = "build/test/unit-keys";

static const char *path_of(const char *name)
{
    static char path[600];
    snprintf(path, sizeof(path), "%s/%s", state, name);
    return path;
}

static void put(const char *name, const char *text)
{
    struct err err = {0};
    CHECK(file_write(path_of(name), bytes_of(text), 0600, &err) == OK);
}

static void clean(void)
{
    const char *const names[] = {"keys.json", "keys.json.bad", "log", "log.1"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        (void)unlink(path_of(names[i]));
}

// ---- the table ------------------------------------------------------------------------------

static void test_find(void)
{
    struct keys keys;
    char first[API_KEY_BYTES + 1], second[API_KEY_BYTES + 1], wrong[300];
    clean();
    keys_open(&keys, state, "tawny-boxes-own-key");
    struct key *box = keys_find(&keys, bytes_of("tawny-boxes-own-key"));
    CHECK(box && box->scopes == SCOPES_ALL && box == keys.list[0]);
    struct key *a = keys_make(&keys, first), *b = keys_make(&keys, second);
    CHECK(a && b && a->who != b->who && a->who != box->who && strcmp(a->id, b->id) != 0);
    CHECK(strlen(first) == 58 && strncmp(first, "tawny-", 6) == 0 && strcmp(first, second) != 0);
    CHECK(keys_find(&keys, bytes_of(first)) == a && keys_find(&keys, bytes_of(second)) == b);
    for (size_t i = 0; i < 58; i++) { // one letter differs, one is missing
        snprintf(wrong, sizeof(wrong), "%s", first);
        wrong[i] = wrong[i] == 'a' ? 'b' : 'a';
        CHECK(!keys_find(&keys, bytes_of(wrong)));
        CHECK(!keys_find(&keys, (struct bytes){(const uint8_t *)first, i}));
    }
    memset(wrong, 'x', sizeof(wrong));
    CHECK(!keys_find(&keys, (struct bytes){(const uint8_t *)wrong, sizeof(wrong)}));
    CHECK(keys_named(&keys, bytes_of(b->id)) == b && !keys_named(&keys, bytes_of("key_")));
    const uint64_t who = a->who;
    keys_remove(&keys, a);
    CHECK(!keys_find(&keys, bytes_of(first)) && !keys_who(&keys, who) && keys.n == 2);
    struct key *c = keys_make(&keys, first);
    CHECK(c->who != who && c->who != b->who); // an owner's number is not given again
    char renewed[API_KEY_BYTES + 1];
    const uint64_t before = b->who;
    key_renew(b, renewed);
    CHECK(!keys_find(&keys, bytes_of(second)) && keys_find(&keys, bytes_of(renewed)) == b &&
          b->who == before);
    while (keys.n < 1 + KEYS_MOST)
        CHECK(keys_make(&keys, first) != NULL);
    CHECK(!keys_make(&keys, first));
    keys_close(&keys);
}

static void test_kept(void)
{
    struct keys keys, again;
    char secret[API_KEY_BYTES + 1], name[] = "phone \"A\" \xc3\xa9";
    struct buf file;
    clean();
    keys_open(&keys, state, "tawny-boxes-own-key");
    struct key *key = NULL;
    while (keys.n < 1 + KEYS_MOST) {
        key = keys_make(&keys, secret);
        snprintf(key->name, sizeof(key->name), "key %zu", keys.n);
    }
    memcpy(key->name, name, sizeof(name));
    key->scopes = SCOPE_CHAT | SCOPE_METRICS;
    key->limits = (struct key_limits){60, 0, 2};
    keys_used(&keys, key);
    CHECK(keys.used_changed && key->used_s % 60 == 0);
    CHECK(keys_write(&keys, &file) == OK);
    CHECK(!memmem(file.p, file.n, secret, strlen(secret))); // only hashes
    CHECK(!memmem(file.p, file.n, "boxes-own", 9));
    struct err err = {0};
    CHECK(file_write(path_of("keys.json"), buf_view(&file), 0600, &err) == OK);
    keys_open(&again, state, "tawny-boxes-own-key");
    CHECK(again.n == keys.n);
    const struct key *same = keys_find(&again, bytes_of(secret));
    CHECK(same && strcmp(same->id, key->id) == 0 && strcmp(same->name, name) == 0 &&
          same->scopes == key->scopes && same->limits.requests == 60 && same->limits.tokens == 0 &&
          same->limits.at_once == 2 && same->created_s == key->created_s &&
          same->used_s == key->used_s);
    keys_close(&again);
    for (size_t n = 0; n < file.n - 1; n += file.n < 200 || n < 100 ? 1 : 997) { // cut anywhere
        CHECK(file_write(path_of("keys.json"), (struct bytes){file.p, n}, 0600, &err) == OK);
        keys_open(&again, state, "tawny-boxes-own-key");
        CHECK(again.n == 1 && access(path_of("keys.json"), F_OK) != 0 &&
              access(path_of("keys.json.bad"), F_OK) == 0);
        keys_close(&again);
    }
    buf_free(&file);
    keys_close(&keys);
}

static void test_spoilt(void)
{
    static const char hash[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    static const char *const texts[] = {
        "",
        "[]",
        "{}",
        "{\"keys\":{}}",
        "{\"keys\":[1]}",
        "{\"keys\":[{}]}",
        "{\"keys\":[{\"id\":\"key_1\",\"name\":\"a\",\"sha256\":\"12\"}]}",
        "{\"keys\":[{\"id\":\"box\",\"name\":\"a\",\"sha256\":\"#\"}]}",
        "{\"keys\":[{\"id\":\"key_12345678901234567890123\",\"name\":\"a\",\"sha256\":\"#\"}]}",
        ("{\"keys\":[{\"id\":\"k\",\"name\":\"a\",\"sha256\":\"#\"},"
         "{\"id\":\"k\",\"name\":\"\",\"sha256\":\"#\"}]}"),
    };
    struct keys keys;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        char text[600];
        size_t n = 0;
        for (const char *c = texts[i]; *c; c++) // # stands for a hash
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%.*s", *c == '#' ? 64 : 1,
                                  *c == '#' ? hash : c);
        text[n] = 0;
        clean();
        put("keys.json", text);
        keys_open(&keys, state, "tawny-boxes-own-key");
        CHECK(keys.n == 1 && access(path_of("keys.json.bad"), F_OK) == 0);
        CHECK(keys_find(&keys, bytes_of("tawny-boxes-own-key")) != NULL);
        keys_close(&keys);
    }
    clean();
    put("keys.json", "{\"keys\":[{\"id\":\"k\",\"name\":\"a\",\"sha256\":"
                     "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\","
                     "\"scopes\":[\"chat\",\"none\",7],\"tokens_per_minute\":99999999999}]}");
    keys_open(&keys, state, "tawny-boxes-own-key");
    CHECK(keys.n == 2 && keys.list[1]->scopes == SCOPE_CHAT &&
          keys.list[1]->limits.tokens == KEY_LIMIT_MOST);
    keys_close(&keys);
}

// ---- limits ---------------------------------------------------------------------------------

static void test_requests(void)
{
    struct key key = {.limits = {.requests = 6}};
    struct refusal refusal;
    uint64_t now = 1000000;
    for (int i = 0; i < 6; i++)
        CHECK(limit_take(&key, now, &refusal));
    CHECK(!limit_take(&key, now, &refusal) && refusal.http == 429 && refusal.retry_after_s == 10 &&
          strstr(refusal.text, "6 requests a minute"));
    CHECK(!limit_take(&key, now + 9000, &refusal) && refusal.retry_after_s == 1);
    CHECK(limit_take(&key, now + 10001, &refusal)); // one has come back
    CHECK(!limit_take(&key, now + 10002, &refusal));
    int n = 0;
    while (limit_take(&key, now + 3600000, &refusal)) // an hour later: a minute's worth, no more
        n++;
    CHECK(n == 6);
    CHECK(key.n_requests == 6 + 1 + 6);
}

static void test_tokens(void)
{
    struct key key = {.limits = {.tokens = 600}};
    struct refusal refusal;
    uint64_t now = 1000000;
    CHECK(limit_take(&key, now, &refusal));
    limit_charge(&key, now, 599);
    CHECK(limit_take(&key, now, &refusal)); // one is left
    limit_charge(&key, now, 1000);          // and is overdrawn
    CHECK(!limit_take(&key, now, &refusal) && refusal.retry_after_s == 100 &&
          strstr(refusal.text, "600 tokens a minute"));
    CHECK(!limit_take(&key, now + 99000, &refusal) && refusal.retry_after_s == 1);
    CHECK(limit_take(&key, now + 100001, &refusal));
    struct key free_key = {.who = 1};
    limit_charge(&free_key, now, 1 << 30);
    CHECK(limit_take(&free_key, now, &refusal));
}

static void test_at_once(void)
{
    struct key key = {.limits = {.at_once = 2}, .n_open = 1};
    struct refusal refusal;
    CHECK(limit_take(&key, 1, &refusal) && limit_at_once(&key, &refusal));
    key.n_open = 2;
    CHECK(!limit_take(&key, 1, &refusal) && refusal.http == 429 && refusal.retry_after_s == 1);
    CHECK(strstr(refusal.text, "2 requests answered at once"));
}

// ---- the thread that writes -----------------------------------------------------------------

static struct buf content_of(const char *text)
{
    struct buf buf;
    buf_init(&buf, 1000);
    CHECK(buf_add(&buf, text, strlen(text)) == OK);
    return buf;
}

static bool holds(const char *name, const char *text)
{
    struct buf file;
    if (file_read(&file, path_of(name), 10000, NULL) != OK)
        return false;
    bool same = bytes_equal_text(buf_view(&file), text);
    buf_free(&file);
    return same;
}

static struct scribed outcome_of(struct scribe *scribe)
{
    struct scribed outcome = {0}, more;
    struct pollfd fd = {.fd = scribe_fd(scribe), .events = POLLIN};
    CHECK(poll(&fd, 1, 10000) == 1 && scribe_take(scribe, &outcome));
    CHECK(!scribe_take(scribe, &more));
    return outcome;
}

static void test_scribe(void)
{
    struct scribe *scribe;
    struct scribed outcome;
    struct buf content = content_of("one");
    clean();
    scribe_open(&scribe);
    CHECK(scribe_write(scribe, 7, path_of("log"), &content) && !content.p);
    outcome = outcome_of(scribe);
    CHECK(outcome.id == 7 && outcome.err.status == OK && holds("log", "one"));
    content = content_of("x");
    CHECK(scribe_write(scribe, 8, path_of("nowhere/file"), &content));
    outcome = outcome_of(scribe);
    CHECK(outcome.id == 8 && outcome.err.status != OK && strstr(outcome.err.text, "nowhere"));
    for (int i = 0; i < 3; i++) {
        content = content_of("two,");
        CHECK(scribe_append(scribe, path_of("log"), &content, 12));
    }
    scribe_close(scribe); // all is written
    CHECK(holds("log.1", "onetwo,two,") && holds("log", "two,"));
}

int main(void)
{
    struct err err = {0};
    CHECK(file_make_dir("build/test", 0755, &err) == OK && file_make_dir(state, 0700, &err) == OK);
    test_find();
    test_kept();
    test_spoilt();
    test_requests();
    test_tokens();
    test_at_once();
    test_scribe();
    clean();
    return check_done("api_keys");
}
