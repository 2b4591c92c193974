// list.c - the architectures of this build, one a line.
#include "../arch.h"

#include <stdio.h>
#include <string.h>

extern const struct arch arch_llama, arch_qwen2, arch_smollm3, arch_seed_oss, arch_ernie4_5,
    arch_ernie4_5_moe, arch_qwen3, arch_qwen3moe, arch_qwen2moe, arch_gpt_oss, arch_gemma2,
    arch_gemma3, arch_granite, arch_granitemoe, arch_phi3, arch_olmo2, arch_hunyuan_dense,
    arch_hunyuan_moe, arch_glm4, arch_glm4moe, arch_minimax_m2, arch_mistral3, arch_deepseek2,
    arch_mistral4, arch_muse_glimmer, arch_gemma4, arch_qwen35, arch_qwen35moe, arch_qwen3next,
    arch_granitehybrid, arch_nemotron_h, arch_nemotron_h_moe, arch_lfm2, arch_lfm2moe, arch_bert,
    arch_nomic_bert, arch_jina_bert_v2, arch_gemma_embedding, arch_nomic_bert_moe, arch_modern_bert,
    arch_qwen4exp, arch_deepseek4;

static const struct arch *const ALL[] = {
    &arch_llama,         &arch_qwen2,           &arch_smollm3,        &arch_seed_oss,
    &arch_ernie4_5,      &arch_ernie4_5_moe,    &arch_qwen3,          &arch_qwen3moe,
    &arch_qwen2moe,      &arch_gpt_oss,         &arch_gemma2,         &arch_gemma3,
    &arch_granite,       &arch_granitemoe,      &arch_phi3,           &arch_olmo2,
    &arch_hunyuan_dense, &arch_hunyuan_moe,     &arch_glm4,           &arch_glm4moe,
    &arch_minimax_m2,    &arch_mistral3,        &arch_deepseek2,      &arch_mistral4,
    &arch_muse_glimmer,  &arch_gemma4,          &arch_qwen35,         &arch_qwen35moe,
    &arch_qwen3next,     &arch_granitehybrid,   &arch_nemotron_h,     &arch_nemotron_h_moe,
    &arch_lfm2,          &arch_lfm2moe,         &arch_bert,           &arch_nomic_bert,
    &arch_jina_bert_v2,  &arch_gemma_embedding, &arch_nomic_bert_moe, &arch_modern_bert,
    &arch_qwen4exp,      &arch_deepseek4,
};

const struct arch *arch_find(struct bytes name)
{
    for (size_t i = 0; i < COUNT_OF(ALL); i++)
        if (bytes_equal_text(name, ALL[i]->name))
            return ALL[i];
    return NULL;
}

const char *arch_names(char *out, size_t size)
{
    static const char REST[] = ", ... (the README lists all)";
    size_t n = 0;
    out[0] = 0;
    for (size_t i = 0; i < COUNT_OF(ALL); i++) {
        const size_t rest = i + 1 < COUNT_OF(ALL) ? sizeof(REST) : 1;
        if (n + 2 + strlen(ALL[i]->name) + rest > size) {
            snprintf(out + n, size - n, "%s", REST);
            break;
        }
        n += (size_t)snprintf(out + n, size - n, "%s%s", i > 0 ? ", " : "", ALL[i]->name);
    }
    return out;
}
