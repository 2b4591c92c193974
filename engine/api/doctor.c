// doctor.c - GET /v1/doctor: which layer lets a GPU run, or refuses it. Text; JSON when it is asked
// for, by `Accept: application/json` or `?format=json`.
//
// It wants the key: /health says without one what is wrong, and the rest (kernel, groups, nodes of
// this machine) is its owner's business. The layers of the device were looked at by the engine
// thread when it opened it; the others are looked at now, here, without touching the device.
#include "inside.h"

#include <stdlib.h>
#include <string.h>

static bool wants_json(const struct request *request)
{
    static const char json[] = "application/json";
    struct bytes accept = request->accept;
    if (bytes_equal_text(request->query, "format=json"))
        return true;
    if (request->query.n)
        return false;
    return accept.n && memmem(accept.p, accept.n, json, sizeof(json) - 1);
}

void doctor_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    struct refusal refusal;
    if (request->query.n && !bytes_equal_text(request->query, "format=json") &&
        !bytes_equal_text(request->query, "format=text")) {
        (void)refuse(&refusal, 400, "unsupported_value", "format",
                     "The query may be format=text or format=json.");
        refusal_reply(exchange, &refusal);
        return;
    }
    struct doctor_report *report = mem_alloc(sizeof(*report));
    struct buf body;
    bool json = wants_json(request);
    buf_init(&body, DOCTOR_BYTES_MOST);
    doctor_walk(report, &sched_status(api->options.sched)->layers, "");
    enum status status =
        json ? doctor_json(&body, report, api->version) : doctor_text(&body, report, api->version);
    free(report);
    exchange_reply_header(exchange, "Cache-Control", "no-store");
    exchange_reply_header(exchange, "Vary", "Accept");
    if (status == OK)
        exchange_reply(exchange, 200, json ? "application/json" : "text/plain; charset=utf-8",
                       buf_view(&body));
    else
        refusal_reply(exchange, &(struct refusal){.http = 500, .text = "The report is too long."});
    buf_free(&body);
}
