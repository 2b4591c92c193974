// sched_keep.c - what was computed of texts comes back from the disk: after a restart, an unload
// and a kill, for its owner and its model alone, and what is damaged, foreign or too much does not.
//
// Whatever is read, the stand-in checks every row and state that a pass builds on, and each answer
// is compared with one that is worked out without any memory.
#include "sched_fixture.h"

#include "../../engine/sched/keep.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { FIRST = 460, MORE = 40 }; // letters of a first turn, and of what comes behind it

static char folder[96];

static uint64_t const one_and_two[] = {1, 2};

static void open_keeping(const uint64_t *owners, size_t n)
{
    open_sched();
    sched_keeps(sched, "v1", owners, n);
}

static struct answer ask(const char *prompt, int32_t max_tokens)
{
    struct answer answer;
    CHECK(submit(&answer, prompt, max_tokens, NULL) == OK);
    wait_for(&answer, 1);
    check_answer(&answer, prompt, max_tokens);
    return answer;
}

static int32_t cached(const struct answer *answer)
{
    return answer->last.usage.n_prompt_cached;
}

static int32_t were_read(const struct answer *answer)
{
    return answer->last.usage.n_prompt_read;
}

// Files with that end; the path of one of them.
static int n_files(const char *end, char path[512])
{
    int n = 0;
    DIR *dir = opendir(folder);
    for (const struct dirent *entry; dir && (entry = readdir(dir)) != NULL;) {
        const size_t n_name = strlen(entry->d_name), n_end = strlen(end);
        if (n_name < n_end || strcmp(entry->d_name + n_name - n_end, end) != 0)
            continue;
        if (path)
            snprintf(path, 512, "%s/%.200s", folder, entry->d_name);
        n++;
    }
    if (dir)
        closedir(dir);
    return n;
}

static void delete_files(void)
{
    char path[512];
    while (n_files(".seq", path) > 0 || n_files(".part", path) > 0)
        CHECK(unlink(path) == 0);
}

static struct sched_gauges gauges(void)
{
    struct sched_gauges now;
    sched_gauges(sched, &now);
    return now;
}

static bool wait_files(uint64_t n)
{
    const uint64_t until_ms = clock_ms() + 20000;
    while (gauges().kept_files != n && clock_ms() < until_ms)
        usleep(10000);
    return gauges().kept_files == n;
}

static bool wait_on_disk(int n)
{
    const uint64_t until_ms = clock_ms() + 20000;
    while (n_files(".seq", NULL) != n && clock_ms() < until_ms)
        usleep(10000);
    return n_files(".seq", NULL) == n;
}

// A text of two messages ('z' ends one), an answer, and the next turn.
static void conversation(char *first, char *second, unsigned seed)
{
    char answer[N_CTX + 1];
    do {
        fill(first, FIRST, seed++);
        first[199] = first[399] = 'z';
        expected(first, 12, answer);
    } while (strlen(answer) != 12);
    // the second turn: the first, its answer, the end of it, more
    snprintf(second, N_CTX + 1, "%s%sz", first, answer);
    fill(second + strlen(second), MORE, seed + 1000);
}

// The same text goes on after a restart, whole; and one that is another from its last message on.
static void test_restart(void)
{
    char first[N_CTX + 1], second[N_CTX + 1], other[N_CTX + 1];
    conversation(first, second, 1);
    memcpy(other, first, FIRST + 1);
    fill(other + 400, FIRST - 400, 4321);
    open_keeping(one_and_two, 2);
    struct answer answer = ask(first, 12);
    CHECK(cached(&answer) == 0 && were_read(&answer) == 0);
    sched_close(sched);
    CHECK(n_files(".seq", NULL) == 1 && n_files(".part", NULL) == 0);

    open_keeping(one_and_two, 2);
    int before = n_computed;
    answer = ask(second, 12);
    CHECK(cached(&answer) == FIRST + 11 && were_read(&answer) == FIRST + 11);
    CHECK(n_computed - before <= MORE + 2 + 12);
    CHECK(gauges().kept_reads == 1 && gauges().kept_read_tokens == FIRST + 11);
    before = n_computed;
    answer = ask(second, 12); // now it is in the memory
    CHECK(cached(&answer) >= FIRST + MORE && were_read(&answer) == 0);
    sched_close(sched);

    open_keeping(one_and_two, 2);
    answer = ask(other, 12);
    CHECK(cached(&answer) == 400 && were_read(&answer) == 400);
    sched_close(sched);
    delete_files();
}

// What a killed engine had written is there; what it was at is not.
static void test_killed(void)
{
    char first[N_CTX + 1], second[N_CTX + 1], path[512], part[600];
    struct stat file;
    conversation(first, second, 50);
    open_keeping(one_and_two, 2);
    (void)ask(first, 12);
    CHECK(n_files(".seq", NULL) == 0);
    CHECK(wait_files(1)); // a while after the answer, nobody asks
    CHECK(n_files(".seq", path) == 1 && stat(path, &file) == 0 && (file.st_mode & 0777) == 0600);
    CHECK(gauges().kept_bytes == (uint64_t)file.st_size &&
          gauges().kept_written == (uint64_t)file.st_size);
    keep_prefixes_mb = 64;
    (void)ask(second, 12);
    // killed here: nothing more is written
    sched_close(sched);
    delete_files();
    open_keeping(one_and_two, 2);
    (void)ask(first, 12);
    CHECK(wait_files(1) && n_files(".seq", path) == 1);
    snprintf(part, sizeof(part), "%.*spart", (int)strlen(path) - 3, path);
    int fd = open(part, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, "half", 4) == 4 && close(fd) == 0);
    sched_close(sched);
    open_keeping(one_and_two, 2);
    struct answer answer = ask(second, 12);
    CHECK(were_read(&answer) == FIRST + 11);
    CHECK(n_files(".part", NULL) == 0);
    sched_close(sched);
    delete_files();
}

static struct answer ask_model(enum job_kind kind, const char *model, const char *prompt)
{
    struct answer answer;
    struct job *job = job_for(&answer, model);
    job->kind = kind;
    job->ask.prompt = bytes_copy(&job->arena, bytes_of(prompt));
    job->ask.sampling.temperature = 0;
    job->ask.max_tokens = 12;
    CHECK(sched_submit(sched, job) == OK);
    wait_for(&answer, 1);
    return answer;
}

static void test_unloaded(void)
{
    char first[N_CTX + 1], second[N_CTX + 1];
    conversation(first, second, 90);
    open_keeping(one_and_two, 2);
    struct answer answer = ask_model(JOB_GENERATE, "second.gguf", first);
    check_answer(&answer, first, 12);
    answer = ask_model(JOB_UNLOAD, "second.gguf", "");
    CHECK(answer.last.kind == EVENT_DONE && n_models_open == 1);
    CHECK(n_files(".seq", NULL) == 1);
    answer = ask_model(JOB_GENERATE, "second.gguf", second);
    check_answer(&answer, second, 12);
    CHECK(cached(&answer) == FIRST + 11 && were_read(&answer) == FIRST + 11);
    sched_close(sched);
    delete_files();
}

// Only for whom and for what it was computed.
static void test_whose(void)
{
    char first[N_CTX + 1], second[N_CTX + 1], path[512];
    struct answer answer;
    conversation(first, second, 130);
    open_keeping(one_and_two, 2);
    (void)ask(first, 12);
    sched_close(sched);

    open_keeping(one_and_two, 2);
    owner = 2;
    answer = ask(second, 12);
    CHECK(cached(&answer) == 0 && were_read(&answer) == 0 && gauges().kept_reads == 0);
    owner = 1;
    sched_close(sched);
    CHECK(n_files(".seq", NULL) == 2);
    identity = 78;
    open_keeping(one_and_two, 2);
    answer = ask(second, 12);
    CHECK(cached(&answer) == 0);
    sched_close(sched);
    identity = 77;
    open_sched();
    sched_keeps(sched, "v2", one_and_two, 2);
    answer = ask(second, 12);
    CHECK(cached(&answer) == 0);
    sched_close(sched);
    CHECK(n_files(".seq", NULL) == 4);

    share_prefixes = true;
    open_keeping(one_and_two, 2);
    owner = 2;
    answer = ask(first, 12);
    CHECK(were_read(&answer) >= 400);
    owner = 1;
    share_prefixes = false;
    sched_close(sched);

    // a key that is revoked: its texts are deleted, in memory too
    open_keeping(one_and_two, 2);
    answer = ask(second, 12);
    CHECK(were_read(&answer) > 0);
    sched_keeps(sched, "v1", one_and_two + 1, 1);
    CHECK(wait_on_disk(1) && n_files(".seq", path) == 1 &&
          strstr(path, "/0000000000000002-") != NULL);
    answer = ask(second, 12);
    CHECK(cached(&answer) == 0);
    sched_close(sched);
    CHECK(n_files(".seq", NULL) == 1); // and none is written any more

    const uint64_t nobody = 9; // revoked while the engine did not run
    open_keeping(&nobody, 1);
    CHECK(wait_on_disk(0));
    sched_close(sched);
}

static void change_file(const char *path, off_t at, size_t n_left)
{
    uint8_t byte = 0;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0 && pread(fd, &byte, 1, at) == 1);
    byte ^= 4;
    CHECK(pwrite(fd, &byte, 1, at) == 1 && (n_left == 0 || ftruncate(fd, (off_t)n_left) == 0));
    close(fd);
}

// Torn or changed anywhere: deleted, and the answer is computed.
static void test_damaged(void)
{
    char first[N_CTX + 1], second[N_CTX + 1], path[512], other[600];
    struct stat file;
    conversation(first, second, 170);
    for (int what = 0; what < 8; what++) {
        open_keeping(one_and_two, 2);
        (void)ask(first, 12);
        sched_close(sched);
        CHECK(n_files(".seq", path) == 1 && stat(path, &file) == 0);
        const off_t at[] = {3, 9, 20, 44, 70, 300, file.st_size / 2, file.st_size - 1};
        if (what < 7)
            change_file(path, at[what], 0);
        else
            change_file(path, 0, (size_t)file.st_size - 5), change_file(path, 0, 0);
        open_keeping(one_and_two, 2);
        // what comes behind the rows of the memory's pages is read at the end
        const struct answer answer = ask(second, 12);
        CHECK(were_read(&answer) == 0 && cached(&answer) == 0);
        CHECK(n_files(".seq", NULL) == 0 && gauges().kept_files == 0);
        sched_close(sched);
        delete_files();
    }
    // another's file under a name of ours
    open_keeping(one_and_two, 2);
    (void)ask(first, 12);
    sched_close(sched);
    CHECK(n_files(".seq", path) == 1);
    snprintf(other, sizeof(other), "%s", path);
    other[strlen(folder) + 16] = '2';
    CHECK(rename(path, other) == 0);
    snprintf(path, sizeof(path), "%s/notes.txt", folder);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && close(fd) == 0);
    open_keeping(one_and_two, 2);
    owner = 2;
    const struct answer answer = ask(second, 12);
    owner = 1;
    CHECK(cached(&answer) == 0 && access(other, F_OK) != 0 && access(path, F_OK) == 0);
    sched_close(sched);
    CHECK(unlink(path) == 0);
    delete_files();
}

// The setting bounds them, the cheapest go; a disk that takes nothing costs nothing but that.
static void test_bounds(void)
{
    char first[N_CTX + 1], second[N_CTX + 1], path[512];
    struct stat file;
    struct rlimit before, small;
    keep_mb = 1;
    keep_prefixes_mb = 12000;
    open_keeping(one_and_two, 2);
    for (unsigned i = 0; i < 5; i++) {
        conversation(first, second, 300 + 20 * i);
        (void)ask(first, 12);
        CHECK(wait_files(i < 2 ? i + 1 : gauges().kept_files));
        const uint64_t until_ms = clock_ms() + 20000, want = gauges().kept_written;
        while (i >= 2 && gauges().kept_written == want && clock_ms() < until_ms)
            usleep(10000);
        CHECK(gauges().kept_bytes <= 12000);
    }
    const int n_kept = n_files(".seq", path);
    CHECK(n_kept >= 1 && n_kept < 5 && stat(path, &file) == 0 && n_kept * file.st_size <= 12000);
    const struct answer answer = ask(second, 12); // the last is there
    CHECK(cached(&answer) == FIRST + 11);
    sched_close(sched);
    keep_prefixes_mb = 0; // nothing is kept, and what was is deleted
    open_keeping(one_and_two, 2);
    CHECK(wait_files(0));
    (void)ask(first, 12);
    sched_close(sched);
    CHECK(n_files(".seq", NULL) == 0);
    keep_mb = 1 << 20;
    keep_prefixes_mb = 64;

    CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
    small = (struct rlimit){1500, before.rlim_max};
    (void)signal(SIGXFSZ, SIG_IGN);
    CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
    open_keeping(one_and_two, 2);
    (void)ask(first, 12);
    usleep((KEEP_AFTER_MS + 300) * 1000);
    (void)ask(second, 12);
    sched_close(sched);
    CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
    CHECK(n_files(".seq", NULL) == 0 && n_files(".part", NULL) == 0);

    snprintf(path, sizeof(path), "%s", state_dir); // no folder can be made
    snprintf(state_dir, sizeof(state_dir), "/nowhere/at/all");
    open_keeping(one_and_two, 2);
    (void)ask(first, 12);
    sched_close(sched);
    snprintf(state_dir, sizeof(state_dir), "%.60s", path);
}

// Reading while another streams, with a memory that is short, and cancelled meanwhile.
static void test_beside(void)
{
    static struct answer answers[3];
    char first[N_CTX + 1], second[N_CTX + 1], stream[80], want[N_CTX + 1];
    unsigned seed = 900;
    conversation(first, second, 500);
    open_keeping(one_and_two, 2);
    (void)ask(first, 12);
    sched_close(sched);
    do
        fill(stream, 20, seed++);
    while (!(expected(stream, 120, want), strlen(want) == 120));
    n_pages = n_slots > 0 ? PAGES_MOST : 5;
    open_keeping(one_and_two, 2);
    owner = 2;
    CHECK(submit(&answers[0], stream, 120, NULL) == OK);
    wait_for_text(answers, 3, 0, 2);
    owner = 1;
    CHECK(submit(&answers[1], second, 12, NULL) == OK);
    CHECK(submit(&answers[2], second, 12, NULL) == OK);
    sched_cancel(sched, answers[2].id);
    wait_for(answers, 3);
    check_answer(&answers[0], stream, 120);
    check_answer(&answers[1], second, 12);
    CHECK(answers[2].last.kind == EVENT_DONE);
    CHECK(cached(&answers[1]) == FIRST + 11);
    sched_close(sched);
    n_pages = PAGES_MOST;
    delete_files();
}

int main(void)
{
    snprintf(state_dir, sizeof(state_dir), "/tmp/sched_keep.XXXXXX");
    if (!mkdtemp(state_dir))
        die("no folder");
    snprintf(folder, sizeof(folder), "%s/prefixes", state_dir);
    owner = 1;
    pass_us = 100; // a row: slower than any disk
    log_level_set(LOG_ERROR);
    for (int i = 0; i < 2; i++) {
        n_slots = i == 0 ? 0 : 40; // then with recurrent layers
        test_restart();
        test_killed();
        test_unloaded();
        test_whose();
        test_damaged();
        test_bounds();
        test_beside();
    }
    CHECK(n_taken > 0 && n_put > 0);
    CHECK(rmdir(folder) == 0 && rmdir(state_dir) == 0);
    return check_done("sched_keep");
}
