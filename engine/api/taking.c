// taking.c - the body of a request into an arrival (incoming.h): pieces as they come, a pause when
// the disk is slower than the network, and an answer when what was sent is safe.
//
// A request holds its arrival until it is answered or gone. Where its first byte belongs may not be
// known when the body begins (the arrival is being made, or goes on behind a full disk): the first
// pieces wait here until it is. A client that leaves loses nothing that it sent: it is written, and
// whoever comes again goes on behind it.
#include "taking.h"

#include <stdlib.h>
#include <string.h>

enum { EARLY_BYTES = 64 << 10 }; // a piece of a body is far shorter, and the second does not come

struct taking {
    struct api *api;
    struct exchange *exchange;
    struct taking_plan plan;
    struct buf early; // what came before it was known where it belongs
    bool is_placed;   // it is known
    bool is_whole;    // the body has ended
    bool is_asked;    // the file was finished, or synced
    bool is_paused;   // the body waits
};

bool refuse_arrival(struct refusal *refusal, const struct err *err)
{
    static const struct {
        enum status status;
        int http;
        const char *code;
    } outcomes[] = {{NO_ROOM, 507, "no_room"},        {BAD_INPUT, 400, "invalid_value"},
                    {TOO_LARGE, 413, "too_large"},    {DENIED, 409, "name_taken"},
                    {CLOSED, 409, "upload_ended"},    {NOT_FOUND, 404, "upload_not_found"},
                    {CANCELLED, 410, "upload_ended"}, {UNSUPPORTED, 501, "unsupported_value"}};
    for (size_t i = 0; i < COUNT_OF(outcomes); i++)
        if (outcomes[i].status == err->status)
            return refuse(refusal, outcomes[i].http, outcomes[i].code, NULL, "%s", err->text);
    return refuse(refusal, 500, "internal_error", NULL, "%s", err->text);
}

static void taking_free(struct taking *taking)
{
    buf_free(&taking->early);
    free(taking);
}

// The arrival is no longer this request's.
static void give_back(struct taking *taking, bool goes_on)
{
    struct incoming *incoming = taking->plan.incoming;
    if (!incoming)
        return;
    incoming_let_go(incoming);
    if (taking->plan.one_shot && !goes_on)
        incoming_delete(incoming);
    taking->plan.incoming = NULL;
}

static void client_gone(void *arg, struct exchange *exchange)
{
    (void)exchange;
    struct taking *taking = arg;
    // What was finished is finished all the same, but for an update: nobody would install it.
    struct incoming *incoming = taking->plan.incoming;
    give_back(taking,
              taking->is_asked && incoming && !incoming_is_update(incoming_at(incoming)->id));
    taking_free(taking);
}

static void answer_refusal(struct taking *taking, struct refusal *refusal)
{
    struct exchange *exchange = taking->exchange;
    refusal->shape = taking->plan.errors;
    taking_free(taking);
    refusal_reply(exchange, refusal);
}

static void answer_fault(struct taking *taking, const struct err *err)
{
    struct refusal refusal;
    (void)refuse_arrival(&refusal, err);
    give_back(taking, false);
    answer_refusal(taking, &refusal);
}

static void answer_done(struct taking *taking)
{
    struct exchange *exchange = taking->exchange;
    struct api *api = taking->api;
    const struct arrival at = *incoming_at(taking->plan.incoming);
    void (*done)(struct api *, struct exchange *, const struct arrival *) = taking->plan.done;
    if (at.phase == INCOMING_ARRIVES)
        incoming_let_go(taking->plan.incoming);
    taking_free(taking);
    done(api, exchange, &at);
}

// False: it was answered, and is gone.
static bool give(struct taking *taking, struct bytes piece)
{
    struct incoming *incoming = taking->plan.incoming;
    struct err err = incoming_at(incoming)->fault;
    const enum status status = incoming_add(incoming, piece);
    taking->is_paused = status == AGAIN;
    if (status == OK || status == AGAIN)
        return true;
    if (status == TOO_LARGE)
        (void)err_set(&err, TOO_LARGE, "more bytes come than the %llu that the file has",
                      (unsigned long long)incoming_at(incoming)->n_bytes);
    else if (status == CLOSED)
        (void)err_set(&err, CLOSED, "the file has arrived already");
    answer_fault(taking, &err);
    return false;
}

// The body has ended.
static void ask(struct taking *taking)
{
    struct incoming *incoming = taking->plan.incoming;
    const struct arrival *at = incoming_at(incoming);
    taking->is_asked = true;
    if (taking->plan.finishes || (at->n_bytes > 0 && at->n_taken == at->n_bytes))
        incoming_finish(incoming);
    else
        incoming_sync(incoming);
}

static bool is_where_it_ends(const struct taking_plan *plan, struct refusal *refusal)
{
    const uint64_t n = incoming_at(plan->incoming)->n_taken;
    return !plan->follows || n == plan->offset ||
           refuse(refusal, 409, "wrong_offset", NULL,
                  "The file goes on at byte %llu; this body begins at %llu.", (unsigned long long)n,
                  (unsigned long long)plan->offset);
}

// It is known where the body belongs. False: it was answered, and is gone.
static bool place(struct taking *taking)
{
    struct refusal refusal;
    if (!is_where_it_ends(&taking->plan, &refusal)) {
        give_back(taking, false);
        answer_refusal(taking, &refusal);
        return false;
    }
    taking->is_placed = true;
    if (taking->early.n > 0 && !give(taking, buf_view(&taking->early)))
        return false;
    if (taking->is_whole)
        ask(taking);
    else if (!taking->is_paused)
        exchange_go_on(taking->exchange);
    return true;
}

// Something has come, or changed: whatever is next.
static void go_on(struct taking *taking)
{
    const struct arrival *at = incoming_at(taking->plan.incoming);
    if (at->fault.status != OK) {
        if (at->phase >= INCOMING_KEPT)
            taking->plan.incoming = NULL; // it has let go of itself
        const struct err fault = at->fault;
        answer_fault(taking, &fault);
        return;
    }
    if (at->phase >= INCOMING_KEPT) {
        answer_done(taking);
        return;
    }
    if (!taking->is_placed && at->is_settled && !place(taking))
        return;
    if (taking->is_paused && !taking->is_whole && incoming_has_room(taking->plan.incoming)) {
        taking->is_paused = false;
        exchange_go_on(taking->exchange);
    }
    if (taking->is_asked && at->phase == INCOMING_ARRIVES && at->is_settled &&
        at->n_safe == at->n_taken)
        answer_done(taking);
}

static void told(void *arg, struct incoming *incoming, bool is_lost)
{
    struct taking *taking = arg;
    struct refusal refusal;
    (void)incoming;
    if (!is_lost) {
        go_on(taking);
        return;
    }
    (void)refuse(&refusal, 409, "upload_taken", NULL,
                 "Another request goes on with this upload, or has deleted it.");
    answer_refusal(taking, &refusal);
}

static bool body_piece(void *arg, struct exchange *exchange, struct bytes piece)
{
    struct taking *taking = arg;
    (void)exchange;
    if (taking->is_placed)
        return !give(taking, piece) || !taking->is_paused;
    if (buf_add(&taking->early, piece.p, piece.n) != OK)
        die("a body's piece of %zu bytes came to one that waits", piece.n);
    return false;
}

static void body_came(void *arg, struct exchange *exchange, const struct request *request)
{
    struct taking *taking = arg;
    (void)exchange, (void)request;
    taking->is_whole = true;
    if (taking->is_placed)
        ask(taking);
    go_on(taking);
}

// Refused before anything was taken.
static void refuse_begin(struct exchange *exchange, const struct taking_plan *plan,
                         struct refusal *refusal)
{
    if (plan->one_shot)
        incoming_delete(plan->incoming);
    refusal->shape = plan->errors;
    refusal_reply(exchange, refusal);
}

// Has the body read; it waits in `early` until the arrival is held. False: refused.
static bool read_body(struct taking *taking, struct exchange *exchange, struct refusal *refusal)
{
    struct err err = {0};
    if (taking->plan.cap_bytes == 0)
        return true;
    const enum status status =
        exchange_sink(exchange, taking->plan.cap_bytes, body_piece, body_came, taking, &err);
    return status == OK || refuse(refusal, status == TOO_LARGE ? 413 : 503,
                                  status == TOO_LARGE ? "too_large" : "busy", NULL, "%s", err.text);
}

void taking_begin(struct api *api, struct exchange *exchange, const struct taking_plan *plan)
{
    struct err err = {0};
    struct refusal refusal;
    const struct arrival *at = incoming_at(plan->incoming);
    if ((at->is_held || at->is_settled) && !is_where_it_ends(plan, &refusal)) {
        refuse_begin(exchange, plan, &refusal);
        return;
    }
    struct taking *taking = mem_alloc(sizeof(*taking));
    taking->api = api;
    taking->exchange = exchange;
    taking->plan = *plan;
    buf_init(&taking->early, EARLY_BYTES);
    bool good = read_body(taking, exchange, &refusal);
    const enum status status = good ? incoming_hold(plan->incoming, told, taking, &err) : OK;
    if (status != OK)
        good = refuse(&refusal, status == NO_ROOM ? 503 : 409,
                      status == NO_ROOM ? "busy" : "upload_ended", NULL, "%s", err.text);
    if (!good) {
        taking_free(taking);
        refuse_begin(exchange, plan, &refusal);
        return;
    }
    exchange_owner(exchange, client_gone, taking);
    if (incoming_at(plan->incoming)->is_settled && !place(taking))
        return; // before a byte of it was asked for
    if (plan->cap_bytes == 0)
        body_came(taking, exchange, NULL);
}
