// pipeline.c - from a kernel's name and its constants to a pipeline, made when first dispatched and
// kept.
//
// Before a pipeline is made, the SPIR-V is held against what C passes: the size of the push
// constants, the specialisation constants, the workgroup against the device's limits, no
// descriptors. A mismatch is a programming error (die), found at the first dispatch of every kernel
// and so by the first test that runs it. All pipelines share one layout: push constants alone.
#include "core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t hash_more(uint64_t hash, const void *p, size_t n) // FNV-1a, 64 bits
{
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ ((const uint8_t *)p)[i]) * 0x100000001b3;
    return hash;
}
static const uint64_t HASH_START = 0xcbf29ce484222325;

const char *vk_kernel_name(char out[48], const char *family, enum dtype type)
{
    int n = snprintf(out, 48, "%s-", family);
    if (n < 0 || n > 40)
        die("a kernel family of %d letters", n);
    if (type == DTYPE_TQ1_0) // lies as TQ2_0 does (layout.c)
        type = DTYPE_TQ2_0;
    snprintf(out + n, 48 - (size_t)n, "%s", dtype_name(type));
    for (char *p = out + n; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
    return out;
}

// ---- kernels by name ----------------------------------------------------------------------------

static uint32_t power_of_two(uint32_t least)
{
    uint32_t n = 64;
    while (n < least)
        n *= 2;
    return n;
}

static void index_kernels(struct pipelines *p)
{
    p->n_kernel_slots = power_of_two(2 * kernel_count);
    p->kernel_slots = mem_array(p->n_kernel_slots, sizeof(*p->kernel_slots));
    p->spirv = mem_array(kernel_count, sizeof(*p->spirv));
    p->spirv_known = mem_array(kernel_count, sizeof(*p->spirv_known));
    p->kernels = HASH_START;
    for (uint32_t i = 0; i < kernel_count; i++) {
        const char *name = kernel_table[i].name;
        uint64_t slot = hash_more(HASH_START, name, strlen(name));
        while (p->kernel_slots[slot % p->n_kernel_slots])
            slot++;
        p->kernel_slots[slot % p->n_kernel_slots] = i + 1;
        p->kernels = hash_more(p->kernels, name, strlen(name) + 1);
        p->kernels = hash_more(p->kernels, kernel_table[i].code, kernel_table[i].n_bytes);
    }
}

static uint32_t kernel_find(const struct pipelines *p, const char *name)
{
    uint64_t slot = hash_more(HASH_START, name, strlen(name));
    for (uint32_t i; (i = p->kernel_slots[slot % p->n_kernel_slots]); slot++)
        if (strcmp(kernel_table[i - 1].name, name) == 0)
            return i - 1;
    die("there is no kernel '%s'", name);
}

// ---- checks -------------------------------------------------------------------------------------

static const struct spirv *spirv_of(struct pipelines *p, uint32_t kernel)
{
    const struct kernel *k = &kernel_table[kernel];
    const char *wrong = NULL;
    if (!p->spirv_known[kernel] && !spirv_read(&p->spirv[kernel], k->code, k->n_bytes, &wrong))
        die("kernel '%s': %s", k->name, wrong);
    p->spirv_known[kernel] = true;
    return &p->spirv[kernel];
}

static void check(struct vulkan *vk, const struct dispatch *d, uint32_t kernel)
{
    const struct spirv *s = spirv_of(&vk->pipelines, kernel);
    const struct limits *limits = &vk->chosen.limits;
    uint64_t all = 1;
    if (s->bindings)
        die("kernel '%s' wants descriptors; kernels reach memory by address", d->kernel);
    if (s->push_bytes != d->push_bytes)
        die("kernel '%s' has %u bytes of push constants, C passes %zu", d->kernel, s->push_bytes,
            d->push_bytes);
    if (s->n_spec > d->n_spec || d->n_spec > SPEC_MOST)
        die("kernel '%s' has %u specialisation constants, C passes %u of at most %d", d->kernel,
            s->n_spec, d->n_spec, SPEC_MOST);
    for (int i = 0; i < 3; i++) {
        int32_t spec = s->local_spec[i];
        uint32_t n = spec < 0 ? s->local[i] : d->spec[spec];
        if (n == 0 || n > limits->local_most[i])
            die("kernel '%s': a workgroup of %u in dimension %d; the device allows %u", d->kernel,
                n, i, limits->local_most[i]);
        all *= n;
    }
    if (all > vk->chosen.features.workgroup_most)
        die("kernel '%s': a workgroup of %llu; the device allows %u", d->kernel,
            (unsigned long long)all, vk->chosen.features.workgroup_most);
    if (d->subgroup && (d->subgroup < vk->chosen.features.subgroup_min ||
                        d->subgroup > vk->chosen.features.subgroup_max))
        die("kernel '%s' asks for subgroups of %u; the device has %u to %u", d->kernel, d->subgroup,
            vk->chosen.features.subgroup_min, vk->chosen.features.subgroup_max);
}

// The workgroup's width: full subgroups can be promised only when it is a multiple of theirs.
static uint32_t width_of(struct vulkan *vk, const struct dispatch *d, uint32_t kernel)
{
    const struct spirv *s = spirv_of(&vk->pipelines, kernel);
    return s->local_spec[0] < 0 ? s->local[0] : d->spec[s->local_spec[0]];
}

// ---- making one ---------------------------------------------------------------------------------

static VkResult make(struct vulkan *vk, const struct dispatch *d, uint32_t kernel, VkPipeline *out)
{
    const struct feature_chain *found = &vk->chosen.found;
    VkSpecializationMapEntry entries[SPEC_MOST];
    for (uint32_t i = 0; i < d->n_spec; i++)
        entries[i] = (VkSpecializationMapEntry){i, 4 * i, 4};
    const VkSpecializationInfo spec = {d->n_spec, entries, 4 * d->n_spec, d->spec};
    const VkShaderModuleCreateInfo module_info = {
        .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
        .codeSize = kernel_table[kernel].n_bytes,
        .pCode = kernel_table[kernel].code,
    };
    VkShaderModule module;
    VkResult result = vk->call.CreateShaderModule(vk->device, &module_info, NULL, &module);
    if (result != VK_SUCCESS)
        return result;
    const VkPipelineShaderStageRequiredSubgroupSizeCreateInfo size = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO,
        .requiredSubgroupSize = d->subgroup,
    };
    bool sized = d->subgroup && found->v13.subgroupSizeControl &&
                 vk->chosen.features.subgroup_min < vk->chosen.features.subgroup_max,
         full = d->subgroup && found->v13.computeFullSubgroups &&
                width_of(vk, d, kernel) % d->subgroup == 0;
    const VkComputePipelineCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .stage =
            {
                .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                .pNext = sized ? &size : NULL,
                .flags = full ? VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT : 0,
                .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                .module = module,
                .pName = "main",
                .pSpecializationInfo = &spec,
            },
        .layout = vk->pipelines.layout,
    };
    result = vk->call.CreateComputePipelines(vk->device, vk->pipelines.cache, 1, &info, NULL, out);
    vk->call.DestroyShaderModule(vk->device, module, NULL);
    return result;
}

// ---- pipelines by what makes them ---------------------------------------------------------------

static uint64_t hash_of(const struct pipeline *p)
{
    uint64_t hash = p->kernel * 0x9e3779b97f4a7c15u ^ p->subgroup;
    for (uint32_t i = 0; i < p->n_spec; i++)
        hash = (hash ^ p->spec[i]) * 0x9e3779b97f4a7c15u ^ hash >> 29;
    return hash ^ hash >> 32;
}

static bool same(const struct pipeline *a, const struct pipeline *b)
{
    return a->kernel == b->kernel && a->subgroup == b->subgroup && a->n_spec == b->n_spec &&
           memcmp(a->spec, b->spec, a->n_spec * sizeof(a->spec[0])) == 0;
}

static void keep(struct pipelines *p, const struct pipeline *pipeline)
{
    if (p->n == p->n_allocated) {
        p->n_allocated = p->n_allocated ? 2 * p->n_allocated : 64;
        p->all = mem_resize(p->all, p->n_allocated * sizeof(*p->all));
        free(p->slots);
        p->n_slots = 4 * p->n_allocated;
        p->slots = mem_array(p->n_slots, sizeof(*p->slots));
        for (uint32_t i = 0; i < p->n; i++) {
            uint64_t slot = hash_of(&p->all[i]);
            while (p->slots[slot % p->n_slots])
                slot++;
            p->slots[slot % p->n_slots] = i + 1;
        }
    }
    uint64_t slot = hash_of(pipeline);
    while (p->slots[slot % p->n_slots])
        slot++;
    p->slots[slot % p->n_slots] = p->n + 1;
    p->all[p->n++] = *pipeline;
    p->n_unsaved++;
}

enum status pipeline_find(struct vulkan *vk, const struct dispatch *d, VkPipeline *out,
                          struct err *err)
{
    struct pipelines *p = &vk->pipelines;
    struct pipeline wanted = {
        .kernel = kernel_find(p, d->kernel), .n_spec = d->n_spec, .subgroup = d->subgroup};
    if (d->n_spec > SPEC_MOST)
        die("kernel '%s': %u specialisation constants", d->kernel, d->n_spec);
    memcpy(wanted.spec, d->spec, d->n_spec * sizeof(d->spec[0]));
    if (p->n_slots > 0) {
        uint64_t slot = hash_of(&wanted);
        for (uint32_t i; (i = p->slots[slot % p->n_slots]); slot++)
            if (same(&p->all[i - 1], &wanted)) {
                if (spirv_of(p, wanted.kernel)->push_bytes != d->push_bytes)
                    check(vk, d, wanted.kernel);
                *out = p->all[i - 1].handle;
                return OK;
            }
    }
    check(vk, d, wanted.kernel);
    VkResult result = make(vk, d, wanted.kernel, &wanted.handle);
    if (result != VK_SUCCESS) {
        char what[80];
        snprintf(what, sizeof(what), "the driver, compiling kernel '%.40s'", d->kernel);
        return vk_refused(err, what, result);
    }
    keep(p, &wanted);
    *out = wanted.handle;
    return OK;
}

// ---- opening and closing ------------------------------------------------------------------------

enum status pipelines_open(struct vulkan *vk, const char *cache_dir, struct err *err)
{
    struct pipelines *p = &vk->pipelines;
    const struct survey_device *said = &vk->chosen.said;
    const VkPushConstantRange range = {VK_SHADER_STAGE_COMPUTE_BIT, 0, PUSH_MOST};
    const VkPipelineLayoutCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
        .pushConstantRangeCount = 1,
        .pPushConstantRanges = &range,
    };
    VkResult result = vk->call.CreatePipelineLayout(vk->device, &info, NULL, &p->layout);
    if (result != VK_SUCCESS)
        return vk_refused(err, "vkCreatePipelineLayout", result);
    index_kernels(p);
    if (cache_dir && cache_dir[0]) {
        int n = snprintf(p->path, sizeof(p->path), "%s/kernels-%04x-%04x.cache", cache_dir,
                         said->vendor_id, said->device_id);
        if (n < 0 || (size_t)n >= sizeof(p->path))
            p->path[0] = 0;
    }
    p->saved_ms = clock_ms();
    p->cache = cache_load(vk);
    return OK;
}

void pipelines_close(struct vulkan *vk)
{
    struct pipelines *p = &vk->pipelines;
    cache_finish(vk);
    for (uint32_t i = 0; i < p->n; i++)
        vk->call.DestroyPipeline(vk->device, p->all[i].handle, NULL);
    if (p->cache)
        vk->call.DestroyPipelineCache(vk->device, p->cache, NULL);
    if (p->layout)
        vk->call.DestroyPipelineLayout(vk->device, p->layout, NULL);
    free(p->all);
    free(p->slots);
    free(p->kernel_slots);
    free(p->spirv);
    free(p->spirv_known);
}
