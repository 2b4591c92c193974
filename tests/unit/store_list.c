// store_list.c - the store over folders made for it: what is listed and how it is called, aliases,
// copies and deletions, changes that others make, and what is refused.
#include "../../engine/store/store.h"
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/tawny-store-XXXXXX";
static struct store *store;
static _Atomic int n_described;

static const char *at(const char *name)
{
    static char paths[8][256];
    static int turn;
    char *path = paths[turn++ % 8];
    snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
    return path;
}

static void put(const char *name, const char *text)
{
    int fd = open(at(name), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static bool there(const char *name)
{
    return access(at(name), F_OK) == 0;
}

// A file tells its architecture; "bad" is spoilt.
static enum status describe(struct store_about *out, const char *path, struct err *err)
{
    struct buf text;
    n_described++;
    if (strcmp(path, "builtin") == 0) {
        snprintf(out->arch, sizeof(out->arch), "own");
        return OK;
    }
    if (file_read(&text, path, 100, err) != OK)
        return err->status;
    snprintf(out->arch, sizeof(out->arch), "%.*s", (int)text.n, (const char *)text.p);
    buf_free(&text);
    return strcmp(out->arch, "bad") == 0 ? err_set(err, BAD_INPUT, "it is spoilt") : OK;
}

static const char *attached; // where sticks are mounted; NULL: nowhere

static enum status open_store(const char *folders, const char *aliases, struct err *err)
{
    const struct store_options options = {.home = at("home"),
                                          .folders = folders,
                                          .files = {"builtin", NULL},
                                          .aliases = aliases,
                                          .kept = at("aliases"),
                                          .attached = attached,
                                          .describe = describe};
    return store_open(&store, &options, err);
}

static void turn(int wait_ms, uint64_t *last, struct err *err)
{
    struct store_done done;
    struct pollfd poll_fd = {.fd = store_fd(store), .events = POLLIN};
    (void)poll(&poll_fd, 1, wait_ms);
    while (store_take(store, &done))
        if (done.id) {
            *last = done.id;
            *err = done.err;
        }
}

static struct err wait_for(uint64_t id)
{
    struct err err = {0};
    uint64_t last = 0, until_ms = clock_ms() + 5000;
    while (last != id && clock_ms() < until_ms)
        turn(100, &last, &err);
    CHECK(last == id);
    return err;
}

static const struct store_model *find(const char *name)
{
    return store_find(store, bytes_of(name));
}

static bool all_described(void)
{
    for (size_t i = 0; i < store_n_models(store); i++)
        if (!store_model(store, i)->is_described)
            return false;
    return true;
}

static void wait_described(void)
{
    struct err err;
    uint64_t last, until_ms = clock_ms() + 5000;
    while (!all_described() && clock_ms() < until_ms)
        turn(100, &last, &err);
    CHECK(all_described());
}

static bool wait_there(const char *name, bool wanted)
{
    struct err err;
    uint64_t last, until_ms = clock_ms() + 5000;
    while ((find(name) != NULL) != wanted && clock_ms() < until_ms)
        turn(50, &last, &err);
    return (find(name) != NULL) == wanted;
}

static void make_files(void)
{
    static const char *const dirs[] = {"home",  "home/deep", "home/.hidden",
                                       "stick", "stick/a",   "stick/b"};
    for (size_t i = 0; i < COUNT_OF(dirs); i++)
        CHECK(mkdir(at(dirs[i]), 0755) == 0);
    put("home/one.gguf", "llama");
    put("home/deep/two.gguf", "qwen");
    put("home/deep/spoilt.gguf", "bad");
    put("home/.hidden/no.gguf", "x");
    put("home/.part.gguf", "x");
    put("home/read.me", "x");
    put("home/big-00001-of-00003.gguf", "12345");
    put("home/big-00002-of-00003.gguf", "123");
    put("home/big-00003-of-00003.gguf", "1");
    put("home/odd-00009-of-00003.gguf", "odd"); // no such part: a name like any other
    put("home/builtin.gguf", "file");           // the binary's keeps the name
    put("stick/one.gguf", "other");
    put("stick/a/three.gguf", "x");
    put("stick/b/three.gguf", "y");
    CHECK(symlink(at("home"), at("stick/a/loop")) == 0);
    CHECK(symlink(at("nothing"), at("stick/dangling.gguf")) == 0);
    CHECK(mkfifo(at("stick/pipe.gguf"), 0644) == 0);
}

static void test_list(void)
{
    static const char *const names[] = {
        "b/three", "big",    "builtin",   "home/builtin", "odd-00009-of-00003",
        "one",     "spoilt", "stick/one", "three",        "two"};
    struct err err = {0};
    char text[400];
    CHECK(open_store(at("stick"), "", &err) == OK);
    CHECK(store_n_models(store) == COUNT_OF(names)); // known at once
    for (size_t i = 0; i < COUNT_OF(names) && i < store_n_models(store); i++)
        CHECK_TEXT(store_model(store, i)->name, names[i]);
    wait_described();
    CHECK_TEXT(find("one")->about.arch, "llama");
    CHECK_TEXT(find("stick/one")->about.arch, "other");
    CHECK_TEXT(find("three")->about.arch, "x");
    CHECK_TEXT(find("builtin")->about.arch, "own");
    CHECK(find("one")->is_ours && !find("stick/one")->is_ours && !find("builtin")->is_ours);
    CHECK(find("one")->modified_s > 0 && find("one")->file_bytes == 5);
    CHECK(find("big")->file_bytes == 9);
    CHECK(strstr(find("big")->path, "/big-00001-of-00003.gguf"));
    CHECK(find("spoilt")->fault.status == BAD_INPUT && find("one")->fault.status == OK);
    CHECK_TEXT(find("spoilt")->fault.text, "it is spoilt");
    CHECK(!find("four") && !find(""));
    CHECK_TEXT(store_names(store, text, sizeof(text)),
               "b/three, big, builtin, home/builtin, odd-00009-of-00003, one, spoilt, stick/one, "
               "three, two");
    CHECK_TEXT(store_names(store, text, 40), "b/three, big and 8 more");
    store_close(store);
}

// The third of one name is called by its path.
static void test_collision(void)
{
    struct err err = {0};
    CHECK(mkdir(at("more"), 0755) == 0 && mkdir(at("more/stick"), 0755) == 0);
    put("more/stick/one.gguf", "third");
    char folders[600];
    snprintf(folders, sizeof(folders), "%s ,  %s,%s", at("stick"), at("more"), at("not-there"));
    CHECK(open_store(folders, "", &err) == OK);
    wait_described();
    CHECK(find(at("more/stick/one.gguf")) != NULL);
    CHECK_TEXT(find(at("more/stick/one.gguf"))->about.arch, "third");
    CHECK_TEXT(find("stick/one")->about.arch, "other"); // the first of that name
    store_close(store);
    CHECK(unlink(at("more/stick/one.gguf")) == 0);
}

static void test_aliases(void)
{
    struct err err = {0};
    CHECK(open_store("", "gpt-4o: two, llama:8b: one", &err) == OK);
    CHECK(store_n_aliases(store) == 2 && store_alias(store, 0)->is_set);
    CHECK(find("gpt-4o") == find("two") && find("llama:8b") == find("one") && !find("any"));
    // kept ones, and any name
    CHECK(store_name(store, 5, bytes_of("*"), bytes_of("one"), &err) == OK);
    CHECK(wait_for(5).status == OK && find("any") == find("one"));
    CHECK(!store_find_file(store, bytes_of("any")));
    CHECK(store_name(store, 6, bytes_of("mine"), bytes_of("two"), &err) == OK);
    CHECK(wait_for(6).status == OK && find("mine") == find("two"));
    CHECK(store_name(store, 7, bytes_of("one"), bytes_of("two"), &err) == DENIED);
    CHECK(store_name(store, 7, bytes_of("x"), bytes_of("nothing"), &err) == NOT_FOUND);
    CHECK(store_name(store, 7, bytes_of("a/b"), bytes_of("two"), &err) == BAD_INPUT);
    CHECK(store_name(store, 7, bytes_of("x: y"), bytes_of("two"), &err) == BAD_INPUT);
    CHECK(strstr(err.text, "'x: y' cannot be an alias"));
    CHECK(store_name(store, 7, bytes_of(" x"), bytes_of("two"), &err) == BAD_INPUT);
    CHECK(store_name(store, 7, bytes_of("x "), bytes_of("two"), &err) == BAD_INPUT);
    CHECK(store_name(store, 11, bytes_of("x:,:y,z:"), bytes_of("two"), &err) == OK);
    CHECK(wait_for(11).status == OK && find("x:,:y,z:") == find("two"));
    CHECK(store_name(store, 7, bytes_of("gpt-4o"), bytes_of("one"), &err) == OK);
    err = wait_for(7);
    CHECK(err.status == DENIED && strstr(err.text, "tawny.conf"));
    store_close(store);
    CHECK(open_store("", "", &err) == OK); // they outlive it; the setting's do not
    CHECK(store_n_aliases(store) == 3 && !store_alias(store, 0)->is_set);
    CHECK(find("x:,:y,z:") == find("two"));
    CHECK(find("mine") == find("two") && find("any") == find("one"));
    CHECK(store_name(store, 8, bytes_of("*"), (struct bytes){NULL, 0}, &err) == OK);
    CHECK(wait_for(8).status == OK && !find("any") && find("mine"));
    CHECK(store_name(store, 9, bytes_of("*"), (struct bytes){NULL, 0}, &err) == OK);
    CHECK(wait_for(9).status == NOT_FOUND);
    store_close(store);
    static const char *const bad[] = {
        "x", "x:y", ": y", "x: ", "a/b: one", "x: a, x: b", "x: y, a: a"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        CHECK(open_store("", bad[i], &err) == BAD_INPUT);
        CHECK(strstr(err.text, "alias: "));
        CHECK(store_settings_good("", bad[i], &err) == BAD_INPUT && strstr(err.text, "alias: "));
    }
    CHECK(open_store("relative", "", &err) == BAD_INPUT &&
          strstr(err.text, "models: \"relative\""));
    CHECK(store_settings_good("relative", "", &err) == BAD_INPUT && strstr(err.text, "models: "));
    CHECK(store_settings_good("/a,/b,/c,/d,/e,/f,/g,/h", "a: b, *: c", &err) == OK);
    CHECK(store_settings_good("/a,/b,/c,/d,/e,/f,/g,/h,/i", "", &err) == TOO_LARGE);
    put("aliases", "good: one\nnonsense\n");
    CHECK(open_store("", "", &err) == OK && find("good") == find("one"));
    store_close(store);
    CHECK(unlink(at("aliases")) == 0);
}

static void test_copy_and_delete(void)
{
    struct err err = {0};
    CHECK(open_store(at("stick"), "", &err) == OK);
    CHECK(store_copy(store, 1, find("two"), bytes_of("zwei:latest"), &err) == OK);
    CHECK(wait_for(1).status == OK && there("home/zwei:latest.gguf"));
    CHECK(store_copy(store, 2, find("big"), bytes_of("large"), &err) == OK);
    CHECK(wait_for(2).status == OK && there("home/large-00003-of-00003.gguf"));
    CHECK(find("large")->file_bytes == 9);
    CHECK(store_copy(store, 3, find("two"), bytes_of("one"), &err) == DENIED);
    CHECK(store_copy(store, 3, find("two"), bytes_of(".x"), &err) == BAD_INPUT);
    CHECK(store_copy(store, 3, find("two"), bytes_of("../x"), &err) == BAD_INPUT);
    CHECK(store_copy(store, 4, find("three"), bytes_of("drei"), &err) == OK); // an alias
    CHECK(wait_for(4).status == OK && find("drei") == find("three") && !there("home/drei.gguf"));
    // the second part of a copy is in the way: nothing is left of it
    put("home/huge-00002-of-00003.gguf", "in the way");
    CHECK(store_copy(store, 5, find("big"), bytes_of("huge2"), &err) == OK);
    CHECK(wait_for(5).status == OK);
    CHECK(unlink(at("home/huge-00002-of-00003.gguf")) == 0);
    CHECK(store_delete(store, 6, find("two"), &err) == OK);
    CHECK(wait_for(6).status == OK && !find("two") && !there("home/deep/two.gguf"));
    CHECK_TEXT(find("zwei:latest")->name, "zwei:latest"); // it outlives the first
    CHECK(store_delete(store, 7, find("large"), &err) == OK);
    CHECK(wait_for(7).status == OK && !there("home/large-00002-of-00003.gguf"));
    CHECK(there("home/big-00002-of-00003.gguf"));
    CHECK(store_delete(store, 8, find("three"), &err) == DENIED);
    CHECK(store_delete(store, 8, find("builtin"), &err) == DENIED);
    store_close(store);
}

// A copy that fails half way leaves nothing behind: the name of its first part is taken by a file
// that the store does not see as one.
static void test_failed_copy(void)
{
    struct err err = {0};
    CHECK(mkdir(at("home/wide-00001-of-00003.gguf"), 0755) == 0);
    CHECK(open_store("", "", &err) == OK);
    CHECK(store_copy(store, 1, find("big"), bytes_of("wide"), &err) == OK);
    err = wait_for(1);
    CHECK(err.status == DENIED && strstr(err.text, "there is a file of that name"));
    CHECK(!there("home/wide-00002-of-00003.gguf") && !there("home/wide-00003-of-00003.gguf"));
    store_close(store);
    CHECK(rmdir(at("home/wide-00001-of-00003.gguf")) == 0);
}

static void test_changes(void)
{
    struct err err = {0};
    CHECK(open_store(at("stick"), "", &err) == OK);
    wait_described();
    const int before = n_described;
    CHECK(mkdir(at("home/new"), 0755) == 0);
    put("home/late.gguf", "late");
    CHECK(wait_there("late", true));
    wait_described();
    CHECK_TEXT(find("late")->about.arch, "late");
    CHECK(n_described == before + 1);    // what is as it was is not read again
    put("home/new/deeper.gguf", "deep"); // a folder that was not there
    CHECK(wait_there("deeper", true));
    CHECK(rename(at("home/late.gguf"), at("home/later.gguf")) == 0);
    CHECK(wait_there("later", true) && !find("late"));
    CHECK(unlink(at("home/later.gguf")) == 0);
    CHECK(wait_there("later", false));
    put("home/one.gguf", "another");
    uint64_t last, until_ms = clock_ms() + 5000;
    while (strcmp(find("one")->about.arch, "another") != 0 && clock_ms() < until_ms)
        turn(50, &last, &err);
    CHECK_TEXT(find("one")->about.arch, "another");
    store_close(store);
}

// Sticks come and go below a folder; what is on them is only read.
static void test_attached(void)
{
    struct err err = {0};
    char eight[800] = "";
    CHECK(mkdir(at("media"), 0755) == 0);
    char media[300];
    snprintf(media, sizeof(media), "%s", at("media"));
    attached = media;
    for (int i = 0; i < STORE_FOLDERS_MOST; i++) // they leave it its place
        snprintf(eight + strlen(eight), sizeof(eight) - strlen(eight), "%s/f%d,", at("none"), i);
    CHECK(open_store(eight, "", &err) == OK);
    CHECK(mkdir(at("media/sdb1"), 0755) == 0);
    put("media/sdb1/usb.gguf", "usb");
    put("media/sdb1/one.gguf", "usb");
    CHECK(wait_there("usb", true));
    CHECK(!find("usb")->is_ours && find("sdb1/one") && find("one")->is_ours);
    CHECK(store_delete(store, 3, find("usb"), &err) == DENIED);
    CHECK(rename(at("media/sdb1"), at("pulled")) == 0); // as a mount that is taken away
    CHECK(wait_there("usb", false) && !find("sdb1/one"));
    store_close(store);
    attached = NULL;
}

static void test_nothing(void)
{
    const struct store_options options = {
        .home = "/nowhere/models", .folders = "", .aliases = "", .kept = "", .describe = describe};
    struct err err = {0};
    char text[100];
    CHECK(store_open(&store, &options, &err) == OK);
    CHECK(store_n_models(store) == 0 && !find("x") && !store_name_good((struct bytes){NULL, 0}));
    CHECK_TEXT(store_names(store, text, sizeof(text)), "");
    store_close(store);
}

int main(void)
{
    CHECK(mkdtemp(dir) != NULL);
    make_files();
    test_list();
    test_collision();
    test_aliases();
    test_copy_and_delete();
    test_failed_copy();
    test_changes();
    test_attached();
    test_nothing();
    return check_done("store_list");
}
