// plan.c - `tawny plan`: what a model file would take on this device, and with what context it
// fits. Read from the file's head alone, so that it may be asked of a file that is only begun to be
// copied, and before one is bought memory for (--memory).
//
// The same count decides whether `tawny serve` loads a model (model/plan.c).
#include "args.h"
#include "model/model.h"
#include "sched/sched.h"
#include "verb.h"

#include <stdio.h>
#include <stdlib.h>

// ---- as text ------------------------------------------------------------------------------------

static void print_size(const char *what, uint64_t n_bytes, const char *of)
{
    char text[SIZE_TEXT];
    printf("%-16s %10s%s%s\n", what, model_size_text(text, n_bytes), of[0] ? "  " : "", of);
}

static void print_contexts(const struct model_plan *plan)
{
    const int32_t n_seqs[] = {plan->n_seq, 1};
    for (size_t i = 0; i < COUNT_OF(n_seqs) && (i == 0 || plan->n_seq > 1); i++)
        for (int q8_0 = 0; q8_0 < 2; q8_0++)
            if (plan->token_bytes[q8_0] != UINT64_MAX)
                printf("%-16s %10d  parallel = %d, kv-type = %s\n",
                       i || q8_0 ? "" : "largest contexts",
                       (int)model_plan_largest(plan, q8_0, n_seqs[i]), (int)n_seqs[i],
                       q8_0 ? "q8_0" : "f16");
}

static void print_text(const struct model_info *info, const struct compute_info *device)
{
    const struct model_plan *plan = &info->plan;
    char of[128], text[SIZE_TEXT];
    printf("model: %s (%s, %s, %.1f M parameters, trained for %d tokens)\n", info->name, info->arch,
           info->quantisation, (double)info->n_params / 1e6, (int)info->n_ctx_train);
    if (info->whole_bytes > info->file_bytes)
        printf("file: %llu of %llu bytes are there\n", (unsigned long long)info->file_bytes,
               (unsigned long long)info->whole_bytes);
    if (info->n_parts_missing > 0)
        printf("parts: %d of %d are there; what is in the others is counted as stored like what is "
               "in these\n",
               info->n_parts - info->n_parts_missing, info->n_parts);
    if (info->draft_bytes > 0)
        printf("%s: %s of blocks that predict further tokens (MTP)\n",
               info->drafts ? "to guess ahead" : "left out",
               model_size_text(text, info->draft_bytes));
    printf("device: %s\n\n", device->device);
    print_size("weights", plan->weight_bytes, "");
    snprintf(of, sizeof(of), "%llu tokens of all conversations, %s a token",
             (unsigned long long)plan->pool_tokens,
             model_size_text(text, plan->token_bytes[plan->kv_q8_0]));
    print_size("keys and values", plan->cache_bytes, of);
    snprintf(of, sizeof(of), "%d of recurrent layers", (int)plan->n_slots);
    if (plan->n_slots > 0)
        print_size("states", model_plan_states(plan), of);
    print_size("scratch", plan->pass_bytes + plan->spare_bytes, "");
    print_size("together", model_plan_bytes(plan), "");
    snprintf(of, sizeof(of), "%s of them left to the system",
             model_size_text(text, plan->system_bytes));
    print_size("free", plan->free_bytes, of);
    printf("\n%-16s %10d  %s\n", "context", (int)plan->n_ctx, plan->why);
    print_contexts(plan);
    printf("\n%s\n", plan->fits ? "It fits." : "It does not fit.");
    if (plan->advice[0])
        printf("What %s: %s\n", plan->fits ? "gives more" : "fits", plan->advice);
}

// ---- as JSON ------------------------------------------------------------------------------------

static void write_bytes(struct json *json, const char *name, uint64_t n_bytes)
{
    json_whole(json, name, n_bytes < INT64_MAX ? (int64_t)n_bytes : INT64_MAX);
}

static void write_contexts(struct json *json, const struct model_plan *plan)
{
    const int32_t n_seqs[] = {plan->n_seq, 1};
    json_array(json, "largest_contexts");
    for (size_t i = 0; i < COUNT_OF(n_seqs) && (i == 0 || plan->n_seq > 1); i++)
        for (int q8_0 = 0; q8_0 < 2; q8_0++) {
            if (plan->token_bytes[q8_0] == UINT64_MAX)
                continue;
            json_object(json, NULL);
            json_whole(json, "parallel", n_seqs[i]);
            json_string(json, "kv_type", q8_0 ? "q8_0" : "f16");
            json_whole(json, "context", model_plan_largest(plan, q8_0, n_seqs[i]));
            json_end(json);
        }
    json_end(json);
}

static void print_json(const struct model_info *info, const struct compute_info *device)
{
    const struct model_plan *plan = &info->plan;
    struct json json;
    json_init(&json, 16384);
    json_object(&json, NULL);
    json_string(&json, "model", info->id);
    json_string(&json, "name", info->name);
    json_string(&json, "architecture", info->arch);
    json_string(&json, "quantisation", info->quantisation);
    json_whole(&json, "n_params", info->n_params);
    write_bytes(&json, "file_bytes", info->file_bytes);
    write_bytes(&json, "whole_bytes", info->whole_bytes);
    write_bytes(&json, "draft_block_bytes", info->draft_bytes);
    json_whole(&json, "parts", info->n_parts);
    json_whole(&json, "parts_missing", info->n_parts_missing);
    json_string(&json, "device", device->device);
    json_string(&json, "backend", device->backend);
    json_bool(&json, "fits", plan->fits);
    json_whole(&json, "context", plan->n_ctx);
    json_whole(&json, "context_trained", plan->n_ctx_train);
    json_string(&json, "context_why", plan->why);
    write_bytes(&json, "context_of_all", plan->pool_tokens);
    json_whole(&json, "parallel", plan->n_seq);
    json_string(&json, "kv_type", plan->kv_q8_0 ? "q8_0" : "f16");
    json_object(&json, "bytes");
    write_bytes(&json, "weights", plan->weight_bytes);
    write_bytes(&json, "keys_and_values", plan->cache_bytes);
    write_bytes(&json, "states", model_plan_states(plan));
    write_bytes(&json, "one_token", plan->token_bytes[plan->kv_q8_0]);
    write_bytes(&json, "scratch", plan->pass_bytes + plan->spare_bytes);
    write_bytes(&json, "together", model_plan_bytes(plan));
    write_bytes(&json, "free", plan->free_bytes);
    write_bytes(&json, "left_to_the_system", plan->system_bytes);
    json_end(&json);
    write_contexts(&json, plan);
    json_string(&json, "advice", plan->advice);
    json_end(&json);
    struct bytes text = buf_view(&json.text);
    printf("%.*s\n", (int)text.n, (const char *)text.p);
    json_free(&json);
}

// ---- the verb -----------------------------------------------------------------------------------

static enum status run(const struct settings *settings, uint64_t memory_bytes, bool json,
                       bool *fits, struct err *err)
{
    char path[2100];
    struct compute *compute = NULL;
    struct model_info *info = mem_alloc(sizeof(*info));
    const struct compute_options device = {
        .device = settings->device, .n_threads = settings->n_threads, .cache_dir = settings->state};
    struct model_options options = sched_model_options(settings);
    options.memory_bytes = memory_bytes;
    enum status status = args_model_path(settings, path, sizeof(path), err);
    if (status == OK)
        status = compute_open(&compute, &device, err);
    if (status == OK)
        status = model_plan(info, compute, path, &options, err);
    if (status == OK && info->drafts && !info->plan.fits) { // it is loaded without then
        options.draft = false;
        status = model_plan(info, compute, path, &options, err);
    }
    if (status == OK) {
        (json ? print_json : print_text)(info, compute_info(compute));
        *fits = info->plan.fits;
    }
    if (compute)
        compute_close(compute);
    free(info);
    return status;
}

int verb_plan(int argc, char **argv)
{
    struct settings settings;
    struct err err = {0};
    bool json = false, fits = false;
    const char *memory = NULL;
    uint64_t memory_bytes = 0;
    const struct arg args[] = {
        {"json", 0, NULL, &json, NULL, "as JSON instead of text"},
        {"memory", 0, &memory, NULL, "BYTES",
         "as if the device had so many bytes free; 8G is 8589934592"},
    };
    const struct command command = {
        "say what a model would take on this device and with what context it fits, from the head "
        "of its file alone: the rest need not be there. Exit status 0: it fits; 1: not.",
        args, COUNT_OF(args), &settings};
    enum status status = args_read(&command, argc, argv, &err);
    if (status == CANCELLED)
        return 0;
    if (status == OK)
        status = args_bytes("memory", memory, &memory_bytes, &err);
    if (status != OK)
        return args_fail("plan", &err, 2);
    log_level_set(settings.log);
    status = run(&settings, memory_bytes, json, &fits, &err);
    return status != OK ? args_fail("plan", &err, 1) : !fits;
}
