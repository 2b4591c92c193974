// chores.h - requests about a model that wait for the engine or for the store: it is loaded, given
// up, deleted, or named. Each dialect says how its own are answered.
#pragma once

#include "inside.h"

enum chore_kind { CHORE_LOAD, CHORE_UNLOAD, CHORE_DELETE, CHORE_STORE };

struct chore;
struct chore_teller { // static
    enum error_shape errors;
    void (*done)(struct api *api, const struct chore *chore); // answers chore->exchange
};

extern const struct chore_teller
    model_teller; // models.c: with the model, as OpenAI's dialect has it

struct chore {
    struct chore *next;
    uint64_t id; // of its job, then of its task
    enum chore_kind kind;
    bool deletes; // its task of the store takes the model away, and its defaults go with it
    struct exchange *exchange;   // NULL: the client is gone
    char name[STORE_NAME_BYTES]; // of the model it is about
    char *said;                  // the name as the client sent it: ours
    const struct chore_teller *teller;
};

// Each answers the exchange, now or when it is done; what it is given is copied.
// LOAD and UNLOAD: the model, n_ctx and keep_s of the ask, for its owner.
void chore_job(struct api *api, struct exchange *exchange, enum chore_kind kind,
               const struct ask *ask, const struct chore_teller *teller, struct bytes said);
// When the engine has let the model go: one in use is not deleted.
void chore_delete(struct api *api, struct exchange *exchange, uint64_t who,
                  const struct store_model *model, const struct chore_teller *teller);
// Its name is the copy's; where the model's folder is only read, an alias is made: then its name is
// the model's, and `said` the alias.
void chore_copy(struct api *api, struct exchange *exchange, const struct store_model *model,
                struct bytes to, const struct chore_teller *teller);
// model.n == 0: the alias is taken away. `said` is the alias.
void chore_name(struct api *api, struct exchange *exchange, struct bytes alias, struct bytes model,
                const struct chore_teller *teller);
// Gives a file that arrived whole its name; `said` is the name of the model.
void chore_incoming(struct api *api, struct exchange *exchange, struct incoming *incoming,
                    struct bytes name, struct bytes said, const struct chore_teller *teller);
