// sched_models.c - several models at once: loaded by who names them while others answer, unloaded
// by time, by hand and for others that need the room, spoilt ones, and jobs that are cancelled
// while their model is loaded.
#include "sched_fixture.h"

#include <signal.h>
#include <sys/wait.h>

static const struct sched_model *model_at(const char *path)
{
    return sched_model(sched_status(sched), bytes_of(path));
}

static void open_with(const char *pinned, int64_t keep_s)
{
    struct settings settings;
    settings_default(&settings);
    settings.n_ctx = N_CTX;
    settings.n_parallel = SEQS;
    settings.keep_s = keep_s;
    snprintf(settings.pinned, sizeof(settings.pinned), "%s", pinned);
    sched_open(&sched, &settings, "main.gguf", NULL);
}

static void wait_ms(struct answer *answers, size_t n, uint64_t n_ms)
{
    const uint64_t until_ms = clock_ms() + n_ms;
    while (clock_ms() < until_ms) {
        struct pollfd poll_fd = {.fd = sched_event_fd(sched), .events = POLLIN};
        (void)poll(&poll_fd, 1, 5);
        take_all(answers, n);
    }
}

// Until the model is not there any more (gone), or is READY.
static bool wait_model(const char *path, bool gone)
{
    const uint64_t until_ms = clock_ms() + 5000;
    for (;;) {
        const struct sched_model *model = model_at(path);
        if (gone ? !model : model && model->state == SCHED_READY)
            return true;
        if (clock_ms() > until_ms)
            return false;
        wait_ms(NULL, 0, 5);
    }
}

static struct answer ask_kind(enum job_kind kind, const char *model, int64_t keep_s)
{
    struct answer answer;
    struct job *job = job_for(&answer, model);
    job->kind = kind;
    job->ask.keep_s = keep_s;
    CHECK(sched_submit(sched, job) == OK);
    wait_for(&answer, 1);
    return answer;
}

static void check_refused(const struct answer *answer, enum status status, const char *said)
{
    CHECK(answer->last.kind == EVENT_FAILED && answer->last.err.status == status);
    if (!strstr(answer->last.err.text, said))
        CHECK_TEXT(answer->last.err.text, said);
}

// A text whose answer has so many tokens at least.
static void long_text(char text[21], size_t n)
{
    char want[N_CTX + 1];
    unsigned seed = 1;
    do
        fill(text, 20, seed++);
    while (!(expected(text, (int)n, want), strlen(want) == n));
}

// A second model is loaded while the first one answers: its stream goes on, and both say what is
// right.
static void test_two(void)
{
    struct answer a[3];
    char text[80];
    open_with("", KEEP_ALWAYS);
    CHECK(wait_model("main.gguf", false));
    CHECK(model_at("main.gguf")->is_main && sched_status(sched)->n_models == 1);
    long_text(text, 150);
    pass_us = 5000;
    n_load_slices = 20;
    load_slice_us = 20000;
    CHECK(submit(&a[0], text, 150, NULL) == OK);
    wait_for_text(a, 1, 0, 3);
    CHECK(submit_to(&a[1], "second.gguf", "hello", 8, NULL) == OK);
    CHECK(submit_to(&a[2], "second.gguf", "again", 8, NULL) == OK);
    wait_ms(a, 3, 200);
    CHECK(!a[1].ended && model_at("second.gguf") &&
          model_at("second.gguf")->state == SCHED_LOADING);
    CHECK_TEXT(model_at("second.gguf")->name, "second");
    CHECK(model_at("second.gguf")->n_users == 2 && sched_status(sched)->state == SCHED_READY);
    wait_for(a, 3);
    check_answer(&a[0], text, 150);
    check_answer(&a[1], "hello", 8);
    check_answer(&a[2], "again", 8);
    CHECK(a[0].most_gap_ms < 150); // a slice is 20 ms; the machine may be busy
    printf("sched_models: the longest wait of a stream while another model is loaded: %llu ms\n",
           (unsigned long long)a[0].most_gap_ms);
    CHECK(sched_status(sched)->n_models == 2 && n_models_open == 2);
    CHECK_TEXT(sched_status(sched)->model.id, "main");
    // by its name alone, now that it is there
    CHECK(submit_to(&a[0], "second", "and on", 8, NULL) == OK);
    wait_for(a, 1);
    check_answer(&a[0], "and on", 8);
    CHECK(submit_to(&a[0], "third", "and on", 8, NULL) == OK);
    wait_for(a, 1);
    check_refused(&a[0], NOT_FOUND, "there is no model 'third' here");
    n_load_slices = pass_us = load_slice_us = 0;
    sched_close(sched);
    CHECK(n_models_open == 0);
}

// A long prompt of one model while another streams: its passes are as short as beside its own
// streams.
static void test_beside(void)
{
    struct answer a[2];
    char text[80], prompt[N_CTX];
    open_with("", KEEP_ALWAYS);
    CHECK(submit(&a[0], "hello", 5, NULL) == OK);
    CHECK(submit_to(&a[1], "second.gguf", "hello", 5, NULL) == OK);
    wait_for(a, 2);
    long_text(text, 150);
    fill(prompt, N_CTX - 20, 9);
    pass_us = 2000; // a row; all of the prompt in one pass would take a second
    CHECK(submit(&a[0], text, 150, NULL) == OK);
    wait_for_text(a, 1, 0, 3);
    most_rows = 0;
    CHECK(submit_to(&a[1], "second.gguf", prompt, 3, NULL) == OK);
    wait_for(a, 2);
    CHECK(most_rows >= CHUNK_LEAST_SHARED && most_rows <= 100); // 75 are 150 ms
    pass_us = 0;
    sched_close(sched);
}

// Three where two fit: the one unused for longest goes; one in use or pinned never does.
static void test_room(void)
{
    struct answer a[3];
    fit_most = 2;
    open_with("main", KEEP_ALWAYS);
    CHECK(wait_model("main.gguf", false) && model_at("main.gguf")->is_pinned);
    for (int i = 0; i < 3; i++) { // b and c change places; main is older, but pinned
        CHECK(submit_to(&a[0], i % 2 ? "c.gguf" : "b.gguf", "hello", 5, NULL) == OK);
        wait_for(a, 1);
        check_answer(&a[0], "hello", 5);
        CHECK(model_at("main.gguf") && n_models_open == 2);
        CHECK(!model_at(i % 2 ? "b.gguf" : "c.gguf"));
    }
    // c is asked for while b answers: it waits until b is done
    pass_us = 3000;
    CHECK(submit_to(&a[0], "b.gguf", "on and on", 100, NULL) == OK);
    wait_for_text(a, 1, 0, 3);
    CHECK(submit_to(&a[1], "c.gguf", "hello", 5, NULL) == OK);
    wait_ms(a, 2, 50);
    CHECK(a[0].ended || (model_at("c.gguf") && model_at("c.gguf")->waits && !a[1].ended));
    wait_for(a, 2);
    check_answer(&a[0], "on and on", 100);
    check_answer(&a[1], "hello", 5);
    CHECK(!model_at("b.gguf") && a[1].ended_ms >= a[0].ended_ms);
    pass_us = 0;
    sched_close(sched);
    // both places are pinned: nothing can make room, and that is said at once
    open_with(" b , main", KEEP_ALWAYS);
    CHECK(submit_to(&a[0], "b.gguf", "hello", 5, NULL) == OK);
    wait_for(a, 1);
    CHECK(submit_to(&a[1], "c.gguf", "hello", 5, NULL) == OK);
    const uint64_t from_ms = clock_ms();
    wait_for(a, 2);
    check_refused(&a[1], NO_ROOM, "too many are loaded");
    CHECK(clock_ms() - from_ms < 1000 && model_at("c.gguf")->state == SCHED_FAILED);
    CHECK(sched_status(sched)->state == SCHED_READY);
    fit_most = 4;
    sched_close(sched);
    // without pins the oldest goes, the model of the start too; who names none has it loaded again
    fit_most = 1;
    open_with("", KEEP_ALWAYS);
    CHECK(submit_to(&a[0], "b.gguf", "hello", 5, NULL) == OK);
    wait_for(a, 1);
    check_answer(&a[0], "hello", 5);
    CHECK(!model_at("main.gguf") && sched_status(sched)->state == SCHED_READY);
    CHECK(submit(&a[0], "hello", 5, NULL) == OK);
    wait_for(a, 1);
    check_answer(&a[0], "hello", 5);
    CHECK(model_at("main.gguf") && !model_at("b.gguf"));
    fit_most = 4;
    sched_close(sched);
}

static void test_spoilt(void)
{
    struct answer a[2];
    open_with("", KEEP_ALWAYS);
    CHECK(submit_to(&a[0], "spoilt.gguf", "hello", 5, NULL) == OK);
    CHECK(submit(&a[1], "hello", 5, NULL) == OK);
    wait_for(a, 2);
    check_refused(&a[0], BAD_INPUT, "it is spoilt");
    check_answer(&a[1], "hello", 5);
    CHECK(model_at("spoilt.gguf")->state == SCHED_FAILED);
    CHECK_TEXT(model_at("spoilt.gguf")->err.text, "it is spoilt");
    struct answer again = ask_kind(JOB_LOAD, "spoilt.gguf", KEEP_AS_SET);
    check_refused(&again, BAD_INPUT, "it is spoilt");
    again = ask_kind(JOB_UNLOAD, "spoilt.gguf", KEEP_AS_SET);
    check_refused(&again, NOT_FOUND, "is not loaded");
    sched_close(sched);
    // the first one is: others can be asked all the same
    struct settings settings;
    settings_default(&settings);
    settings.n_ctx = N_CTX;
    settings.n_parallel = SEQS;
    sched_open(&sched, &settings, "spoilt.gguf", NULL);
    CHECK(submit(&a[0], "hello", 5, NULL) == OK);
    wait_for(a, 1);
    check_refused(&a[0], BAD_INPUT, "it is spoilt");
    CHECK(sched_status(sched)->state == SCHED_FAILED);
    CHECK(submit_to(&a[0], "good.gguf", "hello", 5, NULL) == OK);
    wait_for(a, 1);
    check_answer(&a[0], "hello", 5);
    CHECK(sched_status(sched)->state == SCHED_READY);
    sched_close(sched);
    // or there is none to begin with
    const struct err none = {NOT_FOUND, "there is no such file"};
    sched_open(&sched, &settings, "", &none);
    CHECK(submit(&a[0], "hello", 5, NULL) == OK);
    CHECK(submit_to(&a[1], "good.gguf", "hello", 5, NULL) == OK);
    wait_for(a, 2);
    check_refused(&a[0], NOT_FOUND, "there is no such file");
    check_answer(&a[1], "hello", 5);
    sched_close(sched);
    CHECK(n_models_open == 0);
}

// One whose file is taken away fails all that it has, running or waiting, and is closed though it
// is pinned; the next job opens it anew, and others know nothing of it.
static void test_lost(void)
{
    enum { ASKED = SEQS + 2 };
    struct answer a[ASKED];
    open_with("lost", KEEP_ALWAYS);
    CHECK(submit(&a[0], "hello", 5, NULL) == OK);
    CHECK(submit_to(&a[1], "lost.gguf", "first", 5, NULL) == OK);
    wait_for(a, 2);
    check_answer(&a[1], "first", 5);
    CHECK(wait_model("lost.gguf", false) && n_models_open == 2);
    CHECK(model_at("lost.gguf")->is_pinned);
    fails_with = IO_ERROR;
    fails_at = n_passes + 2;
    pass_us = 2000;
    for (int i = 0; i < ASKED; i++)
        CHECK(submit_to(&a[i], "lost.gguf", "hello there, this is long", 40, NULL) == OK);
    wait_for(a, ASKED);
    for (int i = 0; i < ASKED; i++)
        check_refused(&a[i], NOT_FOUND, "was told to fail");
    CHECK(wait_model("lost.gguf", true) && n_models_open == 1);
    fails_at = -1;
    fails_with = NO_ROOM;
    pass_us = 0;
    CHECK(submit_to(&a[0], "lost.gguf", "hello there, this is long", 40, NULL) == OK);
    CHECK(submit(&a[1], "hello", 5, NULL) == OK);
    wait_for(a, 2);
    check_answer(&a[0], "hello there, this is long", 40);
    CHECK(a[0].last.usage.n_prompt_cached == 0);
    check_answer(&a[1], "hello", 5);
    sched_close(sched);
    CHECK(n_models_open == 0);
}

// Who leaves while his model is loaded does not stop it; an unload then gives it up.
static void test_cancel(void)
{
    struct answer a[2];
    open_with("", KEEP_ALWAYS);
    CHECK(wait_model("main.gguf", false));
    n_load_slices = 5;
    load_slice_us = 20000;
    CHECK(submit_to(&a[0], "b.gguf", "hello", 5, NULL) == OK);
    wait_ms(a, 1, 30);
    sched_cancel(sched, a[0].id);
    wait_for(a, 1);
    CHECK(a[0].last.kind == EVENT_DONE && a[0].last.finish == FINISH_CANCELLED);
    CHECK(wait_model("b.gguf", false) && model_at("b.gguf")->n_users == 0);
    // with the encoder still at its prompt it is in use
    static char slow[2101];
    fill(slow, 2100, 3); // takes TEXT_MS
    CHECK(submit_to(&a[0], "b.gguf", slow, 5, NULL) == OK);
    wait_ms(a, 1, 50);
    sched_cancel(sched, a[0].id);
    wait_for(a, 1);
    a[1] = ask_kind(JOB_UNLOAD, "b.gguf", KEEP_AS_SET);
    CHECK(a[1].last.kind == EVENT_DONE && n_models_open == 2);
    CHECK(wait_model("b.gguf", true) && n_models_open == 1);
    // a load that is given up
    n_load_slices = -1;
    CHECK(submit_to(&a[0], "c.gguf", "hello", 5, NULL) == OK);
    wait_ms(a, 1, 50);
    a[1] = ask_kind(JOB_UNLOAD, "c.gguf", KEEP_AS_SET);
    check_refused(&a[1], NO_ROOM, "is in use, by 1 request(s)");
    sched_cancel(sched, a[0].id);
    wait_for(a, 1);
    a[1] = ask_kind(JOB_UNLOAD, "c.gguf", KEEP_AS_SET);
    CHECK(a[1].last.kind == EVENT_DONE && n_models_open == 1);
    n_load_slices = load_slice_us = 0;
    sched_close(sched);
}

static void test_keep(void)
{
    struct answer a[2];
    open_with("pinned", 0); // nothing stays that is not pinned
    while (sched_status(sched)->state == SCHED_LOADING)
        wait_ms(NULL, 0, 5);
    CHECK(wait_model("main.gguf", true) && sched_status(sched)->state == SCHED_READY);
    CHECK(submit(&a[0], "hello", 5, NULL) == OK);
    CHECK(submit_to(&a[1], "pinned.gguf", "hello", 5, NULL) == OK);
    wait_for(a, 2);
    check_answer(&a[0], "hello", 5);
    CHECK(wait_model("main.gguf", true) && model_at("pinned.gguf") && n_models_open == 1);
    struct answer load = ask_kind(JOB_LOAD, "b.gguf", 1); // a second
    CHECK(load.last.kind == EVENT_DONE);
    wait_ms(NULL, 0, 100);
    CHECK(model_at("b.gguf") && model_at("b.gguf")->keep_s == 1);
    CHECK(model_at("b.gguf")->expires_s >= clock_unix_s());
    CHECK(model_at("b.gguf")->expires_s <= clock_unix_s() + 1 && model_at("b.gguf")->loaded_s > 0);
    uint64_t from_ms = clock_ms();
    CHECK(wait_model("b.gguf", true) && clock_ms() - from_ms >= 700);
    load = ask_kind(JOB_LOAD, "b.gguf", KEEP_ALWAYS);
    wait_ms(NULL, 0, 50);
    CHECK(model_at("b.gguf") && model_at("b.gguf")->expires_s == 0);
    // under load: refused; then gone
    pass_us = 3000;
    CHECK(submit_to(&a[0], "b.gguf", "on and on", 60, NULL) == OK);
    wait_for_text(a, 1, 0, 1);
    struct job *job = job_for(&a[1], "b.gguf");
    job->kind = JOB_UNLOAD;
    CHECK(sched_submit(sched, job) == OK);
    wait_for(a, 2);
    check_refused(&a[1], NO_ROOM, "is in use, by 1 request(s)");
    check_answer(&a[0], "on and on", 60);
    pass_us = 0;
    load = ask_kind(JOB_UNLOAD, "pinned.gguf", KEEP_AS_SET);
    check_refused(&load, DENIED, "pinned");
    sched_close(sched);
    CHECK(n_models_open == 0);
}

// More than there are places for, all failing, and a stop in the middle of a load.
static void test_many(void)
{
    struct answer a[LOADED_MOST + 4];
    fit_most = 1;
    open_with("main", KEEP_ALWAYS);
    CHECK(wait_model("main.gguf", false));
    for (size_t i = 0; i < COUNT_OF(a); i++) {
        char path[32];
        snprintf(path, sizeof(path), "m%zu.gguf", i);
        CHECK(submit_to(&a[i], path, "hello", 5, NULL) == OK);
    }
    wait_for(a, COUNT_OF(a));
    for (size_t i = 0; i < COUNT_OF(a); i++)
        CHECK(a[i].last.kind == EVENT_FAILED && a[i].last.err.status == NO_ROOM);
    CHECK(sched_status(sched)->n_models == (int32_t)COUNT_OF(a) + 1);
    CHECK(submit(&a[0], "hello", 5, NULL) == OK);
    wait_for(a, 1);
    check_answer(&a[0], "hello", 5);
    fit_most = 4;
    n_load_slices = -1;
    load_slice_us = 20000;
    CHECK(submit_to(&a[0], "b.gguf", "hello", 5, NULL) == OK);
    CHECK(submit_to(&a[1], "c.gguf", "hello", 5, NULL) == OK); // waits behind b
    wait_ms(a, 2, 60);
    CHECK(!a[0].ended && model_at("c.gguf")->waits && !model_at("b.gguf")->waits);
    sched_stop(sched, 100000);
    wait_for(a, 2);
    check_refused(&a[0], CANCELLED, "shutting down");
    check_refused(&a[1], CANCELLED, "shutting down");
    sched_close(sched);
    n_load_slices = load_slice_us = 0;
    CHECK(n_models_open == 0);
}

// One more than may be loaded at once, and all of those in use: it waits until one is done.
static void test_places(void)
{
    struct answer a[LOADED_MOST + 1];
    char text[21];
    long_text(text, 100);
    fit_most = LOADED_MOST + 1;
    open_with("", KEEP_ALWAYS);
    CHECK(wait_model("main.gguf", false));
    for (int i = 1; i < LOADED_MOST; i++) {
        char path[32];
        snprintf(path, sizeof(path), "m%d.gguf", i);
        CHECK(submit_to(&a[i], path, "hello", 5, NULL) == OK);
    }
    wait_for(a + 1, LOADED_MOST - 1);
    CHECK(n_models_open == LOADED_MOST && sched_status(sched)->n_models == LOADED_MOST);
    pass_us = 2000;
    CHECK(submit(&a[0], text, 100, NULL) == OK);
    for (int i = 1; i < LOADED_MOST; i++) {
        char path[32];
        snprintf(path, sizeof(path), "m%d.gguf", i);
        CHECK(submit_to(&a[i], path, text, 100, NULL) == OK);
    }
    wait_for_text(a, LOADED_MOST, LOADED_MOST - 1, 1);
    CHECK(submit_to(&a[LOADED_MOST], "more.gguf", "hello", 5, NULL) == OK);
    while (!model_at("more.gguf") && !a[0].ended)
        wait_ms(a, COUNT_OF(a), 5);
    CHECK(model_at("more.gguf") && model_at("more.gguf")->waits);
    CHECK(n_models_open == LOADED_MOST);
    wait_for(a, COUNT_OF(a));
    check_answer(&a[LOADED_MOST], "hello", 5);
    for (int i = 0; i < LOADED_MOST; i++)
        check_answer(&a[i], text, 100);
    pass_us = 0;
    fit_most = 4;
    sched_close(sched);
    CHECK(n_models_open == 0);
}

// One waits for memory that is in use: others, which came later and fit, are not held up by it.
static void test_passing(void)
{
    struct answer a[4];
    char text[21];
    long_text(text, 300);
    open_with("", KEEP_ALWAYS);
    CHECK(submit_to(&a[0], "b.gguf", "hello", 5, NULL) == OK);
    wait_for(a, 1);
    pass_us = 5000;
    CHECK(submit_to(&a[0], "b.gguf", text, 300, NULL) == OK);
    wait_for_text(a, 1, 0, 3);
    CHECK(submit_to(&a[1], "large.gguf", "hello", 5, NULL) == OK); // fits alone
    wait_ms(a, 2, 50);
    CHECK(!a[1].ended && model_at("large.gguf") && model_at("large.gguf")->waits);
    CHECK(!model_at("main.gguf")); // it made room
    for (int i = 2; i < 4; i++) {
        CHECK(submit_to(&a[i], i == 2 ? "c.gguf" : "d.gguf", "hello", 5, NULL) == OK);
        while (!a[i].ended && !a[0].ended)
            wait_ms(a, (size_t)i + 1, 5);
        check_answer(&a[i], "hello", 5);
    }
    CHECK(!a[0].ended && !a[1].ended);
    wait_for(a, 2);
    check_answer(&a[0], text, 300);
    check_answer(&a[1], "hello", 5);
    CHECK(n_models_open == 1 && model_at("large.gguf")->state == SCHED_READY);
    pass_us = 0;
    sched_close(sched);
    CHECK(n_models_open == 0);
}

static void open_in(const char *state)
{
    struct settings settings;
    settings_default(&settings);
    settings.n_ctx = N_CTX;
    settings.n_parallel = SEQS;
    snprintf(settings.state, sizeof(settings.state), "%s", state);
    sched_open(&sched, &settings, "main.gguf", NULL);
}

// A process of its own is killed while it loads the model; false: it never began.
static bool die_loading(const char *state, const char *path)
{
    int end;
    const pid_t child = fork();
    if (child == 0) {
        struct answer a;
        open_in(state);
        CHECK(wait_model("main.gguf", false));
        n_load_slices = -1;
        CHECK(submit_to(&a, path, "hello", 5, NULL) == OK);
        while (!model_at(path) || model_at(path)->waits)
            wait_ms(&a, 1, 5);
        kill(getpid(), SIGKILL);
    }
    return child > 0 && waitpid(child, &end, 0) == child && WIFSIGNALED(end);
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    CHECK(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

// A model that ended the engine twice while it was loaded is left out, until its file is another.
static void test_deaths(void)
{
    char state[] = "/tmp/sched_models.XXXXXX", path[64], list[64];
    struct answer a[2];
    CHECK(mkdtemp(state) != NULL);
    snprintf(path, sizeof(path), "%s/b.gguf", state);
    snprintf(list, sizeof(list), "%s/loading", state);
    write_text(path, "a model");
    CHECK(die_loading(state, path));
    open_in(state); // once is not enough; and a load that ends well makes it forgotten
    CHECK(submit_to(&a[0], path, "hello", 5, NULL) == OK);
    wait_for(a, 1);
    check_answer(&a[0], "hello", 5);
    sched_close(sched);
    CHECK(die_loading(state, path) && die_loading(state, path));
    open_in(state);
    CHECK(submit_to(&a[0], path, "hello", 5, NULL) == OK);
    CHECK(submit(&a[1], "hello", 5, NULL) == OK);
    wait_for(a, 2);
    check_refused(&a[0], UNSUPPORTED, "ended the engine 2 times");
    check_answer(&a[1], "hello", 5);
    CHECK(model_at(path) && model_at(path)->state == SCHED_FAILED);
    sched_close(sched);
    open_in(state); // it stays so
    CHECK(submit_to(&a[0], path, "hello", 5, NULL) == OK);
    wait_for(a, 1);
    check_refused(&a[0], UNSUPPORTED, "ended the engine 2 times");
    sched_close(sched);
    write_text(path, "another model");
    open_in(state);
    CHECK(submit_to(&a[0], path, "hello", 5, NULL) == OK);
    wait_for(a, 1);
    check_answer(&a[0], "hello", 5);
    sched_close(sched);
    // of another boot, or no such file at all: nothing is left out, and nothing breaks
    write_text(list, "another boot\n5 13 1 /tmp/x\n");
    open_in(state);
    sched_close(sched);
    write_text(list, "\n\n5");
    open_in(state);
    CHECK(submit_to(&a[0], path, "hello", 5, NULL) == OK);
    wait_for(a, 1);
    check_answer(&a[0], "hello", 5);
    sched_close(sched);
    CHECK(unlink(path) == 0 && unlink(list) == 0 && rmdir(state) == 0 && n_models_open == 0);
}

int main(void)
{
    test_deaths(); // first: it forks
    test_two();
    test_beside();
    test_room();
    test_spoilt();
    test_lost();
    test_cancel();
    test_keep();
    test_many();
    test_places();
    test_passing();
    return check_done("sched_models");
}
