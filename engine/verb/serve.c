// serve.c - `tawny serve`: settings -> floors bottom-up -> run -> floors top-down.
//
// The main thread is the net thread; sched_open starts the engine thread, which loads while we
// answer /health already. A model that cannot be loaded does not end the process: /health and the
// console say why, which is more than a restart loop would. What the owner needs stands on stdout
// as plain lines (url, CA fingerprint, API key); the log goes to stderr. Under PID 1
// (TAWNY_HEARTBEAT_FD) the net thread writes `beat net` every 5 s, and `beat compute` as long as
// the engine thread turns: where one of them stays away PID 1 kills and restarts us, and the device
// is opened afresh. It hears `loading`, `ready` and `failed` too: when loading has ended us twice,
// it starts us with TAWNY_SKIP_MODEL, the reason why there is to be no model this time.
#include "api/api.h"
#include "args.h"
#include "confine.h"
#include "heartbeat.h"
#include "doctor/doctor.h"
#include "net/net.h"
#include "model/model.h"
#include "sched/sched.h"
#include "start.h"
#include "store/store.h"
#include "verb.h"
#include "version.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BEAT_MS = 5000, LOADING_TOLD_MS = 3000, HANDED_FIRST = 3 };

struct server {
    struct settings asked, settings; // as they are written; as they are meant
    struct settings_report report;   // who set what, and what is wrong
    struct sched *sched;
    struct store *store;
    char model_path[2200]; // of the model of the start
    struct api *api;
    struct net *net;
    struct heartbeat heartbeat;
    bool device_told, plan_told, ready_told, failed_told, show_key;
    uint64_t began_ms, loading_told_ms;
};

static _Atomic(struct net *) net_to_stop;
static volatile sig_atomic_t n_signals;

static void on_signal(int signal_number)
{
    if (++n_signals > 1)
        _exit(128 + signal_number); // asked twice: at once
    struct net *net = atomic_load(&net_to_stop);
    if (net)
        net_stop(net);
    else
        _exit(128 + signal_number);
}

// What whoever started us has had ignored stays ignored: SIGHUP by nohup, SIGINT by a shell's &.
static void catch_unless_ignored(int signal_number, const struct sigaction *action)
{
    struct sigaction found;
    if (sigaction(signal_number, NULL, &found) == 0 && found.sa_handler != SIG_IGN)
        sigaction(signal_number, action, NULL);
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    catch_unless_ignored(SIGINT, &action);
    catch_unless_ignored(SIGHUP, &action);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
}

// ---- settings -------------------------------------------------------------------------------

// PID 1 knows a name where no file says one: that of a hypervisor.
static void take_hostname(struct settings *settings, const struct settings_report *report)
{
    const char *name = getenv("TAWNY_HOSTNAME");
    struct setting setting;
    struct err err;
    for (size_t i = 0; name && name[0] && settings_describe(i, &setting); i++)
        if (strcmp(setting.name, "hostname") == 0 && report->source[i] == SETTING_DEFAULT &&
            settings_set(settings, "hostname", bytes_of(name), &err) != OK)
            log_warn("%s", err.text);
}

static enum status read_settings(struct settings *settings, struct settings_report *report,
                                 int argc, char **argv, struct err *err)
{
    const char *heartbeat = getenv("TAWNY_HEARTBEAT_FD");
    const struct command command = {
        "answer over HTTPS: the server. Prints the addresses, the fingerprint of its certificate "
        "authority and the API key; ends with Ctrl-C or SIGTERM.",
        .settings = settings, .report = report, .run_on = heartbeat && heartbeat[0]};
    enum status status = args_read(&command, argc, argv, err);
    if (status != OK)
        return status;
    if (command.run_on) {
        take_hostname(settings, report);
        start_mend(settings, report);
    }
    for (size_t i = 0; i < report->n_faults && i < SETTING_FAULTS; i++)
        log_error("settings: %s; it is left out", report->fault[i].text);
    return start_settings_good(settings, err);
}

static enum status prepare_state(struct settings *settings, struct err *err)
{
    char models[sizeof(settings->state) + 8];
    enum status status = args_state_make(settings, err);
    if (status == OK)
        status = args_state_lock(settings, err);
    if (status != OK)
        return status;
    snprintf(models, sizeof(models), "%s/models", settings->state);
    status = file_make_dir(models, 0755, err);
    if (status != OK)
        (void)err_prefix(err, "the state directory");
    return status;
}

// ---- the heartbeat --------------------------------------------------------------------------

// Sockets handed over as systemd does it (sd_listen_fds(3)): descriptors from 3 on, if they are for
// this very process.
static size_t handed_over(void)
{
    const char *pid = getenv("LISTEN_PID"), *n = getenv("LISTEN_FDS");
    char own[24];
    int64_t n_sockets = 0;
    struct err err;
    snprintf(own, sizeof(own), "%lld", (long long)getpid());
    bool ours = pid && n && strcmp(pid, own) == 0;
    if (ours && args_int("LISTEN_FDS", n, 0, 64, &n_sockets, &err) != OK)
        log_warn("%s; no socket is taken over", err.text);
    return (size_t)n_sockets;
}

static void tell_init(void *arg, const char *line)
{
    heartbeat_say(&((struct server *)arg)->heartbeat, line);
}

static void beat(void *arg)
{
    struct server *server = arg;
    heartbeat_beat(&server->heartbeat, server->sched);
}

// Its administrator asks for it: PID 1 starts us, or the whole box, again.
static void restart(void *arg, bool box)
{
    struct server *server = arg;
    log_info("restarting%s, as was asked for", box ? " the box" : "");
    heartbeat_say(&server->heartbeat, box ? "reboot\n" : "restart\n");
    if (!box)
        net_stop(server->net);
}

// What POST /v1/restore has laid down counts from here on: settings are read once more, and where
// PID 1 reads them too, the box starts again.
static enum status restore(struct server *server, int argc, char **argv, struct err *err)
{
    bool restored = false, box = false;
    const enum status told = api_restore(server->settings.state, &restored, &box, err);
    if (told != OK)
        log_error("the backup that was sent was not restored: %s", err->text);
    if (!restored)
        return told == BAD_INPUT ? OK : told; // else it is still to come: the next start does it
    log_info("keys, certificates and settings are those of the backup that was sent");
    if (box)
        heartbeat_say(&server->heartbeat, "reboot\n");
    enum status status = read_settings(&server->asked, &server->report, argc, argv, err);
    server->settings = server->asked;
    log_level_set(server->settings.log);
    if (status == OK)
        status = start_http(&server->settings, err);
    return status == OK ? prepare_state(&server->settings, err) : status;
}

// ---- what the owner reads -------------------------------------------------------------------

// The key is printed where a person or the program that started us reads it (a terminal, a pipe);
// not into a log file or the journal, except when it was made just now.
static bool key_may_be_shown(bool is_new)
{
    struct stat info;
    if (is_new || isatty(STDOUT_FILENO))
        return true;
    return fstat(STDOUT_FILENO, &info) == 0 && S_ISFIFO(info.st_mode);
}

static bool is_loopback(const char *url)
{
    return strncmp(url, "https://localhost", 17) == 0 || strncmp(url, "https://127.", 12) == 0 ||
           strncmp(url, "https://[::1]", 13) == 0;
}

static bool has_port_80(const char *listen)
{
    for (; (listen = strstr(listen, ":80")) != NULL; listen += 3)
        if (listen[3] == 0 || listen[3] == ',' || listen[3] == ' ')
            return true;
    return false;
}

// Under PID 1 nobody sits at this machine's own browser: an address that only it can open is none.
static void print_urls(void *arg)
{
    struct server *server = arg;
    char url[128], first[128] = "";
    size_t n_shown = 0;
    for (size_t n = 0; net_url(server->net, n, url); n++) {
        if (server->heartbeat.fd >= 0 && is_loopback(url))
            continue;
        printf("url %s\n", url);
        if (n_shown++ == 0)
            memcpy(first, url, sizeof(first));
    }
    if (n_shown == 0)
        printf("no url yet: this box has no address that another machine can reach\n");
    fflush(stdout);
    heartbeat_start_page(&server->heartbeat, first[0] ? first : NULL,
                         has_port_80(server->settings.listen_http));
}

static void print_key(void *arg)
{
    const struct server *server = arg;
    printf("API key %s\n", api_key(server->api));
    fflush(stdout);
}

static void print_block(struct server *server)
{
    char fingerprint[96];
    net_ca_fingerprint(server->net, fingerprint);
    printf("tawny %s, %s\n", version_text(), version_flavour());
    print_urls(server);
    printf("CA fingerprint SHA-256 %s\n", fingerprint);
    if (server->show_key)
        print_key(server);
    else
        printf("API key: in %s/api-key\n", server->settings.state);
    fflush(stdout);
}

// No device runs: the first layer that refuses it, and what to do, where there is no shell to ask.
static void print_refusal(const struct doctor_device *layers)
{
    struct doctor_report *report = mem_alloc(sizeof(*report));
    doctor_walk(report, layers, "");
    const struct doctor_layer *refused = report->refused;
    if (refused)
        log_error("%s: wanted: %s; found: %s", refused->name, refused->wanted, refused->found);
    if (refused && refused->todo[0])
        log_error("%s: to do: %s", refused->name, refused->todo);
    for (const char *line = refused ? refused->lines : ""; *line;) {
        size_t n = strcspn(line, "\n");
        log_error("    %.*s", (int)n, line);
        line += n + (line[n] == '\n');
    }
    log_error("every layer: GET /v1/doctor with the API key, or `tawny doctor`");
    free(report);
}

static void tell_device(struct server *server, const struct sched_status *now)
{
    const struct compute_info *device = &now->device;
    server->device_told = true;
    if (device->driver[0])
        log_info("device: %s (%s, %s, %s)", device->device, device->kind, device->backend,
                 device->driver);
    else
        log_info("device: %s", device->device);
    log_info("why this device: %s", device->reason);
    log_debug("its layers were looked at in %u ms", now->layers.took_ms);
    heartbeat_say(&server->heartbeat, "loading\n");
}

// The context and why, as soon as it is known: before a byte of the weights is loaded.
static void tell_plan(struct server *server, const struct model_info *model)
{
    const struct model_plan *plan = &model->plan;
    char text[5][SIZE_TEXT];
    if (server->plan_told || !model->id[0])
        return;
    server->plan_told = true;
    log_info("context: %d tokens of a conversation (%s); %llu of all, %d at once", (int)plan->n_ctx,
             plan->why, (unsigned long long)plan->pool_tokens, (int)plan->n_seq);
    log_info("memory: weights %s, keys and values %s, states %s, scratch %s; %s are free",
             model_size_text(text[0], plan->weight_bytes),
             model_size_text(text[1], plan->cache_bytes),
             model_size_text(text[4], model_plan_states(plan)),
             model_size_text(text[2], plan->pass_bytes + plan->spare_bytes),
             model_size_text(text[3], plan->free_bytes));
    if (plan->is_short)
        log_warn("a context of %d tokens is little for long documents and agents; what gives more: "
                 "%s",
                 (int)plan->n_ctx, plan->advice);
}

// Every few seconds, so that a model that takes none is not told about.
static void tell_loading(struct server *server, const struct sched_loading *loading)
{
    const struct model_progress *at = &loading->at;
    if (at->total_bytes == 0 || clock_ms() - server->loading_told_ms < LOADING_TOLD_MS)
        return;
    server->loading_told_ms = clock_ms();
    if (at->compiling)
        log_info("loading: the weights are there; kernels are being compiled");
    else
        log_info("loading: %.1f of %.1f GB, about %llu s left", (double)at->done_bytes / 1e9,
                 (double)at->total_bytes / 1e9,
                 (unsigned long long)(loading->left_ms + 999) / 1000);
}

static void tell_ready(struct server *server, const struct model_info *model)
{
    server->ready_told = true;
    tell_plan(server, model);
    log_info("model: %s (%s, %s, %.1f M parameters), %d/%d layers on the device, context %d "
             "tokens, %d at once",
             model->id, model->arch, model->quantisation, (double)model->n_params / 1e6,
             (int)model->n_layer_on_device, (int)model->n_layer, (int)model->n_ctx,
             (int)server->settings.n_parallel);
    log_info("ready after %.1f s", (double)(clock_ms() - server->began_ms) / 1000);
    heartbeat_say(&server->heartbeat, "ready\n");
}

static void state_changed(void *arg)
{
    struct server *server = arg;
    const struct sched_status *now = sched_status(server->sched);
    if (now->state == SCHED_LOADING) {
        if (!server->device_told)
            tell_device(server, now);
        tell_plan(server, &now->model);
        tell_loading(server, &now->loading);
    } else if (now->state == SCHED_FAILED && !server->failed_told) {
        server->failed_told = true;
        log_error("no model is loaded: %s", now->err.text);
        heartbeat_say(&server->heartbeat, "failed\n");
        struct err why;
        if (now->layers.opened.status != OK || doctor_wrong(&now->layers, &why))
            print_refusal(&now->layers);
    } else if (now->state == SCHED_READY && !server->ready_told) {
        tell_ready(server, &now->model);
    }
}

// ---- the floors -----------------------------------------------------------------------------

static enum status describe(struct store_about *out, const char *path, struct err *err)
{
    struct model_info *info = mem_alloc(sizeof(*info));
    enum status status = model_describe(info, path, err);
    snprintf(out->arch, sizeof(out->arch), "%s", info->arch);
    snprintf(out->name, sizeof(out->name), "%s", info->name);
    snprintf(out->quantisation, sizeof(out->quantisation), "%s", info->quantisation);
    snprintf(out->capability, sizeof(out->capability), "%s",
             info->pooling == POOLING_NONE   ? "completion"
             : info->pooling == POOLING_RANK ? "rerank"
                                             : "embedding");
    out->n_params = info->n_params;
    out->file_bytes = info->file_bytes;
    out->token_bytes = info->token_bytes;
    out->n_ctx_train = info->n_ctx_train;
    out->n_embd = info->n_embd;
    out->n_layer = info->n_layer;
    out->n_vector = info->n_vector;
    out->n_parts = info->n_parts;
    free(info);
    return status;
}

// The model of the start by its whole path: so the store calls it too. *refused: why there is none.
static bool find_model(struct server *server, struct err *refused)
{
    char *path = server->model_path, real[PATH_MAX];
    if (args_model_path(&server->settings, path, sizeof(server->model_path), refused) != OK) {
        path[0] = 0;
        return false;
    }
    if (strcmp(path, MODEL_BUILTIN) != 0 && realpath(path, real) &&
        strlen(real) < sizeof(server->model_path))
        memcpy(path, real, strlen(real) + 1);
    store_first_part(path);
    return true;
}

// It may be called as requests call it; and it is left out where it has ended the engine.
static bool model_may_load(struct server *server, bool found, struct err *refused)
{
    const struct settings *settings = &server->settings;
    const char *skip = getenv("TAWNY_SKIP_MODEL");
    char state[sizeof(settings->state) + 2];
    if (!found && !start_named(server->store, settings->model, server->model_path,
                               sizeof(server->model_path))) {
        log_info("%s", refused->text);
        snprintf(state, sizeof(state), "%s/", settings->state);
        err_hide_folder(refused, state); // clients read it too
        err_hide_folder(refused, settings->model);
        return false;
    }
    if (!skip || !skip[0])
        return true;
    (void)err_set(refused, UNSUPPORTED, "the model %s: %s", settings->model, skip);
    return false;
}

static enum status open_store(struct server *server, struct err *err)
{
    char home[sizeof(server->settings.state) + 16], kept[sizeof(server->settings.state) + 16],
        digests[sizeof(server->settings.state) + 16];
    snprintf(home, sizeof(home), "%s/models", server->settings.state);
    snprintf(kept, sizeof(kept), "%s/aliases", server->settings.state);
    snprintf(digests, sizeof(digests), "%s/digests", server->settings.state);
    const struct store_options options = {.home = home,
                                          .folders = server->settings.models,
                                          .attached = getenv("TAWNY_ATTACHED"),
                                          .files = {MODEL_BUILTIN, server->model_path},
                                          .aliases = server->settings.aliases,
                                          .kept = kept,
                                          .digests = digests,
                                          .describe = describe};
    return store_open(&server->store, &options, err);
}

static enum status open_net(struct server *server, size_t n_handed, struct err *err)
{
    const struct settings *settings = &server->settings;
    const struct net_options options = {.listen = settings->listen,
                                        .listen_http = settings->listen_http,
                                        .state = settings->state,
                                        .hostname = settings->hostname,
                                        .client = start_client(settings),
                                        .handed = HANDED_FIRST,
                                        .n_handed = n_handed};
    return net_open(&server->net, &options, api_handle, server->api, err);
}

// PID 1 may have opened other addresses than are wanted now, and we may open none: those it is.
static enum status listen_to_handed(struct server *server, size_t n_handed, enum status status,
                                    struct err *err)
{
    struct settings *settings = &server->settings;
    struct err why = *err;
    if (server->heartbeat.fd < 0 ||
        net_handed_lists(HANDED_FIRST, n_handed, settings->listen, settings->listen_http,
                         sizeof(settings->listen)) == 0)
        return status;
    log_error("settings: %s; what PID 1 has opened is used: %s", why.text, settings->listen);
    settings_fault(&server->report, NULL, 0, &why);
    return open_net(server, n_handed, err);
}

// Where it cannot listen as it was told to (a port that is taken, addresses that did not come),
// a box listens as usual: somebody must be able to reach it.
static enum status listen_somewhere(struct server *server, struct err *err)
{
    struct settings *settings = &server->settings;
    const size_t n_handed = handed_over();
    enum status status = open_net(server, n_handed, err);
    for (int n = 0; n < 2 && status != OK && server->heartbeat.fd >= 0; n++) {
        const char *name = settings_named(err->text);
        if (!name || strncmp(name, "listen", 6) != 0)
            return status;
        log_error("settings: %s; it is left out", err->text);
        settings_fault(&server->report, NULL, 0, err);
        settings->listen_http[0] = 0; // who reaches the other finds what is wrong
        if (strcmp(name, "listen") == 0) {
            start_reset(settings, &server->report, "listen");
            start_reset(settings, &server->report, "listen-http");
            status = start_http(settings, err);
            if (status != OK)
                return status;
        }
        status = open_net(server, n_handed, err);
    }
    if (status != OK)
        status = listen_to_handed(server, n_handed, status, err);
    if (status == OK)
        heartbeat_serves(&server->heartbeat, net_handed_taken(server->net));
    return status;
}

static enum status open_floors(struct server *server, struct err *err)
{
    const struct settings *settings = &server->settings;
    struct err refused = {0};
    struct bytes notices;
    notices.p = (const uint8_t *)version_notices(&notices.n);
    const bool found = find_model(server, &refused);
    serve_confine(settings, server->model_path);
    enum status status = open_store(server, err);
    if (status != OK)
        return status;
    const bool loads = model_may_load(server, found, &refused);
    struct settings for_sched = *settings; // with paths in place of the draft models' names
    start_draft(&for_sched, server->store);
    sched_open(&server->sched, &for_sched, server->model_path, loads ? NULL : &refused);
    struct api_options api_options = {.sched = server->sched,
                                      .store = server->store,
                                      .model_path = server->model_path,
                                      .state = settings->state,
                                      .version = version_text(),
                                      .notices = notices,
                                      .hostname = settings->hostname,
                                      .cors = settings->cors,
                                      .open_metrics = settings->open_metrics,
                                      .update_status = getenv("TAWNY_UPDATE"),
                                      .told = getenv("TAWNY_TOLD"),
                                      .cloud = getenv("TAWNY_CLOUD"),
                                      .tell_init = tell_init,
                                      .tell_init_arg = server,
                                      .registry = settings->registry,
                                      .hub = settings->hub,
                                      .settings = &server->asked,
                                      .report = &server->report,
                                      .settings_good = start_settings_good,
                                      .restart = server->heartbeat.fd >= 0 ? restart : NULL,
                                      .restart_arg = server};
    status = api_open(&server->api, &api_options, err);
    if (status != OK)
        return status;
    status = listen_somewhere(server, err);
    if (status != OK)
        return status;
    start_tell(settings, server->store, server->net);
    api_attach(server->api, server->net, state_changed, server);
    net_every(server->net, BEAT_MS, beat, server);
    heartbeat_listen(&server->heartbeat, server->net);
    net_on_change(server->net, print_urls, server);
    api_on_key(server->api, print_key, server);
    server->show_key = key_may_be_shown(api_key_is_new(server->api));
    return OK;
}

static void close_floors(struct server *server)
{
    atomic_store(&net_to_stop, NULL);
    if (server->net)
        net_close(
            server->net); // tells the api of every client that is cut off; it cancels their jobs
    if (server->sched)
        sched_close(server->sched);
    api_close(server->api);
    store_close(server->store);
}

int verb_serve(int argc, char **argv)
{
    struct server server = {.began_ms = clock_ms(),
                            .loading_told_ms = clock_ms(),
                            .heartbeat = {.fd = -1, .log_fd = -1}};
    struct err err = {0};
    enum status status = read_settings(&server.asked, &server.report, argc, argv, &err);
    if (status == CANCELLED)
        return 0;
    server.settings = server.asked;
    if (status == OK)
        status = start_http(&server.settings, &err);
    if (status != OK)
        return args_fail("serve", &err, 2);
    log_level_set(server.settings.log);
    catch_signals();
    heartbeat_open(&server.heartbeat);
    status = prepare_state(&server.settings, &err);
    if (status == OK)
        status = restore(&server, argc, argv, &err);
    if (status == OK)
        status = open_floors(&server, &err);
    if (status == OK) {
        atomic_store(&net_to_stop, server.net);
        print_block(&server);
        beat(&server);
        serve_confine_net();
        status = net_run(server.net, &err);
    }
    close_floors(&server);
    if (status != OK)
        return args_fail("serve", &err, 1);
    log_info("stopped");
    return 0;
}
