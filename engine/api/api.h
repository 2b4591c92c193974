// api.h - floor 6: what is spoken on the wire. Requests come from net/ as exchanges, become jobs
// for sched/, and its events become answers. Everything here runs on the net thread.
//
// Needs no key: GET / (how to trust the box), /page/ (its files), /health, /ca.crt, /notices; and
// POST /v1/handovers/take, which wants a code that somebody with a key made. Everything else wants
// `Authorization: Bearer KEY` (or `x-api-key: KEY`), and a key that has the scope for it. The plain
// port answers with /ca.crt and a redirect only.
#pragma once

#include "../base/base.h"
#include "../net/net.h"
#include "../sched/sched.h"
#include "../store/store.h"

enum { API_CORS_BYTES = 512 };

struct api;

struct api_options {
    struct sched *sched;
    struct store *store;
    const char *model_path; // of the model of the start; outlives the api
    const char *state;      // directory: api-key is read from it, or made
    const char *version;    // of this build
    struct bytes notices;   // licences of what is linked in; outlives the api
    const char *hostname;
    const char *cors;           // the setting: origins whose pages may use this server; "" = none
    bool open_metrics;          // GET /metrics wants no key
    const char *registry, *hub; // HOST or HOST:PORT that pulls ask; outlive the api
    // The file in which PID 1 says how updates stand (init/update.c), and how it hears of one that
    // has arrived; NULL: there is nobody who takes updates. Both outlive the api.
    const char *update_status;
    const char *cloud; // file that PID 1 makes of a hypervisor's disk; NULL, none: no disk
    const char *told;  // file in which it says what is the matter (init/told.c); NULL: nobody does
    void (*tell_init)(void *arg, const char *line);
    void *tell_init_arg;
    // For /v1/settings; all outlive the api. settings_good: the checks of a start that need more
    // than base/; restart: of the server or of the box, NULL: nobody would start us again.
    const struct settings *settings;
    const struct settings_report *report;
    enum status (*settings_good)(const struct settings *settings, struct err *err);
    void (*restart)(void *arg, bool box);
    void *restart_arg;
};

// Whether the setting `cors` may be so; api_open refuses what may not.
MUST_USE enum status cors_check(const char *setting, struct err *err);
// Reads STATE/api-key, or makes it at the first start.
MUST_USE enum status api_open(struct api **out, const struct api_options *options, struct err *err);
void api_close(struct api *api);
// Before api_open: what POST /v1/restore has laid down takes its place in STATE. *restored: it has,
// and settings must be read anew; *box: also those that PID 1 reads. Anything but OK: why not.
MUST_USE enum status api_restore(const char *state, bool *restored, bool *box, struct err *err);
// The net_handler; arg: the api.
void api_handle(void *arg, struct exchange *exchange, const struct request *request);
// After net_open: answers sched's events from net's loop. changed is called (arg) when sched's
// state changes.
void api_attach(struct api *api, struct net *net, void (*changed)(void *), void *arg);
// Reads a body as POST /apply-template does: job->ask.conversation. BAD_INPUT names the field.
MUST_USE enum status api_read_chat(struct job *job, struct bytes body, struct err *err);
const char *api_key(const struct api *api);
// Calls changed when the box's key was rotated: api_key is another now.
void api_on_key(struct api *api, void (*changed)(void *), void *arg);
bool api_key_is_new(const struct api *api); // made by this api_open
// The squares of a QR code, [side][side], 1: dark; to be freed. sturdy: 15 % of it may be spoilt,
// else 7 %. NULL: the text is too long, or there is no memory. On any thread.
uint8_t *qr_squares(const char *text, bool sturdy, int *side);
