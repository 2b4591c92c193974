/* reset.c - factory reset: the engine's folder becomes empty, before anything is read from it.
 *
 * Asked for by STATE/reset.pending (POST /v1/reset of the engine), or by its owner's tawny.reset on
 * the ESP (in a container: in /etc, and what is said of the ESP here counts for that file). Both
 * hold a word: ERASE, or ERASE BUT MODELS. The file on the ESP becomes the one in the state first,
 * and that one is what is removed last: a cut of the power leaves it, and the next start goes on.
 * Nothing is erased while the ESP's is still there, whoever asked: it would ask for it again at a
 * later start. Where it cannot be removed nothing is erased at all.
 *
 * What is erased is the content of STATE: keys, certificates, settings, reports, models. Nothing is
 * followed that is a link. tawny.conf stays, which is its owner's.
 */
#include "reset.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARK "reset.pending"
#define DEEPEST 16

enum reset_wish reset_read(const char *text, size_t len)
{
    char word[32];

    while (len && strchr(" \t\r\n", text[len - 1]))
        len--;
    snprintf(word, sizeof(word), "%.*s", (int)(len < 31 ? len : 31), text);
    if (len > 31)
        return RESET_NOT;
    return strcasecmp(word, "erase") == 0              ? RESET_ALL
           : strcasecmp(word, "erase but models") == 0 ? RESET_BUT_MODELS
                                                       : RESET_NOT;
}

/* Empties a folder whose descriptor becomes ours; true: nothing is left but what is kept. */
static bool empty(int fd, const char *keep, const char *keep_too, int depth)
{
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *e;
    bool good = d != NULL;

    if (!d && fd >= 0)
        close(fd);
    while (d && (e = readdir(d))) {
        const char *name = e->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || (keep && !strcmp(name, keep)) ||
            (keep_too && !strcmp(name, keep_too)) || unlinkat(fd, name, 0) == 0)
            continue;
        int inner = depth < DEEPEST
                        ? openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                        : -1;
        good = empty(inner, NULL, NULL, depth + 1) && unlinkat(fd, name, AT_REMOVEDIR) == 0 && good;
    }
    if (d)
        closedir(d);
    return good;
}

static int open_folder(const char *path)
{
    return open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

bool reset_erase(const char *state, bool keep_models)
{
    int fd = open_folder(state);
    bool good = empty(open_folder(state), MARK, keep_models ? "models" : NULL, 0);

    good = fd >= 0 && good && fsync(fd) == 0 && (unlinkat(fd, MARK, 0) == 0 || errno == ENOENT) &&
           fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return good;
}

/* The word in a small file; RESET_NOT: it is not there, or (*wrong) holds something else. */
static enum reset_wish wish_of(const char *path, bool *wrong)
{
    char text[64];
    struct stat st;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    *wrong = false;
    if (fd < 0)
        return RESET_NOT;
    ssize_t n = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? read(fd, text, sizeof(text)) : -1;
    close(fd);
    enum reset_wish wish = n > 0 ? reset_read(text, (size_t)n) : RESET_NOT;
    *wrong = wish == RESET_NOT;
    return wish;
}

/* The owner's file becomes the mark, over one that is there: what both ask for is done once. */
static enum reset_wish from_esp(const struct reset *r, const char *mark, enum reset_wish marked,
                                enum reset_wish wish)
{
    struct err err;

    if (marked == RESET_ALL)
        wish = marked;
    const char *word = wish == RESET_ALL ? "erase\n" : "erase but models\n";
    if (replace_file(mark, word, strlen(word), 0600, &err) != OK) {
        complain("reset", "nothing is erased: %s", err.text);
        return RESET_NOT;
    }
    sync();
    if (r->writable)
        r->writable(true);
    bool gone = unlink(r->file) == 0;
    int why = errno;
    sync();
    if (r->writable)
        r->writable(false);
    if (!gone) {
        complain("reset",
                 "nothing is erased, since %s cannot be removed (%s) and would ask for it "
                 "at every start",
                 r->file, strerror(why));
        unlink(mark);
    }
    return gone ? wish : RESET_NOT;
}

int reset_run(void *ctx)
{
    const struct reset *r = ctx;
    char mark[96];
    bool wrong = false;
    enum reset_wish asked = r->file ? wish_of(r->file, &wrong) : RESET_NOT;

    if (wrong)
        complain("reset", "%s holds neither ERASE nor ERASE BUT MODELS: nothing is erased for it",
                 r->file);
    if (!r->state) {
        if (asked != RESET_NOT)
            complain("reset", "nothing is erased: the data partition cannot be written");
        return 0;
    }
    snprintf(mark, sizeof(mark), "%s/" MARK, r->state);
    enum reset_wish wish = wish_of(mark, &wrong);
    if (wrong)
        unlink(mark);
    if (asked != RESET_NOT)
        wish = from_esp(r, mark, wish, asked);
    if (wish == RESET_NOT)
        return 0;
    bool good = reset_erase(r->state, wish == RESET_BUT_MODELS);
    complain("reset", "keys, certificates, settings%s %s", wish == RESET_ALL ? " and models" : "",
             good ? "are erased, as was asked for: this box is as new"
                  : "could not all be erased; the next start goes on with it");
    return good ? 0 : 1;
}
