// model.h - floor 4: a GGUF file becomes token ids in, logits out: reader, weights, forward pass,
// sampler. Its vocabulary becomes a tokenizer of floor 2.
//
// Tensors have names only here. The file is mapped and trusted in nothing. All calls come from the
// engine thread.
#pragma once

#include "../base/base.h"
#include "../compute/compute.h"
#include "../text/text.h"

// ---- model (gguf*.c, weights.c, forward.c) ------------------------------------------------------

struct model;

// How one vector is made of the last states of a text's tokens: values of the key pooling_type.
enum pooling {
    POOLING_NONE,  // not said: the model writes text
    POOLING_MEAN,  // their mean
    POOLING_FIRST, // the first one's ([CLS])
    POOLING_LAST,  // the last one's
    POOLING_RANK,  // a classification head makes scores of one: a reranker
};

struct model_options {
    int32_t n_ctx;         // tokens a sequence may hold; 0 = the model's own limit; or CTX_AUTO
    int32_t n_seq;         // sequences that are computed at once
    int32_t n_batch;       // most tokens in one forward pass
    bool kv_q8_0;          // keys and values in 8 bits (Q8_0) instead of F16
    int32_t n_held;        // further sequences, for what is kept of earlier texts
    uint64_t memory_bytes; // as if the device had so many free; 0: what it has
    bool draft;            // with the block that predicts further tokens, where the file has one
};

// What a model takes and what the device has, counted before anything is taken, and the context
// that follows. Sums that do not fit 64 bits are UINT64_MAX.
//
// Keys and values of all sequences lie in pools: one for the layers that see everything, with room
// for one sequence of n_ctx tokens and a quarter of that for each further one, and one for each
// width of window, which keeps only what the window sees.
enum { PLAN_POOLS_MOST = 4 };
struct model_plan_pool {
    int32_t window;          // tokens; 0: all
    uint64_t token_bytes[2]; // of all its layers, as F16 and as Q8_0; UINT64_MAX: never
    uint64_t rows_most[2];   // that one buffer of the device holds of the widest of them
};
struct model_plan {
    int32_t n_ctx_asked; // as in model_options
    int32_t n_ctx_train, n_ctx, n_seq, n_held, n_batch;
    bool kv_q8_0;
    int32_t n_pools, n_slots; // n_slots: of states of recurrent layers
    int32_t n_pass_pages;     // of a model that embeds: a pass of short texts beside a long one
    bool one_pass;            // nothing is kept behind a pass
    uint64_t weight_bytes;    // as the device stores them
    uint64_t cache_bytes;     // the pools of keys and values
    uint64_t pool_tokens;     // that the largest of them holds
    uint64_t slot_bytes;      // one state of all recurrent layers
    uint64_t pass_bytes;      // activations of a pass
    uint64_t spare_bytes;     // room for what operations, staging and compiled kernels take
    uint64_t token_bytes[2];  // keys and values of one token, as F16 and as Q8_0; UINT64_MAX: never
    struct model_plan_pool pools[PLAN_POOLS_MOST];
    uint64_t free_bytes;   // of the device, now; 0: it does not tell
    uint64_t system_bytes; // of these left to everything else
    bool fits;
    bool is_short;    // auto found less than a conversation usually needs
    char why[200];    // why this context
    char advice[160]; // what would fit, or give more; empty: nothing to say
};

struct model_info {
    char name[128], arch[32], quantisation[32]; // general.name or the file's; "llama"; "Q4_K_M"
    char id[256]; // how clients name it: the file's name without .gguf and without -00001-of-00003
    int64_t n_params;
    uint64_t file_bytes, kv_bytes; // file_bytes: of all its files
    int32_t n_parts,
        n_parts_missing; // files of a split model, those of model_plan that are not there
    int32_t n_layer, n_embd, n_head, n_head_kv, head_dim, n_ff, n_vocab, n_ctx, n_ctx_train;
    int32_t n_layer_on_device;
    uint64_t whole_bytes; // that the file has when all its tensors are there
    uint64_t token_bytes; // of model_describe: that one token reads of the weights, about
    enum pooling pooling;
    int32_t n_vector;     // numbers that a text becomes (POOLING_RANK: scores); 0: it writes text
    int32_t n_batch;      // most tokens in one forward pass
    bool one_pass;        // a text must be one pass: its tokens see what follows them
    int32_t n_texts;      // most that one pass of model_embed may have
    bool needs_snapshots; // what a sequence holds cannot be cut back anywhere
    bool takes_back;      // but it can to any row of the pass that came last (batch.keeps_rows)
    uint64_t draft_bytes; // of the file's blocks that predict further tokens; 0: it has none
    bool drafts;          // one of them is loaded: model_draft
    // Of an opened model, by its chat template: it was taught to think, to call tools.
    bool thinks, calls;
    bool fills; // its vocabulary marks a gap in a text (text/infill.c)
    struct model_plan plan;
};

// The path that means the model inside this binary. A file of that name in the working directory is
// ./builtin.
#define MODEL_BUILTIN "builtin"

// Opens and checks the file (of the parts of a split model any one is given, and all are opened),
// loads the weights, makes the KV cache. On failure the sentence names file, tensor or field.
// NO_ROOM: it does not fit what the device has free, with the numbers and with what would fit; said
// before anything is taken.
MUST_USE enum status model_open(struct model **out, struct compute *compute, const char *path,
                                const struct model_options *options, struct err *err);
// The same in slices, for who must do other things meanwhile: model_begin does all that is quick,
// then model_load_some loads for about budget_ms (a slow disk may overrun it by a few reads) and
// answers AGAIN until the model may be used: OK. It also lets the device compile its kernels, which
// model_open leaves to the first passes.
MUST_USE enum status model_begin(struct model **out, struct compute *compute, const char *path,
                                 const struct model_options *options, struct err *err);
MUST_USE enum status model_load_some(struct model *model, uint32_t budget_ms, struct err *err);
// The same from the file's head alone, whose tensors need not be there: what it would take and
// whether it fits (out->plan.fits). Nothing is taken. Of a split model the first part is enough:
// tensors of parts that are not there are counted as stored like those of the parts that are.
MUST_USE enum status model_plan(struct model_info *out, struct compute *compute, const char *path,
                                const struct model_options *options, struct err *err);
// What the head says, without a device: names, sizes, numbers of layers, n_ctx_train, pooling. May
// be called from any thread. On failure (it cannot be used, or is not whole) what was found out
// before stands in *out.
MUST_USE enum status model_describe(struct model_info *out, const char *path, struct err *err);
// The largest context that fits with these keys and values and so many sequences; 0: none.
int32_t model_plan_largest(const struct model_plan *plan, bool kv_q8_0, int32_t n_seq);
uint64_t model_plan_bytes(const struct model_plan *plan);  // all that it takes
uint64_t model_plan_states(const struct model_plan *plan); // bytes of all states
// n_bytes as a person reads them: "4.6 GiB", "512 MiB".
enum { SIZE_TEXT = 32 };
const char *model_size_text(char out[SIZE_TEXT], uint64_t n_bytes);
// A model that is not here, as it is published (shape.c). Numbers: those of the keys and values of
// one token, in all layers that see everything, and in those that see a window.
struct model_shape {
    uint64_t weight_bytes;
    uint64_t state_bytes; // of all recurrent layers, for one sequence
    int32_t n_ctx_train;
    uint32_t numbers, window_numbers;
    int32_t window; // tokens; 0: no layer has one
};
// What it would take and get; memory_bytes 0: nobody knows what is free, and it fits.
void model_shape_plan(struct model_plan *out, const struct model_shape *shape,
                      const struct model_options *options);
struct model_progress {
    uint64_t done_bytes, total_bytes; // of the weights
    bool compiling;                   // they are there; kernels are being compiled
};
void model_progress(const struct model *model, struct model_progress *out);
void model_close(struct model *model); // NULL: nothing
const struct model_info *model_info(const struct model *model);
const struct tokenizer *model_tokenizer(const struct model *model);
const struct template *model_template(const struct model *model);
// The file's key tokenizer.chat_template, or the one it keeps for tools; n == 0: it has none.
struct bytes model_chat_template(const struct model *model);

// One forward pass over rows that may belong to different sequences. Rows of one sequence come in
// rising position; the KV of positions before them must have been computed by earlier passes (or
// this one): else BAD_INPUT. An earlier position cuts the sequence back to it. After a failure
// every sequence is empty. IO_ERROR: its file can no longer be read, and the model is of no use
// (also of model_load_some, model_draft, model_embed).
struct batch {
    int32_t n_tokens;
    const int32_t *token;  // [n_tokens]
    const int32_t *pos;    // [n_tokens], 0 .. n_ctx - 1
    const int32_t *seq;    // [n_tokens], 0 .. n_seq - 1
    const uint8_t *wanted; // [n_tokens]: 1 = its logits are wanted
    int32_t n_top;         // 0 = all logits of a wanted row; else the n_top <= TOP_K_MOST largest
    // What recurrent layers hold after each row is kept, of sequences with FEW_ROWS rows at most,
    // until more is reserved for them: model_cut goes back to any of these rows. There must be
    // model_states_free for all rows but each sequence's last.
    bool keeps_rows;
};
struct logits {     // of the wanted rows, in row order; the caller's memory
    float *value;   // [number wanted][n_vocab]; with n_top [number wanted][n_top], falling
    int32_t *token; // [number wanted][n_top]: whose they are; unused without n_top
    float *total;   // [number wanted]: with n_top log(sum of e^logit) over all of them; or NULL
};
MUST_USE enum status model_forward(struct model *model, const struct batch *batch,
                                   struct logits logits, struct err *err);

// ---- drafts (draft.c) ----
// A block behind the trunk predicts one token further (multi-token prediction, DeepSeek-AI 2024):
// at position p it reads the token there and h, the state behind the output norm of position p - 1,
// and gives the logits of the token at p + 1. At position 0 h is zeros. Of a model with
// model_info.drafts every pass keeps the states of its rows on the device until the next one, when
// its batch has n_batch rows at most; a drafted row's are those behind the block's norm, so that
// what was drafted can be drafted on from.
//
// batch: as in model_forward, but n_batch rows at most, and those of a sequence are neighbours in
// position. from[t]: the row of the batch before, of model_forward or model_draft, whose state is
// h; -1: it is row t of hidden, [n_tokens][n_embd], or zeros where that is NULL (what is predicted
// from there on is a little worse). Written are the keys and values of that block alone: what a
// sequence holds stays the same, and rows may lie behind it, up to where there is room. A row reads
// those of its sequence's positions before it: they were
// drafted before or are in this batch, else BAD_INPUT; with which tokens the caller knows, who
// drafts again from the first that was another. Positions that forks have in common are drafted
// before the fork, or not at all: BAD_INPUT. UNSUPPORTED: the model was opened without. After a
// failure every sequence is empty.
MUST_USE enum status model_draft(struct model *model, const struct batch *batch,
                                 const int32_t *from, const float *hidden, struct logits logits,
                                 struct err *err);
// Positions from 0 on that are drafted; a restored sequence has none, a fork as many as its origin.
int32_t model_drafted(const struct model *model, int32_t seq);

// The same as model_forward over rows of texts that become vectors, for a model whose file names a
// pooling. wanted: the last row of its text; rows of a sequence are neighbours. out: [number
// wanted][n_vector], in row order, as the pooling makes them: not of length 1; scores as they are.
// With one_pass a batch holds whole texts, n_batch rows at most: else TOO_LARGE. n_top is not
// looked at. UNSUPPORTED: the model writes text.
MUST_USE enum status model_embed(struct model *model, const struct batch *batch, float *out,
                                 struct err *err);
// How a reranker's file wants query and document put together (pair_encode); empty: not said.
struct bytes model_rank_format(const struct model *model);
// To length 1 (Euclidean); of zeros nothing becomes.
void vector_normalise(float *vector, int32_t n);

// All logits of one of the rows that the last pass was asked for with n_top, `wanted` counts them:
// [n_vocab]. Only where model_keeps_logits of so many wanted rows, and before the next pass.
// DEVICE_ERROR: the device is lost.
bool model_keeps_logits(const struct model *model, int32_t n_wanted);
MUST_USE enum status model_read_logits(struct model *model, int32_t wanted, float *out,
                                       struct err *err);

// ---- what sequences hold (past.c, kv.c) ---------------------------------------------------------
// Sequences are numbered 0 .. n_seq + n_held - 1; any n_seq of them may be in one pass. What two of
// them have in common is there once. Before a pass each sequence in it should have room: a pass
// that finds none fails.

int32_t model_held(const struct model *model, int32_t seq); // positions; 0 after a failed pass
// What would stay of it if it were cut back to n: n, but with recurrent layers and behind a window
// the nearest snapshot before, or nothing.
int32_t model_keeps(const struct model *model, int32_t seq, int32_t n);
int32_t model_cut(struct model *model, int32_t seq, int32_t n); // answers the same
// `to`, whatever it held, becomes `from` cut back to n. Returns what it holds then.
int32_t model_fork(struct model *model, int32_t from, int32_t to, int32_t n);
// Room for n more positions. NO_ROOM: other sequences, or snapshots, must give some back first.
MUST_USE enum status model_reserve(struct model *model, int32_t seq, int32_t n);
// States of recurrent layers that there is room for; INT32_MAX: it has no such layers.
int32_t model_states_free(const struct model *model);
// Positions that there is still room for, were all pages one sequence's.
int64_t model_room(const struct model *model);
// Makes it possible to cut the sequence back to where it stands. NO_ROOM: too many are kept.
MUST_USE enum status model_snapshot(struct model *model, int32_t seq);
// Where a sequence can be cut back to beside where it may be anyway, rising; returns how many.
enum { MODEL_SNAPSHOTS_MOST = 32 };
int32_t model_snapshots(const struct model *model, int32_t seq, int32_t out[MODEL_SNAPSHOTS_MOST]);
void model_drop(struct model *model, int32_t seq, int32_t pos); // gives a snapshot back
void model_check(const struct model *model); // walks all counts; dies where one is wrong
// What a sequence holds, as bytes (save.c). One that stands at n positions is so many pieces: its
// pages of PAGE_ROWS positions, then one of what only who stands at n has (the rows that windows
// see from there, the states of recurrent layers), which may have no bytes.
int32_t model_pieces(int32_t n);
size_t model_piece_bytes(struct model *model, int32_t n, int32_t piece);
// out: [model_piece_bytes] of the model_held positions.
MUST_USE enum status model_piece_take(struct model *model, int32_t seq, int32_t piece, uint8_t *out,
                                      struct err *err);
// An empty sequence stands at n: its pieces are still to be put. NO_ROOM as in model_reserve.
MUST_USE enum status model_place(struct model *model, int32_t seq, int32_t n);
// in: a piece taken from a sequence that stood at n, by a model of the same identity. This one
// stands there, or where model_keeps of the other was so many.
MUST_USE enum status model_piece_put(struct model *model, int32_t seq, int32_t n, int32_t piece,
                                     uint8_t *in, struct err *err);
// A hash of all that decides what such bytes mean: the file (its size, when it was written, its
// head, some bytes of each tensor), the types of keys and values, the device's layout. Not 0.
uint64_t model_identity(struct model *model);

// Opens only the tokenizer of a file, with its chat template (no weights are touched).
MUST_USE enum status model_template_open(struct template **out, struct tokenizer **tokenizer,
                                         const char *path, struct err *err);
MUST_USE enum status model_tokenizer_open(struct tokenizer **out, const char *path,
                                          struct err *err);

// ---- what a file says of itself (card.c) --------------------------------------------------------
// From its head alone, on any thread; in each call's JSON an object or array is open.

struct model_card;
MUST_USE enum status model_card_open(struct model_card **out, const char *path, struct err *err);
void model_card_close(struct model_card *card);                               // NULL: nothing
struct bytes model_card_text(const struct model_card *card, const char *key); // n == 0: none there
// Its keys as members, without the chat template. Long lists are empty unless `whole`. n_ctx: what
// stands for the context that it was trained with; 0: that.
void model_card_keys(const struct model_card *card, struct json *json, int32_t n_ctx, bool whole);
void model_card_tensors(const struct model_card *card, struct json *json); // as items

// ---- sampler (sampler.c) ------------------------------------------------------------------------

// The steps that choose among the candidates, in the order they are taken by default. What changes
// logits (bias, penalties, DRY) always comes before them.
enum sampler_step {
    STEP_TOP_N_SIGMA,
    STEP_TOP_K,
    STEP_TYPICAL,
    STEP_TOP_P,
    STEP_MIN_P,
    STEP_XTC,
    STEP_TEMPERATURE,
    SAMPLER_STEPS
};
struct token_bias {
    int32_t id;
    float bias; // added to the logit; -infinity: never
};

struct sampling {
    float temperature;    // 0 = greedy
    int32_t top_k;        // 0 = off
    float top_p;          // 1 = off
    float min_p;          // 0 = off
    float repeat_penalty; // 1 = off; divides or multiplies recent logits (Keskar et al. 2019)
    float presence_penalty, frequency_penalty; // 0 = off; OpenAI's, over generated tokens
    int32_t repeat_last_n; // tokens looked back on by repeat_penalty; < 0: all of the text
    uint64_t seed;
    float typical_p;   // 1 = off (Meister et al. 2022)
    float top_n_sigma; // 0 = off: logits within so many standard deviations of the largest
    // Exclude top choices: with this probability all that reach the threshold but the least of
    // them are left out. 0 = off.
    float xtc_probability, xtc_threshold;
    // The temperature runs from temperature - range to + range with the entropy's share of its
    // most, to the power of the exponent. 0 = off.
    float dynatemp_range, dynatemp_exponent;
    int32_t mirostat; // 0 = off, 1, 2 (Basu et al. 2021): instead of all steps but the temperature
    float mirostat_tau, mirostat_eta; // bits of surprise aimed at; how fast
    // Don't repeat yourself: a token that would prolong a repetition of n tokens loses multiplier *
    // base ^ (n - allowed). Repetitions end at tokens that hold a breaker. 0 = off.
    float dry_multiplier, dry_base;
    int32_t dry_allowed_length, dry_last_n; // dry_last_n < 0: all of the text
    const struct bytes *dry_breakers;       // NULL: new line, colon, quotation mark, asterisk
    size_t n_dry_breakers;
    const struct token_bias *biases;
    size_t n_biases;
    int32_t min_tokens;           // so many are generated before a token that ends the text may be
    bool ignore_eos;              // none ever is
    uint8_t order[SAMPLER_STEPS]; // enum sampler_step
    int32_t n_order;              // 0: the default order; a step that is not there is not taken
};
// temperature 0.8, top_k 40, top_p 0.95, min_p 0.05, all else off
void sampling_default(struct sampling *sampling);

struct sampler; // one a generation: parameters, RNG, recent tokens
// What `sampling` points to must live as long.
void sampler_open(struct sampler **out, const struct sampling *sampling, int32_t n_vocab);
void sampler_close(struct sampler *sampler);
// A token of the text so far; prompt tokens: generated = false.
void sampler_see(struct sampler *sampler, int32_t id, bool generated);
// Which tokens end a text, and what holds a breaker; without it min_tokens, ignore_eos and breakers
// mean nothing. It must live as long.
void sampler_speaks(struct sampler *sampler, const struct tokenizer *tokenizer);
// Picks the next token; logits [n_vocab] are scratch afterwards. BROKEN when a logit is NaN or
// +Inf, or none is finite.
MUST_USE enum status sampler_pick(struct sampler *sampler, float *logits, int32_t *id,
                                  struct err *err);

// Every pick obeys the matcher from now on; NULL: none. It stays the caller's, who tells it what
// was picked.
void sampler_obey(struct sampler *sampler, struct matcher *matcher);
// How many of the largest logits decide the pick; 0: all of them do.
int32_t sampler_wants(const struct sampler *sampler);
// The same pick from only the n >= sampler_wants() largest logits (n >= 1), falling, as op_top_k
// gives them: the same token as sampler_pick from all of them. Where a matcher or min_tokens leaves
// tokens out it is picked from what is left of these, and is AGAIN when that is nothing:
// sampler_pick decides.
MUST_USE enum status sampler_pick_top(struct sampler *sampler, const int32_t *ids,
                                      const float *logits, int32_t n, int32_t *id, struct err *err);
