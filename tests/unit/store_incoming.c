// store_incoming.c - models that arrive: cut at every region of a file, by a holder that goes, by a
// process that is killed while it writes, by a full disk; wrong digests, names and bytes; parts;
// what waits for a name; and the digests of files that nobody said.
//
// A file is GGUF, its version and then bytes of a generator, so that every byte's place shows. The
// byte behind the version tells `describe` what to say: X: it is spoilt, U: it cannot be run, P: it
// is a part of three.
#include "../../engine/store/store.h"
#include "check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FILE_BYTES = (1 << 20) + 12345 };

static char dir[] = "/tmp/tawny-incoming-XXXXXX";
static struct store *store;
static uint8_t content[FILE_BYTES];
static char digest_text[65];
static int n_told, n_lost;
static _Atomic int n_beside; // parts that describe saw at the last one's path

static const char *at(const char *name)
{
    static char paths[8][400];
    static int turn;
    char *path = paths[turn++ % 8];
    snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
    return path;
}

static bool there(const char *name)
{
    return access(at(name), F_OK) == 0;
}

static int n_files(const char *folder)
{
    DIR *open_dir = opendir(at(folder));
    int n = 0;
    if (!open_dir)
        return 0;
    for (struct dirent *entry; (entry = readdir(open_dir)) != NULL;)
        n += entry->d_name[0] != '.';
    closedir(open_dir);
    return n;
}

static void make_content(void)
{
    uint32_t x = 1;
    uint8_t sum[SHA256_BYTES];
    for (size_t i = 0; i < FILE_BYTES; i++) {
        x = x * 1664525u + 1013904223u;
        content[i] = (uint8_t)(x >> 24);
    }
    memcpy(content, "GGUF\3\0\0\0!", 9);
    sha256_of((struct bytes){content, FILE_BYTES}, sum);
    hex_write(digest_text, sum, sizeof(sum));
}

static enum status describe(struct store_about *out, const char *path, struct err *err)
{
    struct buf text;
    char beside[500];
    if (file_read(&text, path, 4 << 20, err) != OK)
        return err->status;
    const char kind = text.n > 8 ? (char)text.p[8] : ' ';
    buf_free(&text);
    n_beside = 0;
    for (int no = 1; no <= 3 && kind == 'P'; no++) {
        snprintf(beside, sizeof(beside), "%.*s-%05d-of-00003.gguf", (int)(strlen(path) - 20), path,
                 no);
        n_beside += access(beside, R_OK) == 0;
    }
    if (kind == 'U')
        return err_set(err, UNSUPPORTED, "nobody knows it");
    if (kind == 'P') {
        if (!strstr(path, "-of-0000"))
            return err_set(err, NOT_FOUND, "by its keys it is a part");
        out->n_parts = 3;
        return n_beside < 3 ? err_set(err, NOT_FOUND, "%d parts are there", n_beside) : OK;
    }
    return kind == 'X' ? err_set(err, BAD_INPUT, "%s: it is spoilt", path) : OK;
}

static void open_store(void)
{
    struct err err = {0};
    const struct store_options options = {.home = at("home"),
                                          .folders = "",
                                          .aliases = "",
                                          .kept = at("aliases"),
                                          .digests = at("digests"),
                                          .describe = describe};
    CHECK(store_open(&store, &options, &err) == OK);
}

static void turn(int wait_ms, uint64_t *last, struct err *err)
{
    struct store_done done;
    struct pollfd poll_fd = {.fd = store_fd(store), .events = POLLIN};
    (void)poll(&poll_fd, 1, wait_ms);
    while (store_take(store, &done))
        if (done.id && last) {
            *last = done.id;
            *err = done.err;
        }
}

static void told(void *arg, struct incoming *incoming, bool is_lost)
{
    (void)arg, (void)incoming;
    n_told++;
    n_lost += is_lost;
}

static struct incoming *find(const char *id)
{
    return store_incoming_find(store, bytes_of(id));
}

static bool wait_settled(const char *id)
{
    const uint64_t until_ms = clock_ms() + 20000;
    while (find(id) && !incoming_at(find(id))->is_settled && clock_ms() < until_ms)
        turn(50, NULL, NULL);
    return find(id) && incoming_at(find(id))->is_settled;
}

static bool wait_model(const char *name)
{
    const uint64_t until_ms = clock_ms() + 20000;
    while (!store_find_file(store, bytes_of(name)) && clock_ms() < until_ms)
        turn(50, NULL, NULL);
    return store_find_file(store, bytes_of(name)) != NULL;
}

static struct incoming *make(const char *id, const char *name, uint64_t n_bytes, const char *sha256,
                             struct err *err)
{
    struct incoming *incoming = NULL;
    const struct incoming_wish wish = {.id = bytes_of(id),
                                       .name = bytes_of(name),
                                       .source = bytes_of("a test"),
                                       .n_bytes = n_bytes,
                                       .sha256 = bytes_of(sha256)};
    *err = (struct err){.status = OK};
    return incoming_make(store, &wish, &incoming, err) == OK ? incoming : NULL;
}

// Gives bytes [from, to) in pieces, as a holder that keeps to the rules.
static enum status give(struct incoming *incoming, const uint8_t *bytes, size_t from, size_t to)
{
    enum status status = OK;
    while (from < to && (status == OK || status == AGAIN)) {
        const size_t n = to - from < 10007 ? to - from : 10007;
        while (!incoming_has_room(incoming))
            turn(1000, NULL, NULL);
        status = incoming_add(incoming, (struct bytes){bytes + from, n});
        from += n;
    }
    return status == AGAIN ? OK : status;
}

static struct incoming *hold(const char *id)
{
    struct err err = {0};
    CHECK(incoming_hold(find(id), told, NULL, &err) == OK);
    CHECK(wait_settled(id));
    return find(id);
}

static struct arrival end_of(const char *id)
{
    const uint64_t until_ms = clock_ms() + 20000;
    while (incoming_at(find(id))->phase <= INCOMING_ENDS &&
           incoming_at(find(id))->fault.status == OK && clock_ms() < until_ms)
        turn(50, NULL, NULL);
    return *incoming_at(find(id));
}

static bool is_content(const char *name)
{
    struct buf text;
    struct err err;
    if (file_read(&text, at(name), FILE_BYTES, &err) != OK)
        return false;
    const bool same = text.n == FILE_BYTES && memcmp(text.p, content, FILE_BYTES) == 0;
    buf_free(&text);
    return same;
}

static void drop_model(const char *name)
{
    struct err err = {0};
    uint64_t last = 0;
    const struct store_model *model = store_find_file(store, bytes_of(name));
    CHECK(model && store_delete(store, 77, model, &err) == OK);
    while (last != 77)
        turn(1000, &last, &err);
    CHECK(err.status == OK);
}

// ---- the straight way ---------------------------------------------------------------------------

static void test_whole(void)
{
    struct err err;
    open_store();
    CHECK(store_n_incoming(store) == 0);
    struct incoming *incoming = make("upload-1", "one", FILE_BYTES, digest_text, &err);
    CHECK(incoming && store_n_incoming(store) == 1 && store_incoming(store, 0) == incoming);
    hold("upload-1");
    CHECK(give(incoming, content, 0, FILE_BYTES) == OK);
    CHECK(incoming_add(incoming, bytes_of("x")) == TOO_LARGE);
    incoming_sync(incoming);
    CHECK(wait_settled("upload-1"));
    CHECK(incoming_at(incoming)->n_safe == FILE_BYTES && incoming_at(incoming)->is_held);
    CHECK(!store_find_file(store, bytes_of("one")) && !there("home/one.gguf"));
    incoming_finish(incoming);
    struct arrival end = end_of("upload-1");
    CHECK(end.phase == INCOMING_DONE && end.fault.status == OK && !end.is_held);
    CHECK(wait_model("one") && is_content("home/one.gguf"));
    CHECK_TEXT(store_find_file(store, bytes_of("one"))->sha256, digest_text);
    CHECK(store_find_digest(store, bytes_of(digest_text)));
    CHECK(n_files("home/.incoming") == 0);
    // of unknown length and digest
    incoming = make("upload-2", "two", 0, "", &err);
    hold("upload-2");
    CHECK(give(incoming, content, 0, FILE_BYTES) == OK);
    incoming_finish(incoming);
    end = end_of("upload-2");
    CHECK(end.phase == INCOMING_DONE && end.n_bytes == FILE_BYTES);
    CHECK_TEXT(end.sha256, digest_text);
    // an upload of that id may begin again
    CHECK(make("upload-2", "two", 0, "", &err) == NULL && err.status == DENIED);
    drop_model("two");
    CHECK(make("upload-2", "two", 0, "", &err) != NULL);
    CHECK(wait_settled("upload-2"));
    incoming_delete(find("upload-2"));
    CHECK(!find("upload-2"));
    drop_model("one");
    store_close(store);
    CHECK(n_files("home/.incoming") == 0);
}

static void test_refusals(void)
{
    struct err err;
    open_store();
    CHECK(!make("", "one", 1, "", &err) && err.status == BAD_INPUT);
    CHECK(!make(".x", "one", 1, "", &err) && err.status == BAD_INPUT);
    CHECK(!make("../x", "one", 1, "", &err) && err.status == BAD_INPUT);
    CHECK(!make("a", "../one", 1, "", &err) && err.status == BAD_INPUT);
    CHECK(!make("a", "one", 1, "abc", &err) && err.status == BAD_INPUT);
    CHECK(!make("a", "one", UINT64_MAX, "", &err) && err.status == TOO_LARGE);
    CHECK(!make("a", "one", INT64_MAX, "", &err) && err.status == NO_ROOM);
    CHECK(strstr(err.text, "the disk has no room for it"));
    CHECK(make("a", "one", 100, "", &err) != NULL);
    CHECK(!make("a", "two", 100, "", &err) && err.status == DENIED);
    CHECK(!make("b", "one", 100, "", &err) && err.status == DENIED);
    CHECK(!make("b", "one-00001-of-00002", 100, "", &err) && err.status == DENIED);
    CHECK(wait_settled("a"));
    // not all is there
    hold("a");
    CHECK(give(find("a"), content, 0, 50) == OK);
    incoming_finish(find("a"));
    struct arrival end = end_of("a");
    CHECK(end.phase == INCOMING_ARRIVES && end.fault.status == BAD_INPUT);
    CHECK_TEXT(end.fault.text, "50 of the file's 100 bytes are here");
    // another holder takes it, and goes on
    n_lost = 0;
    CHECK(hold("a") && n_lost == 1 && incoming_at(find("a"))->n_taken == 50);
    incoming_delete(find("a"));
    CHECK(n_lost == 2);
    // deleted while it ends
    CHECK(make("e", "ends", FILE_BYTES, "", &err) && hold("e"));
    CHECK(give(find("e"), content, 0, FILE_BYTES) == OK);
    incoming_finish(find("e"));
    incoming_delete(find("e"));
    CHECK(!find("e") && make("e", "ends", 10, "", &err) && wait_settled("e"));
    CHECK(incoming_at(find("e"))->phase == INCOMING_ARRIVES && n_files("home") == 0);
    incoming_delete(find("e"));
    struct incoming *held[INCOMING_HELD_MOST + 1];
    for (size_t i = 0; i <= INCOMING_HELD_MOST; i++) {
        char id[16];
        snprintf(id, sizeof(id), "many-%zu", i);
        held[i] = make(id, id, 10, "", &err);
        CHECK(held[i] &&
              incoming_hold(held[i], told, NULL, &err) == (i < INCOMING_HELD_MOST ? OK : NO_ROOM));
    }
    for (size_t i = 0; i <= INCOMING_HELD_MOST; i++)
        incoming_delete(held[i]);
    store_close(store);
    CHECK(n_files("home/.incoming") == 0);
}

static struct arrival send_all(const char *id, const char *name, const char *sha256,
                               const uint8_t *bytes, size_t n)
{
    struct err err;
    struct incoming *incoming = make(id, name, n, sha256, &err);
    CHECK(incoming != NULL);
    hold(id);
    CHECK(give(incoming, bytes, 0, n) == OK);
    incoming_finish(incoming);
    return end_of(id);
}

static void test_wrong(void)
{
    static uint8_t other[1000];
    char wrong[65];
    memcpy(other, content, sizeof(other));
    memcpy(wrong, digest_text, sizeof(wrong));
    wrong[0] = wrong[0] == '0' ? '1' : '0';
    open_store();
    struct arrival end = send_all("w-1", "w", wrong, content, FILE_BYTES);
    CHECK(end.phase == INCOMING_FAILED && strstr(end.fault.text, digest_text) &&
          strstr(end.fault.text, wrong));
    end = send_all("w-2", "w", "", (const uint8_t *)"this is no model", 16);
    CHECK(end.phase == INCOMING_FAILED && strstr(end.fault.text, "no GGUF file"));
    end = send_all("w-3", "w", "", (const uint8_t *)"GG", 2);
    CHECK(end.phase == INCOMING_FAILED && strstr(end.fault.text, "no GGUF file"));
    other[4] = 4; // no version that is known, and one of a file from a big-endian machine
    end = send_all("c4", "c4", "", other, sizeof(other));
    CHECK(end.phase == INCOMING_FAILED && strstr(end.fault.text, "version 4"));
    other[4] = 0;
    other[7] = 3;
    end = send_all("c5", "c5", "", other, sizeof(other));
    CHECK(end.phase == INCOMING_FAILED && strstr(end.fault.text, "big-endian"));
    other[4] = 3;
    other[7] = 0;
    other[8] = 'X';
    end = send_all("w-4", "w", "", other, sizeof(other));
    CHECK(end.phase == INCOMING_FAILED);
    CHECK_TEXT(end.fault.text, "the file cannot be a model: it is spoilt");
    CHECK(n_files("home") == 0 && n_files("home/.incoming") == 0);
    other[8] = 'U'; // what cannot be run is a model all the same, and says why it cannot
    CHECK(send_all("w-5", "w", "", other, sizeof(other)).phase == INCOMING_DONE);
    CHECK(wait_model("w"));
    // a file of that name came by another way
    struct err err;
    struct incoming *incoming = make("w-6", "late", sizeof(other), "", &err);
    hold("w-6");
    CHECK(give(incoming, content, 0, sizeof(other)) == OK);
    CHECK(file_write(at("home/late.gguf"), bytes_of("GGUF by hand"), 0644, &err) == OK);
    incoming_finish(incoming);
    end = end_of("w-6");
    CHECK(end.phase == INCOMING_KEPT && end.fault.status == DENIED && !end.name[0]);
    uint64_t last = 0;
    CHECK(incoming_name(find("w-6"), 9, bytes_of("later"), &err) == OK);
    while (last != 9)
        turn(1000, &last, &err);
    CHECK(err.status == OK && there("home/later.gguf") && wait_model("late"));
    drop_model("late");
    drop_model("later");
    drop_model("w");
    store_close(store);
}

// ---- cuts ---------------------------------------------------------------------------------------

// The holder goes after every 100 KB, and each second time the store is closed too.
static void test_holder_goes(void)
{
    struct err err;
    open_store();
    CHECK(make("cut", "cut", FILE_BYTES, digest_text, &err));
    for (size_t n = 0, turns = 0; n < FILE_BYTES; turns++) {
        struct incoming *incoming = hold("cut");
        incoming_sync(incoming);
        CHECK(wait_settled("cut"));
        n = incoming_at(incoming)->n_safe;
        CHECK(n == (turns * 100000 < FILE_BYTES ? turns * 100000 : FILE_BYTES));
        CHECK(give(incoming, content, n, n + 100000 < FILE_BYTES ? n + 100000 : FILE_BYTES) == OK);
        incoming_let_go(incoming);
        if (turns % 2) {
            store_close(store);
            CHECK(n_files("home") == 0);
            open_store();
            CHECK(find("cut") && incoming_at(find("cut"))->n_bytes == FILE_BYTES);
            CHECK_TEXT(incoming_at(find("cut"))->source, "a test");
        }
    }
    struct incoming *incoming = hold("cut");
    incoming_finish(incoming);
    CHECK(end_of("cut").phase == INCOMING_DONE && is_content("home/cut.gguf"));
    CHECK(wait_model("cut"));
    drop_model("cut");
    store_close(store);
}

// A process that goes on from where the last one was killed, and says on the pipe what is safe.
static void child(int fd)
{
    struct err err;
    open_store();
    if (!find("kill"))
        (void)make("kill", "kill", FILE_BYTES, digest_text, &err);
    struct incoming *incoming = hold("kill");
    for (;;) {
        incoming_sync(incoming);
        (void)wait_settled("kill");
        const uint64_t n = incoming_at(incoming)->n_safe;
        if (write(fd, &n, sizeof(n)) != sizeof(n) || n == FILE_BYTES)
            break;
        (void)give(incoming, content, n, n + 30000 < FILE_BYTES ? n + 30000 : FILE_BYTES);
    }
    incoming_finish(incoming);
    (void)end_of("kill");
    _exit(0);
}

static void test_killed(void)
{
    uint64_t safe = 0;
    int n_turns = 0, status = 1;
    while (n_turns++ < 200) {
        int fds[2];
        uint64_t n = 0;
        CHECK(pipe(fds) == 0);
        pid_t pid = fork();
        if (pid == 0) {
            close(fds[0]);
            child(fds[1]);
        }
        close(fds[1]);
        const bool began = read(fds[0], &n, sizeof(n)) == sizeof(n);
        CHECK(began && n >= safe); // what was said to be safe is there
        struct timespec moment = {.tv_nsec = 300000L * (n_turns % 17)};
        nanosleep(&moment, NULL);
        if (n_turns < 60)
            kill(pid, SIGKILL);
        safe = n;
        while (read(fds[0], &n, sizeof(n)) == sizeof(n))
            safe = n;
        close(fds[0]);
        waitpid(pid, &status, 0);
        CHECK(there("home/kill.gguf") ? is_content("home/kill.gguf") : n_files("home") == 0);
        if (WIFEXITED(status) || there("home/kill.gguf"))
            break;
    }
    CHECK(n_turns > 3 && is_content("home/kill.gguf"));
    open_store();
    CHECK(store_n_incoming(store) == 0 && n_files("home/.incoming") == 0);
    CHECK(wait_model("kill"));
    drop_model("kill");
    store_close(store);
}

// The disk is full at every 100 KB: RLIMIT_FSIZE stands for it, which fails with EFBIG.
static void test_full(void)
{
    struct err err;
    struct rlimit before, now;
    CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
    signal(SIGXFSZ, SIG_IGN);
    open_store();
    CHECK(make("full", "full", 0, digest_text, &err) && wait_settled("full"));
    for (uint64_t n = 100000; n < FILE_BYTES; n += 100000) {
        now = before;
        now.rlim_cur = n;
        CHECK(setrlimit(RLIMIT_FSIZE, &now) == 0);
        struct incoming *incoming = hold("full");
        const size_t from = incoming_at(incoming)->n_taken;
        CHECK(from == n - 100000);
        (void)give(incoming, content, from, FILE_BYTES);
        incoming_sync(incoming);
        CHECK(wait_settled("full") && incoming_at(incoming)->fault.status == NO_ROOM);
        CHECK(strstr(incoming_at(incoming)->fault.text, "the disk is full"));
        CHECK(incoming_at(incoming)->n_taken == n);
        incoming_let_go(incoming);
    }
    CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
    struct incoming *incoming = hold("full");
    CHECK(give(incoming, content, incoming_at(incoming)->n_taken, FILE_BYTES) == OK);
    incoming_finish(incoming);
    CHECK(end_of("full").phase == INCOMING_DONE && is_content("home/full.gguf"));
    CHECK(wait_model("full"));
    drop_model("full");
    store_close(store);
}

// ---- parts, names -------------------------------------------------------------------------------

static void test_parts(void)
{
    char id[16], name[40];
    static uint8_t parts[5000];
    struct err err;
    memcpy(parts, content, sizeof(parts));
    parts[8] = 'P';
    open_store();
    for (int no = 3; no >= 1; no--) {
        snprintf(id, sizeof(id), "part-%d", no);
        snprintf(name, sizeof(name), "big-%05d-of-00003", no);
        CHECK(n_files("home") == 0);
        struct arrival end = send_all(id, name, "", parts, sizeof(parts));
        CHECK(n_beside == 4 - no); // it was read beside those that were here
        CHECK(end.phase == (no > 1 ? INCOMING_KEPT : INCOMING_DONE));
        if (no == 2) { // they wait over a restart
            store_close(store);
            open_store();
            CHECK(find("part-2") && incoming_at(find("part-2"))->phase == INCOMING_KEPT);
            CHECK(!make("other", "big", 5, "", &err) && err.status == DENIED);
        }
    }
    CHECK(wait_model("big") && store_find_file(store, bytes_of("big"))->file_bytes == 15000);
    CHECK(incoming_at(find("part-3"))->phase == INCOMING_DONE);
    store_close(store);
    // cut between the second part and the first: the next start does the rest
    CHECK(rename(at("home/big-00001-of-00003.gguf"), at("home/.incoming/part-1.part")) == 0);
    CHECK(file_write(at("home/.incoming/part-1.record"),
                     bytes_of("name big-00001-of-00003\nbytes 5000\nsha256 \nsource \nbegan 5\n"
                              "whole 1\n"),
                     0600, &err) == OK);
    open_store();
    CHECK(store_find_file(store, bytes_of("big"))->file_bytes == 15000);
    CHECK(store_n_incoming(store) == 0 && n_files("home/.incoming") == 0);
    // a part that somebody deleted may come again
    CHECK(unlink(at("home/big-00002-of-00003.gguf")) == 0);
    CHECK(send_all("again", "big-00002-of-00003", "", parts, 5000).phase == INCOMING_DONE);
    drop_model("big");
    // one that is spoilt, or another model's, is refused; the others stay
    CHECK(send_all("s-1", "set-00001-of-00003", "", parts, 5000).phase == INCOMING_KEPT);
    parts[8] = 'X';
    struct arrival end = send_all("s-2", "set-00002-of-00003", "", parts, 5000);
    CHECK(end.phase == INCOMING_FAILED);
    CHECK_TEXT(end.fault.text, "the file cannot be a model: set-00002-of-00003.gguf: it is spoilt");
    CHECK(incoming_at(find("s-1"))->phase == INCOMING_KEPT && n_files("home/.incoming") == 2);
    parts[8] = 'P';
    end = send_all("s-3", "four-00001-of-00004", "", parts, 5000);
    CHECK(end.phase == INCOMING_FAILED &&
          strstr(end.fault.text, "one of 4 parts, by its keys of 3"));
    end = send_all("s-4", "lonely", "", parts, 5000); // a part that is not called so
    CHECK(end.phase == INCOMING_FAILED && strstr(end.fault.text, "by its keys it is a part"));
    // without a name it is kept, and read when it has one
    CHECK(send_all("sha256-b", "", "", parts, 5000).phase == INCOMING_KEPT);
    uint64_t last = 0;
    CHECK(incoming_name(find("sha256-b"), 5, bytes_of("lonely"), &err) == OK);
    while (last != 5)
        turn(1000, &last, &err);
    CHECK(err.status == BAD_INPUT && incoming_at(find("sha256-b"))->phase == INCOMING_KEPT);
    CHECK(incoming_name(find("sha256-b"), 6, bytes_of("set-00002-of-00003"), &err) == OK);
    while (last != 6)
        turn(1000, &last, &err);
    CHECK(err.status == OK && !there("home/set-00001-of-00003.gguf"));
    CHECK(send_all("s-5", "set-00003-of-00003", "", parts, 5000).phase == INCOMING_DONE);
    CHECK(wait_model("set") && n_files("home/.incoming") == 0);
    drop_model("set");
    store_close(store);
}

static void test_nameless(void)
{
    struct err err;
    uint64_t last = 0;
    open_store();
    struct arrival end = send_all("sha256-a", "", digest_text, content, FILE_BYTES);
    CHECK(end.phase == INCOMING_KEPT && n_files("home") == 0);
    store_close(store);
    open_store();
    struct incoming *incoming = find("sha256-a");
    CHECK(incoming && incoming_at(incoming)->phase == INCOMING_KEPT);
    CHECK(incoming_name(incoming, 1, bytes_of("a/b"), &err) == BAD_INPUT);
    CHECK(incoming_name(incoming, 1, bytes_of("named"), &err) == OK);
    while (last != 1)
        turn(1000, &last, &err);
    CHECK(err.status == OK && is_content("home/named.gguf"));
    CHECK_TEXT(store_find_file(store, bytes_of("named"))->sha256, digest_text);
    drop_model("named");
    store_close(store);
}

// An update of the system is kept whatever is in it, becomes no model, and is gone when the store
// is opened again.
static void test_update(void)
{
    static uint8_t bytes[5000] = "TAWNYUPD";
    struct err err;
    open_store();
    struct arrival end = send_all("update-1", "", "", bytes, sizeof(bytes));
    CHECK(end.phase == INCOMING_KEPT && end.fault.status == OK && n_files("home") == 0);
    CHECK(there("home/.incoming/update-1.part"));
    CHECK(incoming_name(find("update-1"), 1, bytes_of("model"), &err) == NOT_FOUND);
    store_close(store);
    open_store();
    CHECK(!find("update-1") && !there("home/.incoming/update-1.part") &&
          !there("home/.incoming/update-1.record"));
    store_close(store);
}

// ---- what lies there at the start ---------------------------------------------------------------

static void put(const char *name, const char *text)
{
    struct err err = {0};
    CHECK(file_write(at(name), bytes_of(text), 0644, &err) == OK);
}

static void test_strays(void)
{
    put("home/.incoming/lonely.part", "GGUF");
    put("home/.incoming/big-00001-of-00002.gguf", "GGUF"); // of a check that was cut
    put("home/.incoming/empty.record", "name x\nbytes 10\n");
    put("home/.incoming/long.record", "name y\nbytes 3\n");
    put("home/.incoming/long.part", "GGUF!");
    put("home/.incoming/bad.record", "name ../../x\n");
    put("home/.incoming/bad.part", "GGUF!");
    put("home/.incoming/x.record.new", "half of");
    put("home/.incoming/old.record", "name old\nbytes 0\nsha256 \nsource \nbegan 5\nwhole 0\n");
    put("home/.incoming/old.part", "GGUF!");
    put("home/.incoming/good.record", "name good\nbytes 9\nsha256 \nsource \nbegan 7\nwhole 0\n");
    put("home/.incoming/good.part", "GGUF!");
    const struct timespec days[2] = {{.tv_sec = time(NULL) - 8 * 24 * 3600},
                                     {.tv_sec = time(NULL) - 8 * 24 * 3600}};
    CHECK(utimensat(AT_FDCWD, at("home/.incoming/old.part"), days, 0) == 0);
    open_store();
    const uint64_t until_ms = clock_ms() + 20000;
    while (incoming_at(find("old"))->phase != INCOMING_FAILED && clock_ms() < until_ms)
        turn(100, NULL, NULL);
    CHECK(strstr(incoming_at(find("old"))->fault.text, "for 8 days"));
    CHECK(n_files("home/.incoming") == 2 && find("good"));
    CHECK(incoming_at(find("good"))->n_taken == 5 && incoming_at(find("good"))->n_bytes == 9);
    incoming_delete(find("good"));
    store_close(store);
    CHECK(n_files("home/.incoming") == 0);
}

// ---- digests of files that were here ------------------------------------------------------------

static void wait_digest(const char *name)
{
    const uint64_t until_ms = clock_ms() + 20000;
    while (!store_find_file(store, bytes_of(name))->sha256[0] && clock_ms() < until_ms)
        turn(100, NULL, NULL);
}

static void test_digests(void)
{
    struct err err;
    struct timespec old[2] = {{.tv_sec = time(NULL) - 100}, {.tv_sec = time(NULL) - 100}};
    CHECK(file_write(at("home/old.gguf"), (struct bytes){content, FILE_BYTES}, 0644, &err) == OK);
    CHECK(utimensat(AT_FDCWD, at("home/old.gguf"), old, 0) == 0);
    open_store();
    wait_digest("old");
    CHECK_TEXT(store_find_file(store, bytes_of("old"))->sha256, digest_text);
    store_close(store);
    open_store(); // it is kept: known at once
    CHECK_TEXT(store_find_file(store, bytes_of("old"))->sha256, digest_text);
    store_close(store);
    put("home/old.gguf", "another"); // and counts for that file alone
    CHECK(utimensat(AT_FDCWD, at("home/old.gguf"), old, 0) == 0);
    open_store();
    CHECK(strcmp(store_find_file(store, bytes_of("old"))->sha256, digest_text) != 0);
    wait_digest("old");
    CHECK_TEXT(store_find_file(store, bytes_of("old"))->sha256,
               "ae448ac86c4e8e4dec645729708ef41873ae79c6dff84eff73360989487f08e5");
    drop_model("old");
    store_close(store);
}

int main(void)
{
    CHECK(mkdtemp(dir) != NULL && mkdir(at("home"), 0755) == 0);
    make_content();
    test_whole();
    test_refusals();
    test_wrong();
    test_holder_goes();
    test_killed();
    test_full();
    test_parts();
    test_nameless();
    test_update();
    test_strays();
    test_digests();
    return check_done("store_incoming");
}
