// sched_fixture.h - the engine thread against a stand-in model whose every forward pass is checked.
//
// The stand-in has the real book-keeping of pages and slots (model/past.c), over rows that are the
// tokens themselves and states that are hashes of all tokens before, and derives the next token
// from ALL of them: a wrong position, a row of another sequence, a stale prefix, a page that was
// not copied or a lost chunk changes what is generated. Like the real one it refuses a row whose
// past it does not hold, and holds nothing after a failed pass. Expected answers are computed here,
// independently of batches. A token is one letter; 'z' ends. It also embeds (embed_batch > 0). This
// file defines model_*, tokenizer_*, template_*, compute_open ...; the linker takes them before the
// library's.
#pragma once

#include "../../engine/model/past.h"
#include "../../engine/sched/inside.h"
#include "check.h"

#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

enum { VOCAB = 26, N_CTX = 600, SEQS = 3, LONGEST = 4, SLOW_MS = 20, TEXT_MS = 200 };
enum { READ_MOST = LONGEST * (N_CTX - 1) }; // bytes; longer texts are refused unread

// ---- the stand-ins --------------------------------------------------------------------------

enum { PAGES_MOST = 256, SLOTS_MOST = 64, NUMBERS = SEQS + HELD_MOST + 1 };
struct model { // a stand-in
    bool is_open;
    struct past *past;
    int32_t rows[PAGES_MOST * PAGE_ROWS];  // the tokens that its memory holds
    uint32_t states[SLOTS_MOST];           // hashes of a sequence's tokens
    int32_t ahead[PAGES_MOST * PAGE_ROWS]; // the tokens that its block has read
    int32_t hidden_seq[BATCH_TOKENS], hidden_pos[BATCH_TOKENS], n_hidden; // rows of the last pass
    struct model_info info;
};
static struct model stand_ins[LOADED_MOST + 1];
static struct past *past;                     // of the one that was opened last
static int n_models_open, fit_most = 4;       // so many fit
static int32_t n_pages = PAGES_MOST, n_slots; // n_slots > 0: a model with recurrent layers
static int n_computed;                        // rows of all passes
static int n_passes, most_rows, most_prefill_beside_decode, n_together, pass_us,
    n_ctx_train = N_CTX;
static int repeats;            // a token is mostly the one so many before; 0: never
static int pass_fixed_us;      // that a pass takes whatever its rows
static bool speculation;       // as the setting
static const char *draft = ""; // as the setting
static bool has_block;         // the stand-in predicts further tokens
static int n_blind;            // rows its block read without a state
static int fails_at = -1;      // the pass that fails, counted in n_passes
static enum status fails_with = NO_ROOM;
static int32_t nan_after = -1; // logits of a text that begins with this token are not numbers
static const char *chat_template = "";
static _Atomic int n_load_slices; // that loading still takes; it never ends while negative
static int load_slice_us;
static bool model_is_open, device_is_open;
static int32_t embed_batch; // the stand-in embeds, in passes of so many rows; 0: it writes text
static bool embed_one_pass;
static int n_answered;      // answers
static uint64_t owner;      // of the jobs that are submitted
static bool share_prefixes; // the setting
static char state_dir[64];  // the same; "": nothing is kept on the disk
static int32_t keep_prefixes_mb = 64;
static uint64_t identity = 77; // of all models
static int n_taken, n_put;     // pieces
static int dummy;
static struct sched *sched;

enum status compute_open(struct compute **out, const struct compute_options *options,
                         struct err *err)
{
    if (strcmp(options->device, "none") == 0)
        return err_set(err, NOT_FOUND, "there is no device \"none\"");
    *out = (struct compute *)&dummy;
    device_is_open = true;
    return OK;
}

bool compute_close(struct compute *compute)
{
    (void)compute;
    device_is_open = false;
    return true;
}

const struct compute_info *compute_info(const struct compute *compute)
{
    static const struct compute_info info = {.device = "stand-in", .backend = "none"};
    (void)compute;
    return &info;
}

void doctor_survey(struct doctor_device *out, const char *setting, bool all)
{
    CHECK(!all && !model_is_open && !device_is_open);
    *out = (struct doctor_device){0};
    snprintf(out->setting, sizeof(out->setting), "%s", setting);
}

void doctor_device(struct doctor_device *out, struct compute *compute, const struct err *refused)
{
    CHECK(!model_is_open && device_is_open == (compute != NULL) &&
          (compute || refused->status != OK));
    out->looked = true;
    out->info.n_threads = strcmp(out->setting, "wrong") == 0 ? 7 : 1;
    if (!compute)
        out->opened = *refused;
}

bool doctor_wrong(const struct doctor_device *device, struct err *why)
{
    if (device->info.n_threads != 7) // as the test says it
        return false;
    (void)err_set(why, DEVICE_ERROR, "it computes wrongly");
    return true;
}

enum status model_plan(struct model_info *out, struct compute *compute, const char *path,
                       const struct model_options *options, struct err *err)
{
    (void)compute, (void)options;
    *out = (struct model_info){.n_layer = 0};
    if (strcmp(path, "spoilt.gguf") == 0)
        return err_set(err, BAD_INPUT, "it is spoilt");
    out->plan.fits = n_models_open < fit_most && strcmp(path, "vast.gguf") != 0 &&
                     (n_models_open == 0 || strcmp(path, "large.gguf") != 0);
    return OK;
}

uint64_t model_plan_bytes(const struct model_plan *plan)
{
    (void)plan;
    return 1 << 20;
}

enum status model_begin(struct model **out, struct compute *compute, const char *path,
                        const struct model_options *options, struct err *err)
{
    (void)compute;
    CHECK(options->n_ctx == N_CTX && options->n_seq == SEQS && options->n_batch == BATCH_TOKENS);
    if (strcmp(path, "vast.gguf") == 0)
        return err_set(err, NO_ROOM, "9 GiB wanted, 1 GiB free");
    if (strcmp(path, "spoilt.gguf") == 0)
        return err_set(err, BAD_INPUT, "it is spoilt");
    if (n_models_open >= fit_most)
        return err_set(err, NO_ROOM, "too many are loaded");
    CHECK(options->n_held == HELD_MOST + 1);
    const struct past_shape shape = {.n_seq = NUMBERS,
                                     .n_ctx = N_CTX,
                                     .n_pools = 1,
                                     .pools = {{0, n_pages}},
                                     .n_slots = n_slots,
                                     .n_snapshots = n_slots};
    struct model *model = stand_ins;
    while (model->is_open)
        model++;
    CHECK(n_models_open < fit_most);
    past_open(&model->past, &shape);
    past = model->past;
    snprintf(model->info.id, sizeof(model->info.id), "%.*s", (int)strcspn(path, "."), path);
    model->is_open = model_is_open = true;
    n_models_open++;
    *out = model;
    return OK;
}

enum status model_load_some(struct model *model, uint32_t budget_ms, struct err *err)
{
    (void)model, (void)err;
    CHECK(budget_ms <= 100);
    if (n_load_slices != 0 && load_slice_us)
        usleep((useconds_t)load_slice_us);
    if (n_load_slices < 0)
        return AGAIN;
    return n_load_slices == 0 || --n_load_slices == 0 ? OK : AGAIN;
}

void model_progress(const struct model *model, struct model_progress *out)
{
    (void)model;
    *out = (struct model_progress){.done_bytes = 1 << 20, .total_bytes = 4 << 20};
}

int32_t model_keeps(const struct model *model, int32_t seq, int32_t n)
{
    return past_keeps(model->past, seq, n);
}

int32_t model_states_free(const struct model *model)
{
    return n_slots > 0 ? past_slots_free(model->past) : INT32_MAX;
}

int32_t model_drafted(const struct model *model, int32_t seq)
{
    return past_drafted(model->past, seq);
}

int32_t model_held(const struct model *model, int32_t seq)
{
    return past_held(model->past, seq);
}

int32_t model_cut(struct model *model, int32_t seq, int32_t n)
{
    return past_cut(model->past, seq, n);
}

int32_t model_fork(struct model *model, int32_t from, int32_t to, int32_t n)
{
    return past_fork(model->past, from, to, n);
}

enum status model_reserve(struct model *model, int32_t seq, int32_t n)
{
    return past_reserve(model->past, seq, n);
}

int64_t model_room(const struct model *model)
{
    return past_room(model->past);
}

enum status model_snapshot(struct model *model, int32_t seq)
{
    return past_snapshot(model->past, seq);
}

int32_t model_snapshots(const struct model *model, int32_t seq, int32_t out[MODEL_SNAPSHOTS_MOST])
{
    return past_snapshots(model->past, seq, out);
}

void model_drop(struct model *model, int32_t seq, int32_t pos)
{
    past_drop(model->past, seq, pos);
}

// The pieces: a page's rows; the state of where the sequence stands.
int32_t model_pieces(int32_t n)
{
    return (n + PAGE_ROWS - 1) / PAGE_ROWS + 1;
}

size_t model_piece_bytes(struct model *model, int32_t n, int32_t piece)
{
    const int32_t left = n - piece * PAGE_ROWS;
    (void)model;
    if (piece == model_pieces(n) - 1)
        return n_slots > 0 ? sizeof(model->states[0]) : 0;
    return (size_t)(left < PAGE_ROWS ? left : PAGE_ROWS) * sizeof(model->rows[0]);
}

static void copy_pages(struct model *model);

static void move_piece(struct model *model, int32_t seq, int32_t n, int32_t piece, uint8_t *bytes,
                       bool takes)
{
    const size_t n_bytes = model_piece_bytes(model, n, piece);
    void *its = n_bytes == 0 ? NULL
                : piece == model_pieces(n) - 1
                    ? (void *)&model->states[past_slot(model->past, seq)]
                    : (void *)&model->rows[past_row(model->past, 0, seq, piece * PAGE_ROWS)];
    copy_pages(model);
    if (n_bytes > 0)
        memcpy(takes ? bytes : its, takes ? its : bytes, n_bytes);
}

enum status model_piece_take(struct model *model, int32_t seq, int32_t piece, uint8_t *out,
                             struct err *err)
{
    (void)err;
    n_taken++;
    move_piece(model, seq, past_held(model->past, seq), piece, out, true);
    return OK;
}

enum status model_piece_put(struct model *model, int32_t seq, int32_t n, int32_t piece, uint8_t *in,
                            struct err *err)
{
    (void)err;
    n_put++;
    move_piece(model, seq, n, piece, in, false);
    return OK;
}

enum status model_place(struct model *model, int32_t seq, int32_t n)
{
    return past_place(model->past, seq, n);
}

uint64_t model_identity(struct model *model)
{
    (void)model;
    return identity;
}

void model_check(const struct model *model)
{
    past_check(model->past);
}

void model_close(struct model *model)
{
    if (!model)
        return;
    CHECK(model->is_open);
    past_close(model->past);
    memset(model->rows, 0xee, sizeof(model->rows));
    model->is_open = false;
    n_models_open--;
    model_is_open = n_models_open > 0;
}

const struct model_info *model_info(const struct model *model)
{
    struct model_info *info = &stand_ins[model - stand_ins].info;
    CHECK(model->is_open);
    info->n_vocab = VOCAB;
    info->n_ctx = N_CTX;
    info->n_ctx_train = n_ctx_train;
    info->n_vector = embed_batch > 0 ? 3 : 0;
    info->pooling = embed_batch > 0 ? POOLING_MEAN : POOLING_NONE;
    info->n_batch = embed_batch;
    info->one_pass = embed_one_pass;
    info->n_texts = SEQS;
    info->needs_snapshots = n_slots > 0;
    info->takes_back = true;
    info->drafts = has_block;
    return info;
}

const struct tokenizer *model_tokenizer(const struct model *model)
{
    return (const struct tokenizer *)model;
}

enum status tokenizer_encode(const struct tokenizer *tokenizer, struct bytes text, bool special,
                             int32_t *ids, size_t cap, size_t *n, struct err *err)
{
    (void)tokenizer, (void)special, (void)err;
    CHECK(text.n <= cap);
    CHECK(text.n <= READ_MOST);
    if (text.n == 4 && memcmp(text.p, "slow", 4) == 0) {
        usleep(SLOW_MS * 1000); // as long as this takes, the watchdog sees it
        CHECK(sched_step_ms(sched) >= SLOW_MS - 1);
    }
    if (text.n >= 2000) // plays a long text
        usleep(TEXT_MS * 1000);
    for (size_t i = 0; i < text.n; i++)
        ids[i] = text.p[i] - 'a';
    *n = text.n;
    return OK;
}

uint64_t conversation_bytes(const struct conversation *conversation)
{
    return conversation->messages->list.n;
}

const struct template *model_template(const struct model *model)
{
    return (const struct template *)model;
}

static struct err chat_fault; // of the template; status OK: none

const struct err *template_fault(const struct template *template)
{
    (void)template;
    return chat_fault.status != OK ? &chat_fault : NULL;
}

enum status template_render(struct jinja_text *out, const struct template *template,
                            const struct conversation *conversation, struct err *err)
{
    (void)template, (void)conversation;
    *out = (struct jinja_text){NULL, NULL, 0};
    return err_set(err, BROKEN, "no prompt is asked for here");
}

enum status template_encode(const struct template *template, const struct tokenizer *tokenizer,
                            const struct conversation *conversation, int32_t **out, size_t *n,
                            struct err *err)
{
    const size_t cap = N_CTX + 64;
    int32_t *ids = mem_array(cap, sizeof(*ids));
    size_t total = 0;
    (void)template;
    for (size_t i = 0; i < conversation->messages->list.n; i++) {
        const struct value *message = &conversation->messages->list.items[i];
        size_t one;
        if (tokenizer_encode(tokenizer, value_get(message, "content")->text, false, ids + total,
                             cap - total, &one, err) != OK) {
            free(ids);
            return BAD_INPUT;
        }
        total += one;
    }
    *out = ids;
    *n = total;
    return OK;
}

int32_t tokenizer_n_vocab(const struct tokenizer *tokenizer)
{
    (void)tokenizer;
    return VOCAB;
}

struct bytes tokenizer_decode(const struct tokenizer *tokenizer, int32_t id)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
    (void)tokenizer;
    return (struct bytes){(const uint8_t *)letters + id, 1};
}

int32_t tokenizer_find_special(const struct tokenizer *tokenizer, const char *text)
{
    (void)tokenizer, (void)text;
    return -1;
}

struct bytes tokenizer_mark(const struct tokenizer *tokenizer, int32_t id)
{
    return tokenizer_decode(tokenizer, id);
}

// The stand-in's vocabulary has no texts to be forced.
enum status tokenizer_append(const struct tokenizer *tokenizer, struct bytes text, bool special,
                             int32_t *ids, size_t cap, size_t *n, struct err *err)
{
    return tokenizer_encode(tokenizer, text, special, ids + *n, cap - *n, n, err);
}

struct bytes model_chat_template(const struct model *model)
{
    (void)model;
    return bytes_of(chat_template);
}

bool tokenizer_add_bos(const struct tokenizer *tokenizer)
{
    (void)tokenizer;
    return false;
}

int32_t tokenizer_bos(const struct tokenizer *tokenizer)
{
    (void)tokenizer;
    return -1;
}

size_t tokenizer_longest(const struct tokenizer *tokenizer)
{
    (void)tokenizer;
    return LONGEST;
}

bool tokenizer_is_end(const struct tokenizer *tokenizer, int32_t id)
{
    (void)tokenizer;
    return id == VOCAB - 1;
}

bool tokenizer_is_text(const struct tokenizer *tokenizer, int32_t id)
{
    return !tokenizer_is_end(tokenizer, id);
}

bool model_keeps_logits(const struct model *model, int32_t n_wanted)
{
    (void)model;
    (void)n_wanted;
    return false;
}

enum status model_read_logits(struct model *model, int32_t wanted, float *out, struct err *err)
{
    (void)model;
    (void)out;
    (void)err;
    die("row %d is read: nothing obeys a grammar here", (int)wanted);
}

static inline uint32_t hash_more(uint32_t hash, int32_t token)
{
    return (hash ^ (uint32_t)token) * 16777619u;
}
enum { HASH_OF_NOTHING = 0x1234567 };

static inline int32_t token_of(uint32_t hash)
{
    hash ^= hash >> 15;
    return (int32_t)(hash % 40 == 0 ? VOCAB - 1 : hash % (VOCAB - 1));
}

// back: the token `repeats` before the one that is said now; < 0: there is none.
static inline int32_t token_after(uint32_t hash, int32_t back)
{
    return back >= 0 && (hash >> 7) % 12 != 0 ? back : token_of(hash);
}

// The token that follows token[0 .. n): a hash of all of them.
static inline int32_t next_of(const int32_t *token, int32_t n)
{
    uint32_t hash = HASH_OF_NOTHING;
    for (int32_t i = 0; i < n; i++)
        hash = hash_more(hash, token[i]);
    return token_after(hash, repeats > 0 && n >= repeats ? token[n - repeats] : -1);
}

// One row, whose sequence has room for it; its state goes to slot `to`, if any. Returns the token
// that follows.
static int32_t compute_row(struct model *model, int32_t seq, int32_t token, uint32_t *state,
                           int32_t to)
{
    struct past *its = model->past;
    int32_t *rows = model->rows;
    const int32_t n = past_held(its, seq);
    uint32_t hash = HASH_OF_NOTHING;
    rows[past_row(its, 0, seq, n)] = token;
    for (int32_t pos = 0; pos <= n; pos++)
        hash = hash_more(hash, rows[past_row(its, 0, seq, pos)]);
    if (n_slots > 0) {
        *state = hash_more(*state, token);
        CHECK(*state == hash); // the state is that of these very tokens
        if (to >= 0)
            model->states[to] = *state;
    }
    past_append(its, seq, 1);
    return token_after(
        hash, repeats > 0 && n + 1 >= repeats ? rows[past_row(its, 0, seq, n + 1 - repeats)] : -1);
}

static void copy_pages(struct model *model)
{
    struct past_copy copy;
    while (past_take_copy(model->past, &copy))
        for (int32_t r = 0; r < copy.n_rows; r++) {
            const int32_t to = copy.to * PAGE_ROWS + r, from = copy.from * PAGE_ROWS + r;
            model->rows[to] = model->rows[from];
            model->ahead[to] = model->ahead[from];
        }
}

// Room for the run that begins at row i, without taking more, and slots for the states of its rows.
static int32_t run_begins(struct model *model, const struct batch *batch, int32_t i)
{
    struct past *its = model->past;
    const int64_t room = past_room(its);
    int32_t n = 1;
    while (i + n < batch->n_tokens && batch->seq[i + n] == batch->seq[i])
        n++;
    if (past_reserve(its, batch->seq[i], n) != OK || past_room(its) != room)
        die("%d rows of sequence %d came without room made for them", (int)n, (int)batch->seq[i]);
    if (batch->keeps_rows && past_keep_rows(its, batch->seq[i], n) != OK)
        die("%d states of sequence %d came without room", (int)n, (int)batch->seq[i]);
    return n;
}

enum status model_forward(struct model *model, const struct batch *batch, struct logits logits,
                          struct err *err)
{
    int n_wanted = 0, n_decode = 0, n_prefill = 0, n_rows_of[NUMBERS] = {0};
    struct past *its = model->past;
    int32_t begin = 0, n_run = 0;
    uint32_t state = 0;
    int32_t next_slot = -1;
    CHECK(model->is_open);
    n_passes++;
    past_check(its);
    if (n_passes - 1 == fails_at) {
        past_clear(its);
        return err_set(err, fails_with, "the stand-in was told to fail");
    }
    CHECK(batch->n_tokens > 0 && batch->n_tokens <= BATCH_TOKENS);
    copy_pages(model);
    n_computed += batch->n_tokens;
    for (int32_t i = 0; i < batch->n_tokens; i++) {
        int32_t seq = batch->seq[i], pos = batch->pos[i];
        CHECK(seq >= 0 && seq < NUMBERS && pos >= 0 && pos < N_CTX);
        if (pos != past_held(its, seq)) {
            past_clear(its);
            return err_set(err, BAD_INPUT, "position %d of sequence %d: its past is not here", pos,
                           seq);
        }
        if (i == begin + n_run) {
            const int32_t slot = past_slot(its, seq);
            begin = i;
            state = slot >= 0 && past_held(its, seq) > 0 ? model->states[slot] : HASH_OF_NOTHING;
            n_run = run_begins(model, batch, i);
            next_slot = past_next_slot(its, seq);
        }
        const bool ends = i == begin + n_run - 1;
        const int32_t to = n_slots == 0        ? -1
                           : ends              ? next_slot
                           : batch->keeps_rows ? past_row_slot(its, seq, i - begin)
                                               : -1;
        model->hidden_seq[i] = seq;
        model->hidden_pos[i] = pos;
        const int32_t id = compute_row(model, seq, batch->token[i], &state, to);
        n_rows_of[seq]++;
        if (!batch->wanted[i])
            continue;
        if (batch->n_top == 0)
            for (int32_t k = 0; k < VOCAB; k++)
                logits.value[n_wanted * VOCAB + k] = k == id ? 10 : 0;
        for (int32_t k = 0; k < batch->n_top; k++) {
            logits.value[n_wanted * batch->n_top + k] = k == 0 ? 10 : 0;
            logits.token[n_wanted * batch->n_top + k] = k == 0 ? id : (id + k) % VOCAB;
        }
        if (batch->n_top && logits.total) // one of 10, the others 0
            logits.total[n_wanted] = (float)log(exp(10) + VOCAB - 1);
        if (model->rows[past_row(its, 0, seq, 0)] == nan_after)
            logits.value[n_wanted * (batch->n_top ? batch->n_top : VOCAB)] = NAN;
        n_wanted++;
    }
    for (int i = 0; i < NUMBERS; i++) {
        n_decode += n_rows_of[i] == 1;
        n_prefill += n_rows_of[i] > 1 ? n_rows_of[i] : 0;
    }
    if (n_decode + (n_prefill > 0) > n_together)
        n_together = n_decode + (n_prefill > 0);
    if (batch->n_tokens > most_rows)
        most_rows = batch->n_tokens;
    if (n_decode && n_prefill > most_prefill_beside_decode)
        most_prefill_beside_decode = n_prefill;
    model->n_hidden = batch->n_tokens;
    if (pass_us || pass_fixed_us)
        usleep((useconds_t)(pass_us * batch->n_tokens + pass_fixed_us));
    return OK;
}

#include "sched_block.h"

struct bytes model_rank_format(const struct model *model)
{
    (void)model;
    return (struct bytes){NULL, 0};
}

enum status pair_encode(const struct tokenizer *tokenizer, struct bytes format, struct bytes query,
                        struct bytes document, int32_t *ids, size_t cap, size_t *n, struct err *err)
{
    size_t n_query, n_document;
    (void)format;
    if (tokenizer_encode(tokenizer, query, false, ids, cap, &n_query, err) != OK ||
        tokenizer_encode(tokenizer, document, false, ids + n_query, cap - n_query, &n_document,
                         err) != OK)
        return BAD_INPUT;
    *n = n_query + n_document;
    return OK;
}

// A text's vector: how many tokens it has, their sum, and the next that follows all of them.
enum status model_embed(struct model *model, const struct batch *batch, float *out, struct err *err)
{
    static int32_t text[SEQS][N_CTX], text_held[SEQS];
    bool seen[SEQS] = {false};
    (void)model;
    if (n_passes++ == fails_at)
        return err_set(err, fails_with, "the stand-in was told to fail");
    CHECK(batch->n_tokens > 0 && batch->n_tokens <= embed_batch);
    most_rows = batch->n_tokens > most_rows ? batch->n_tokens : most_rows;
    for (int32_t i = 0; i < batch->n_tokens; i++) {
        const int32_t seq = batch->seq[i], pos = batch->pos[i];
        CHECK(seq >= 0 && seq < SEQS && pos >= 0 && pos < N_CTX &&
              (pos == 0 || pos == text_held[seq]));
        if (i == 0 || batch->seq[i - 1] != seq) {
            CHECK(!seen[seq] && (pos == 0 || !embed_one_pass));
            seen[seq] = true;
        }
        text_held[seq] = pos + 1;
        text[seq][pos] = batch->token[i];
        if (!batch->wanted[i]) {
            CHECK(!embed_one_pass || (i + 1 < batch->n_tokens && batch->seq[i + 1] == seq));
            continue;
        }
        float sum = 0;
        for (int32_t k = 0; k <= pos; k++)
            sum += (float)text[seq][k];
        *out++ = (float)pos + 1;
        *out++ = text[seq][0] == nan_after ? NAN : sum;
        *out++ = (float)next_of(text[seq], pos + 1);
    }
    if (pass_us)
        usleep((useconds_t)(pass_us * batch->n_tokens));
    return OK;
}

// ---- asking ---------------------------------------------------------------------------------

struct answer {
    uint64_t id;
    char text[N_CTX + 1];
    size_t n_text;
    bool started, ended;
    int nth; // it was the n-th to end, from 0
    int n_progress;
    uint64_t text_ms, most_gap_ms, ended_ms; // when text last came; the longest wait for more
    struct event last;
};

static inline void begin_sched(const char *path)
{
    struct settings settings;
    settings_default(&settings);
    settings.n_ctx = N_CTX;
    settings.n_parallel = SEQS;
    settings.share_prefixes = share_prefixes;
    settings.keep_prefixes_mb = keep_prefixes_mb;
    snprintf(settings.state, sizeof(settings.state), "%s", state_dir);
    settings.speculation = speculation;
    snprintf(settings.draft, sizeof(settings.draft), "%s", draft);
    sched_open(&sched, &settings, path, NULL);
}

static inline void open_sched(void)
{
    begin_sched("stand-in.gguf");
    while (sched_status(sched)->state == SCHED_LOADING) {
        struct pollfd poll_fd = {.fd = sched_event_fd(sched), .events = POLLIN};
        (void)poll(&poll_fd, 1, 1000);
        event_close(sched_take_event(sched));
    }
    CHECK(sched_status(sched)->state == SCHED_READY && sched_status(sched)->layers.looked);
    CHECK(sched_step_ms(sched) == 0);
    CHECK_TEXT(sched_status(sched)->device.device, "stand-in");
}

// model: "" the one of the start, "x" of that name, "x.gguf" of that file.
static inline struct job *job_for(struct answer *answer, const char *model)
{
    static uint64_t last_id;
    struct job *job = job_open();
    *answer = (struct answer){.id = ++last_id};
    job->id = answer->id;
    job->ask.owner = owner;
    job->ask.model = bytes_copy(&job->arena, bytes_of(model));
    if (strchr(model, '.')) {
        job->ask.model_path = job->ask.model;
        job->ask.model.n = strcspn(model, ".");
    }
    return job;
}

static inline enum status submit_to(struct answer *answer, const char *model, const char *prompt,
                                    int32_t max_tokens, const char *stop)
{
    struct job *job = job_for(answer, model);
    job->ask.prompt = bytes_copy(&job->arena, bytes_of(prompt));
    job->ask.sampling.temperature = 0;
    job->ask.max_tokens = max_tokens;
    if (stop) {
        struct bytes *stops = arena_take(&job->arena, sizeof(*stops));
        *stops = bytes_copy(&job->arena, bytes_of(stop));
        job->ask.stops = stops;
        job->ask.n_stops = 1;
    }
    enum status status = sched_submit(sched, job);
    if (status != OK)
        job_close(job);
    return status;
}

static inline enum status submit(struct answer *answer, const char *prompt, int32_t max_tokens,
                                 const char *stop)
{
    return submit_to(answer, "", prompt, max_tokens, stop);
}

static inline void take(struct answer *answers, size_t n, const struct event *event)
{
    for (size_t i = 0; i < n; i++) {
        struct answer *answer = &answers[i];
        if (answer->id != event->job_id)
            continue;
        CHECK(!answer->ended); // exactly one end
        if (event->kind == EVENT_STARTED)
            answer->started = true;
        if (event->kind == EVENT_PROGRESS)
            answer->n_progress++;
        if (event->kind == EVENT_TEXT && answer->n_text + event->n_text < sizeof(answer->text)) {
            CHECK(answer->started);
            uint64_t now_ms = clock_ms();
            if (answer->text_ms && now_ms - answer->text_ms > answer->most_gap_ms)
                answer->most_gap_ms = now_ms - answer->text_ms;
            answer->text_ms = now_ms;
            memcpy(answer->text + answer->n_text, event->text, event->n_text);
            answer->n_text += event->n_text;
        }
        if (event->kind == EVENT_DONE || event->kind == EVENT_FAILED) {
            answer->ended = true;
            answer->nth = n_answered++;
            answer->ended_ms = clock_ms();
            answer->last = *event;
        }
    }
}

static inline bool all_ended(const struct answer *answers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!answers[i].ended)
            return false;
    return true;
}

static inline void take_all(struct answer *answers, size_t n)
{
    struct event *event;
    while ((event = sched_take_event(sched)) != NULL) {
        take(answers, n, event);
        event_close(event);
    }
}

// Until the answer has said n letters, or has ended.
static inline void wait_for_text(struct answer *answers, size_t n_answers, size_t i, size_t n)
{
    uint64_t until_ms = clock_ms() + 20000;
    while (answers[i].n_text < n && !answers[i].ended && clock_ms() < until_ms) {
        struct pollfd poll_fd = {.fd = sched_event_fd(sched), .events = POLLIN};
        (void)poll(&poll_fd, 1, 100);
        take_all(answers, n_answers);
    }
}

static inline void wait_for(struct answer *answers, size_t n)
{
    uint64_t until_ms = clock_ms() + 20000;
    while (!all_ended(answers, n) && clock_ms() < until_ms) {
        struct pollfd poll_fd = {.fd = sched_event_fd(sched), .events = POLLIN};
        (void)poll(&poll_fd, 1, 100);
        take_all(answers, n);
    }
    CHECK(all_ended(answers, n));
}

// What the stand-in must say, worked out without batches. Returns true when it ends by itself.
static inline bool expected(const char *prompt, int32_t max_tokens, char out[N_CTX + 1])
{
    int32_t token[N_CTX + 1], n = 0, n_out = 0;
    for (; prompt[n]; n++)
        token[n] = prompt[n] - 'a';
    for (;;) {
        int32_t id = next_of(token, n);
        bool end = id == VOCAB - 1;
        if (!end)
            out[n_out++] = (char)('a' + id);
        out[n_out] = 0;
        if (end || (max_tokens && n_out == max_tokens) || n + 1 == N_CTX)
            return end;
        token[n++] = id;
    }
}

static inline void check_answer(const struct answer *answer, const char *prompt, int32_t max_tokens)
{
    char want[N_CTX + 1];
    bool ends = expected(prompt, max_tokens, want);
    CHECK(answer->last.kind == EVENT_DONE);
    CHECK_TEXT(answer->text, want);
    CHECK(answer->last.finish == (ends ? FINISH_STOP : FINISH_LENGTH));
    CHECK(answer->last.context_full == (!ends && (int32_t)strlen(want) != max_tokens));
    CHECK(answer->last.usage.n_prompt == (int32_t)strlen(prompt));
    CHECK(answer->last.usage.n_generated == (int32_t)strlen(want));
}

static inline void fill(char *text, size_t n, unsigned seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1103515245u + 12345u;
        text[i] = (char)('a' + (seed >> 16) % 25);
    }
    text[n] = 0;
}
