// ollama_models.c - which models there are, as Ollama's clients ask it: GET /api/version,
// /api/tags, /api/ps, POST /api/show, and the line that those look for who probe at /.
//
// A model is listed as NAME:latest, which is how clients send it back. Where a file says for how
// many tokens a model was trained (ARCH.context_length), the context that is loaded is told:
// clients fit their prompts to it. A digest is Ollama's name for one state of a model; here it is
// the SHA-256 of what the list tells of it, not that of the file.
#include "ollama.h"

#include <stdio.h>
#include <string.h>

enum { LIST_BYTES_MOST = 4 << 20 };
enum { SHOW_BYTES_MOST = 22 << 20 }; // all of a large vocabulary and its merges

// ---- / --------------------------------------------------------------------------------------

static bool holds(struct bytes text, const char *word)
{
    return text.n > 0 && memmem(text.p, text.n, word, strlen(word));
}

// Browsers say that they take text/html. Ollama's own clients are known by their names; the HTTP
// libraries of others say */* or name JSON, as do curl and wget, behind which sits a person.
bool ollama_is_looked_for(const struct request *request)
{
    const struct bytes agent = request_header(request, "user-agent");
    if (bytes_begins_with(agent, "ollama"))
        return true;
    return request->accept.n > 0 && !holds(request->accept, "text/html") &&
           !bytes_begins_with(agent, "curl/") && !bytes_begins_with(agent, "Wget/");
}

void ollama_is_here(struct exchange *exchange)
{
    exchange_reply(exchange, 200, "text/plain; charset=utf-8", bytes_of("Ollama is running"));
}

void ollama_version_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    (void)request;
    struct json json;
    char server[80];
    snprintf(server, sizeof(server), "tawny %s", api->version);
    json_init(&json, 1024);
    json_object(&json, NULL);
    json_string(&json, "version", OLLAMA_VERSION);
    json_string(&json, "server", server);
    json_end(&json);
    json_reply(exchange, 200, &json);
}

// ---- one model ------------------------------------------------------------------------------

struct known {        // what is known of a model
    const char *name; // as it is listed: its own, or an alias
    const struct store_model *file;
    const struct model_info *info; // NULL: it is not loaded
    char arch[32], quantisation[32], capability[16];
    int64_t n_params;
    int32_t n_ctx, n_embd;
};

static struct known known_of(const struct api *api, const struct store_model *file)
{
    const struct sched_model *loaded = model_loaded(api, bytes_of(file->path));
    const struct store_about *about = &file->about;
    struct known known = {.name = file->name,
                          .file = file,
                          .info = loaded && loaded->state == SCHED_READY ? &loaded->info : NULL,
                          .n_params = about->n_params,
                          .n_ctx = about->n_ctx_train,
                          .n_embd = about->n_embd};
    snprintf(known.arch, sizeof(known.arch), "%s", about->arch);
    snprintf(known.quantisation, sizeof(known.quantisation), "%s", about->quantisation);
    snprintf(known.capability, sizeof(known.capability), "%s", about->capability);
    if (known.info)
        known.n_ctx = known.info->n_ctx;
    return known;
}

// As a person reads it: "4.7M", "7.6B".
static const char *size_text(char out[16], int64_t n_params)
{
    static const struct {
        double from;
        const char *unit;
    } units[] = {{1e12, "T"}, {1e9, "B"}, {1e6, "M"}, {1e3, "K"}};
    const double n = (double)n_params;
    for (size_t i = 0; i < COUNT_OF(units); i++)
        if (n >= units[i].from) {
            const double value = n / units[i].from;
            snprintf(out, 16, "%.*f%s", value < 100 ? 1 : 0, value, units[i].unit);
            return out;
        }
    snprintf(out, 16, "%.0f", n);
    return out;
}

static void digest_write(struct json *json, const struct store_model *file)
{
    char told[STORE_NAME_BYTES + 64], digest[2 * SHA256_BYTES + 1];
    uint8_t sum[SHA256_BYTES];
    snprintf(told, sizeof(told), "%s\n%llu\n%lld", file->name, (unsigned long long)file->file_bytes,
             (long long)file->modified_s);
    sha256_of(bytes_of(told), sum);
    hex_write(digest, sum, sizeof(sum));
    json_string(json, "digest", file->sha256[0] ? file->sha256 : digest);
}

static void details_write(struct json *json, const struct known *known)
{
    char size[16];
    json_object(json, "details");
    json_text(json, "parent_model", bytes_of(""));
    json_string(json, "format", "gguf");
    json_text(json, "family", bytes_of(known->arch));
    json_array(json, "families");
    json_text(json, NULL, bytes_of(known->arch));
    json_end(json);
    json_string(json, "parameter_size", size_text(size, known->n_params));
    json_text(json, "quantization_level", bytes_of(known->quantisation));
    json_whole(json, "context_length", known->n_ctx);
    json_whole(json, "embedding_length", known->n_embd);
    json_end(json);
}

// The template and the vocabulary say the rest (model_info), once the model is loaded.
static void capabilities_write(struct json *json, const struct known *known)
{
    json_array(json, "capabilities");
    if (known->capability[0])
        json_string(json, NULL, known->capability);
    if (known->info && known->info->calls)
        json_string(json, NULL, "tools");
    if (known->info && known->info->thinks)
        json_string(json, NULL, "thinking");
    if (known->info && known->info->fills)
        json_string(json, NULL, "insert");
    json_end(json);
}

// The members that lists have in common; the object stays open.
static void name_write(struct json *json, const struct known *known)
{
    char name[STORE_NAME_BYTES + 8];
    snprintf(name, sizeof(name), "%s:latest", known->name);
    json_object(json, NULL);
    json_string(json, "name", name);
    json_string(json, "model", name);
    digest_write(json, known->file);
    details_write(json, known);
}

static void time_write(struct json *json, const char *name, int64_t unix_s)
{
    char time[OLLAMA_TIME];
    json_string(json, name, ollama_time(time, unix_s * 1000000000));
}

// ---- lists ----------------------------------------------------------------------------------

static void tag_write(struct json *json, const struct known *known)
{
    if (known->file->fault.status != OK)
        return;
    name_write(json, known);
    time_write(json, "modified_at", known->file->modified_s);
    json_whole(json, "size",
               (int64_t)(known->info ? known->info->file_bytes : known->file->file_bytes));
    capabilities_write(json, known);
    json_end(json);
}

// Aliases too: they are what a copy becomes of a model whose folder is only read. "*" is no name.
void ollama_tags_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    (void)request;
    const struct store *store = api->options.store;
    struct known known;
    struct json json;
    json_init(&json, LIST_BYTES_MOST);
    json_object(&json, NULL);
    json_array(&json, "models");
    for (size_t i = 0; i < store_n_models(store); i++) {
        known = known_of(api, store_model(store, i));
        tag_write(&json, &known);
    }
    for (size_t i = 0; i < store_n_aliases(store); i++) {
        const struct store_alias *alias = store_alias(store, i);
        const struct store_model *file = store_find_file(store, bytes_of(alias->model));
        if (!file || strcmp(alias->name, "*") == 0 || store_find_file(store, bytes_of(alias->name)))
            continue;
        known = known_of(api, file);
        known.name = alias->name;
        tag_write(&json, &known);
    }
    json_end(&json);
    json_end(&json);
    json_reply(exchange, 200, &json);
}

// What each takes of memory, and how much of that is a GPU's: all or nothing, there is no split.
void ollama_ps_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    (void)request;
    const struct sched_status *now = sched_status(api->options.sched);
    const struct store *store = api->options.store;
    const bool on_gpu =
        strcmp(now->device.backend, "cpu") != 0 && strcmp(now->device.kind, "software") != 0;
    struct json json;
    json_init(&json, LIST_BYTES_MOST);
    json_object(&json, NULL);
    json_array(&json, "models");
    for (size_t i = 0; i < store_n_models(store); i++) {
        const struct known known = known_of(api, store_model(store, i));
        const struct sched_model *loaded = model_loaded(api, bytes_of(known.file->path));
        if (!known.info)
            continue;
        name_write(&json, &known);
        json_whole(&json, "size", (int64_t)loaded->memory_bytes);
        json_whole(&json, "size_vram", on_gpu ? (int64_t)loaded->memory_bytes : 0);
        if (loaded->expires_s > 0)
            time_write(&json, "expires_at", loaded->expires_s);
        else // it stays: as Ollama says it
            json_string(&json, "expires_at", "2318-01-01T00:00:00Z");
        json_whole(&json, "context_length", known.n_ctx);
        json_end(&json);
    }
    json_end(&json);
    json_end(&json);
    json_reply(exchange, 200, &json);
}

// ---- /api/show ------------------------------------------------------------------------------

static void card_write(struct json *json, const struct model_card *card, const struct known *known,
                       bool verbose)
{
    char text[STORE_NAME_BYTES + 64];
    const struct bytes license = model_card_text(card, "general.license");
    if (license.n > 0)
        json_text(json, "license", license);
    snprintf(text, sizeof(text), "FROM %s\nPARAMETER num_ctx %d\n", known->file->name,
             (int)known->n_ctx);
    json_string(json, "modelfile", text);
    snprintf(text, sizeof(text), "%-30s %d", "num_ctx", (int)known->n_ctx);
    json_string(json, "parameters", text);
    json_text(json, "template", model_card_text(card, "tokenizer.chat_template"));
    json_object(json, "model_info");
    model_card_keys(card, json, known->n_ctx, verbose);
    json_whole(json, "general.parameter_count", known->n_params);
    json_whole(json, "tawny.context_length_trained", known->file->about.n_ctx_train);
    json_end(json);
    if (!verbose)
        return;
    json_array(json, "tensors");
    model_card_tensors(card, json);
    json_end(json);
}

static bool show(struct api *api, struct exchange *exchange, const struct store_model *file,
                 bool verbose, struct refusal *refusal)
{
    const struct known known = known_of(api, file);
    struct model_card *card;
    struct json json;
    struct err err;
    if (model_card_open(&card, file->path, &err) != OK)
        return refuse_err(refusal, &err, "model");
    json_init(&json, SHOW_BYTES_MOST);
    json_object(&json, NULL);
    details_write(&json, &known);
    card_write(&json, card, &known, verbose);
    capabilities_write(&json, &known);
    time_write(&json, "modified_at", file->modified_s);
    json_end(&json);
    json_reply(exchange, 200, &json);
    model_card_close(card);
    return true;
}

void ollama_show_post(struct api *api, struct exchange *exchange, const struct request *request)
{
    const struct store_model *file;
    struct refusal refusal;
    struct ollama_named named;
    if (!ollama_named_open(&named, request->body, "model", &refusal) ||
        !model_find(api, named.name, &file, &refusal) ||
        !show(api, exchange, file, named.verbose, &refusal))
        ollama_refuse(exchange, &refusal);
    ollama_named_close(&named);
}
