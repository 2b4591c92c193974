// peerlogits.c - raw logits of every position of a list of tokens, from llama.cpp's
// library (libllama).
//
//   peerlogits MODEL.gguf OUT.f32 f16|f32|vector ID,ID,...
//
// OUT.f32: one row of n_vocab float32 a token; with `vector` the text's one vector, or its scores,
// pooled as the file says, not normalised. Else the third word is the storage of its KV cache: f16
// is its default, f32 with an F32 model gives the exact reference. CPU only, without flash
// attention and weight repacking: deterministic. A test tool: built and run by tests/golden/peer
// only, never part of the product.
#include <ggml-backend.h>
#include <llama.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TOKENS = 8192 };

static void only_warnings(enum ggml_log_level level, const char *text, void *user)
{
    (void)user;
    if (level >= GGML_LOG_LEVEL_WARN && level != GGML_LOG_LEVEL_CONT)
        fputs(text, stderr);
}

static int read_ids(const char *text, llama_token *ids)
{
    int n = 0;
    for (char *end; *text && n < MAX_TOKENS; text = *end ? end + 1 : end)
        ids[n++] = (llama_token)strtol(text, &end, 10);
    return n;
}

static struct llama_context *open_context(struct llama_model *model, int n, int f32, int embeds)
{
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = n < 256 ? 256 : (uint32_t)n;
    params.n_batch = params.n_ubatch = params.n_ctx;
    params.embeddings = embeds;
    params.n_threads = params.n_threads_batch = 2;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    if (f32)
        params.type_k = params.type_v = GGML_TYPE_F32;
    return llama_init_from_model(model, params);
}

static size_t write_vector(struct llama_context *context, const struct llama_model *model,
                           FILE *out)
{
    const int scores = llama_pooling_type(context) == LLAMA_POOLING_TYPE_RANK;
    const size_t n = scores ? llama_model_n_cls_out(model) : (size_t)llama_model_n_embd(model);
    const float *vector = llama_get_embeddings_seq(context, 0);
    return vector && fwrite(vector, sizeof(float), n, out) == n;
}

int main(int argc, char **argv)
{
    static llama_token ids[MAX_TOKENS];
    if (argc != 5) {
        fprintf(stderr, "usage: peerlogits MODEL.gguf OUT.f32 f16|f32|vector ID,ID,...\n");
        return 2;
    }
    const int embeds = strcmp(argv[3], "vector") == 0;
    llama_log_set(only_warnings, NULL);
    ggml_backend_load_all();
    llama_backend_init();
    int n = read_ids(argv[4], ids);
    ggml_backend_dev_t no_device[1] = {NULL};
    struct llama_model_params params = llama_model_default_params();
    params.n_gpu_layers = 0;
    params.devices = no_device;
    struct llama_model *model = llama_model_load_from_file(argv[1], params);
    struct llama_context *context =
        model ? open_context(model, n, strcmp(argv[3], "f16") != 0, embeds) : NULL;
    FILE *out = fopen(argv[2], "wb");
    if (!context || !out)
        return 1;
    size_t n_vocab = (size_t)llama_vocab_n_tokens(llama_model_get_vocab(model));
    struct llama_batch batch = llama_batch_init(n, 0, 1);
    batch.n_tokens = n;
    for (int i = 0; i < n; i++) {
        batch.token[i] = ids[i];
        batch.pos[i] = i;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = 1;
    }
    if (llama_decode(context, batch) != 0)
        return 1;
    if (embeds)
        return write_vector(context, model, out) && fclose(out) == 0 ? 0 : 1;
    for (int i = 0; i < n; i++)
        if (fwrite(llama_get_logits_ith(context, i), sizeof(float), n_vocab, out) != n_vocab)
            return 1;
    return fclose(out) == 0 ? 0 : 1;
}
