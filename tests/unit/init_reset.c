/* init_reset.c - factory reset: what is erased, what is kept, and what asks for it. */
#include "../../init/reset.h"
#include "check.h"

#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

void __wrap_complain(const char *step, const char *format, ...);

static char dir[64], said[400];

void __wrap_complain(const char *step, const char *format, ...)
{
    va_list args;
    (void)step;
    va_start(args, format);
    vsnprintf(said, sizeof(said), format, args);
    va_end(args);
}

static const char *path(const char *name)
{
    static char at[4][128];
    static int n;

    n = (n + 1) % 4;
    snprintf(at[n], sizeof(at[n]), "%s/%s", dir, name);
    return at[n];
}

static void put(const char *name, const char *text)
{
    FILE *f = fopen(path(name), "w");

    CHECK(f != NULL);
    if (f) {
        fputs(text, f);
        fclose(f);
    }
}

static bool is(const char *name)
{
    struct stat st;
    return lstat(path(name), &st) == 0;
}

static void fill(void)
{
    mkdir(path("state"), 0700);
    mkdir(path("state/models"), 0755);
    mkdir(path("state/tls"), 0700);
    mkdir(path("state/tls/deeper"), 0700);
    mkdir(path("outside"), 0755);
    put("outside/precious", "x");
    put("state/api-key", "secret");
    put("state/tls/deeper/key", "secret");
    put("state/models/m.gguf", "GGUF");
    (void)!symlink("../outside", path("state/link"));
    (void)!symlink("../../outside", path("state/tls/link"));
    said[0] = 0;
}

static int run(const char *file)
{
    struct reset r = {.state = path("state"), .file = file};
    return reset_run(&r);
}

static void words(void)
{
    CHECK(reset_read("ERASE", 5) == RESET_ALL);
    CHECK(reset_read("erase\r\n", 7) == RESET_ALL);
    CHECK(reset_read("Erase but models \n", 18) == RESET_BUT_MODELS);
    static const char *const none[] = {"",
                                       "\n",
                                       "yes",
                                       "erase all",
                                       "eras",
                                       "eraseerase",
                                       "erase                                    x"};
    for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++)
        CHECK(reset_read(none[i], strlen(none[i])) == RESET_NOT);
}

static void marks(void)
{
    fill();
    CHECK(run(NULL) == 0 && is("state/api-key") && !said[0]);
    put("state/reset.pending", "nonsense");
    CHECK(run(NULL) == 0 && is("state/api-key") && !is("state/reset.pending") && !said[0]);
    put("state/reset.pending", "erase but models\n");
    CHECK(run(NULL) == 0 && is("state/models/m.gguf") && strstr(said, "are erased"));
    CHECK(!is("state/api-key") && !is("state/tls") && !is("state/link") && is("outside/precious"));
    CHECK(!is("state/reset.pending") && is("state"));
    fill();
    put("state/reset.pending", "erase\n");
    CHECK(run(NULL) == 0 && is("state") && !is("state/models") && is("outside/precious"));
    fill(); /* the engine may have made anything of it */
    (void)!symlink("../outside/precious", path("state/reset.pending"));
    CHECK(run(NULL) == 0 && is("state/api-key"));
    unlink(path("state/reset.pending"));
    CHECK(mkfifo(path("state/reset.pending"), 0600) == 0);
    CHECK(run(NULL) == 0 && is("state/api-key"));
    unlink(path("state/reset.pending"));
}

static void by_its_owner(void)
{
    fill();
    CHECK(run(path("tawny.reset")) == 0 && is("state/api-key") && !said[0]);
    put("tawny.reset", "please");
    CHECK(run(path("tawny.reset")) == 0 && is("state/api-key") && is("tawny.reset"));
    CHECK(strstr(said, "neither ERASE nor"));
    put("tawny.reset", "ERASE\r\n");
    CHECK(run(path("tawny.reset")) == 0 && !is("state/api-key") && !is("tawny.reset"));
    CHECK(!is("state/reset.pending"));
    fill(); /* asked for twice is done once */
    put("tawny.reset", "ERASE BUT MODELS");
    put("state/reset.pending", "erase but models\n");
    CHECK(run(path("tawny.reset")) == 0 && !is("state/api-key") && is("state/models/m.gguf"));
    CHECK(!is("tawny.reset") && !is("state/reset.pending"));
    fill(); /* the wider of the two counts */
    put("tawny.reset", "erase but models");
    put("state/reset.pending", "erase\n");
    CHECK(run(path("tawny.reset")) == 0 && !is("state/models") && !is("tawny.reset"));
    fill();
    put("tawny.reset", "erase");
    put("state/reset.pending", "erase but models\n");
    CHECK(run(path("tawny.reset")) == 0 && !is("state/models") && !is("tawny.reset"));
    fill(); /* what is no word stays, and hinders nothing */
    put("tawny.reset", "please");
    put("state/reset.pending", "erase\n");
    CHECK(run(path("tawny.reset")) == 0 && !is("state/api-key") && is("tawny.reset"));
    unlink(path("tawny.reset"));
    fill();
    mkdir(path("held"), 0755); /* one that cannot be removed erases nothing */
    put("held/tawny.reset", "ERASE");
    chmod(path("held"), 0555);
    if (geteuid() == 0)
        check_skip("a file that cannot be removed", "root removes any");
    else
        CHECK(run(path("held/tawny.reset")) == 0 && is("state/api-key") &&
              !is("state/reset.pending"));
    chmod(path("held"), 0755);
}

static void no_data(void)
{
    struct reset r = {.file = path("tawny.reset")};

    said[0] = 0;
    CHECK(reset_run(&r) == 0 && !said[0]);
    put("tawny.reset", "erase");
    CHECK(reset_run(&r) == 0 && is("tawny.reset") && strstr(said, "cannot be written"));
    unlink(path("tawny.reset"));
}

static void too_deep(void)
{
    char at[400];
    size_t n = (size_t)snprintf(at, sizeof(at), "%s/state", dir);

    fill();
    for (int i = 0; i < 20; i++) {
        n += (size_t)snprintf(at + n, sizeof(at) - n, "/d");
        mkdir(at, 0700);
    }
    put("state/reset.pending", "erase");
    CHECK(run(NULL) == 1 && is("state/reset.pending") && strstr(said, "next start"));
    CHECK(!is("state/api-key"));
    while (n > strlen(dir)) { /* from the bottom up */
        rmdir(at);
        n = (size_t)(strrchr(at, '/') - at);
        at[n] = 0;
    }
}

int main(void)
{
    snprintf(dir, sizeof(dir), "/tmp/init_reset.XXXXXX");
    CHECK(mkdtemp(dir) != NULL);
    words();
    marks();
    by_its_owner();
    no_data();
    too_deep();
    return check_done("init_reset");
}
