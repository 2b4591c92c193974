// api_crashes.c - which reports of the engine's ends count where a folder has more than are shown:
// the newest, in whatever order it lists them (engine/api/crashes.c).
#include "../../engine/api/inside.h"
#include "check.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { N_FILES = 400, SHOWN = 64 };

static const char *const state = "build/test/unit-crashes";

static void path_of(char out[200], int i)
{
    snprintf(out, 200, "%s/crashes/%d-%d.txt", state, 1700000000 + i / 2, i % 2 ? 10 : 9);
}

static void fill(void)
{
    char path[200], text[80];
    struct err err = {0};
    snprintf(path, sizeof(path), "%s/crashes", state);
    (void)mkdir("build/test", 0755);
    (void)mkdir(state, 0755);
    (void)mkdir(path, 0755);
    for (int i = 0; i < N_FILES; i++) {
        const int k = i * 7 % N_FILES; // of which every number comes once
        path_of(path, k);
        snprintf(text, sizeof(text), "time: 1\nreason: end %d\nran_s: 1\n\nlast words\n", k);
        CHECK(file_write(path, bytes_of(text), 0600, &err) == OK);
    }
}

// The first that are listed are not the newest, but by chance; it is looked for a dozen times.
static void test_newest(void)
{
    struct api *api = mem_alloc(sizeof(*api));
    char path[200], want[40];
    snprintf(api->state, sizeof(api->state), "%s", state);
    fill();
    for (int newest = N_FILES - 1; newest >= 0; newest--) {
        struct json json;
        json_init(&json, 1 << 16);
        json_object(&json, NULL);
        api->crashes.looked_ms = 0;
        if (newest % 37 == 0 || newest == N_FILES - 1) {
            crashes_write(api, &json);
            snprintf(want, sizeof(want), "\"end %d\"", newest);
            CHECK(memmem(json.text.p, json.text.n, want, strlen(want)));
            CHECK(api->crashes.n == (newest < SHOWN ? (size_t)newest + 1 : SHOWN));
        }
        json_end(&json);
        buf_free(&json.text);
        path_of(path, newest);
        CHECK(unlink(path) == 0);
    }
    free(api);
}

int main(void)
{
    test_newest();
    return check_done("api_crashes");
}
