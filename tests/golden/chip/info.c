// info.c - see kernel.h. The figures are those of the two chips as their kernel driver tells them:
// gfx1150 16 compute units behind 128 bits of memory, gfx1151 40 behind 256.
#include "count.h"
#include "faults.h"
#include "kernel.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <libdrm/amdgpu_drm.h>

static bool is_1150(void)
{
    const char *chip = getenv("CHIP");
    return chip && strcmp(chip, "gfx1150") == 0;
}

uint16_t kernel_device_id(void)
{
    return is_1150() ? 0x150e : 0x1586;
}

static uint64_t megabytes(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    const uint64_t n = text ? strtoull(text, NULL, 10) : otherwise;
    return n << 20;
}

uint64_t kernel_carved(void)
{
    return megabytes("CHIP_VRAM_MB", 512);
}

uint64_t kernel_shared(void)
{
    return megabytes("CHIP_GTT_MB", 114688);
}

uint64_t kernel_window(void)
{
    return megabytes("CHIP_WINDOW_MB", 0);
}

static void answer(const struct drm_amdgpu_info *q, const void *from, size_t n)
{
    void *to = (void *)(uintptr_t)q->return_pointer;
    memset(to, 0, q->return_size);
    memcpy(to, from, n < q->return_size ? n : q->return_size);
}

static struct drm_amdgpu_info_device device(void)
{
    const bool small = is_1150();
    struct drm_amdgpu_info_device d = {
        .device_id = kernel_device_id(),
        .external_rev = small ? 0x01 : 0xc1,
        .pci_rev = 0xc1,
        .family = AMDGPU_FAMILY_GC_11_5_0,
        .num_shader_engines = small ? 1 : 2,
        .num_shader_arrays_per_engine = 2,
        .gpu_counter_freq = 100000,
        .max_engine_clock = 2900000,
        .max_memory_clock = 1000000,
        .cu_active_number = small ? 16 : 40,
        .enabled_rb_pipes_mask = small ? 0xff : 0xffff,
        .num_rb_pipes = small ? 8 : 16,
        .num_hw_gfx_contexts = 8,
        .ids_flags = kernel_window() ? 0 : AMDGPU_IDS_FLAGS_FUSION,
        .virtual_address_offset = 0x200000,
        .virtual_address_max = 0x800000000000,
        .virtual_address_alignment = 4096,
        .pte_fragment_size = 2 << 20,
        .gart_page_size = 4096,
        .vram_type = 12, // LPDDR5
        .vram_bit_width = small ? 128 : 256,
        .wave_front_size = 32,
        .num_shader_visible_vgprs = small ? 1024 : 1536,
        .num_cu_per_sh = small ? 8 : 10,
        .num_tcc_blocks = small ? 8 : 16,
        .high_va_offset = 0xffff800000000000u,
        .high_va_max = 0xffffffffffe00000u,
        .tcp_cache_size = 32,
        .num_sqc_per_wgp = 1,
        .sqc_data_cache_size = 16,
        .sqc_inst_cache_size = 32,
        .gl1c_cache_size = 256,
        .gl2c_cache_size = 2048,
        .mall_size = small ? 0 : 32u << 20,
    };
    for (unsigned se = 0; se < d.num_shader_engines; se++)
        for (unsigned sa = 0; sa < 2; sa++)
            d.cu_bitmap[se][sa] = (1u << d.num_cu_per_sh) - 1;
    return d;
}

void kernel_caches(struct count_chip *out)
{
    const struct drm_amdgpu_info_device d = device();
    *out = (struct count_chip){.n_arrays = d.num_shader_engines * d.num_shader_arrays_per_engine,
                               .n_wgps = d.num_cu_per_sh / 2,
                               .l0_bytes = d.tcp_cache_size << 10,
                               .scalar_bytes = d.sqc_data_cache_size << 10,
                               .l1_bytes = d.gl1c_cache_size << 10,
                               .l2_bytes = d.gl2c_cache_size << 10};
}

static void answer_device(const struct drm_amdgpu_info *q)
{
    const struct drm_amdgpu_info_device d = device();
    answer(q, &d, sizeof(d));
}

static void answer_ip(const struct drm_amdgpu_info *q)
{
    struct drm_amdgpu_info_hw_ip ip = {.ib_start_alignment = 32, .ib_size_alignment = 32};
    const uint32_t type = q->query_hw_ip.type;
    if (type == AMDGPU_HW_IP_GFX || type == AMDGPU_HW_IP_COMPUTE) {
        ip.hw_ip_version_major = 11, ip.hw_ip_version_minor = 5;
        ip.available_rings = type == AMDGPU_HW_IP_GFX ? 1 : 15;
        ip.ip_discovery_version = is_1150() ? 0x0b0500 : 0x0b0501;
    } else if (type == AMDGPU_HW_IP_DMA) {
        ip.hw_ip_version_major = 6, ip.hw_ip_version_minor = 1;
        ip.available_rings = 1;
        ip.ip_discovery_version = 0x060101;
    }
    answer(q, &ip, sizeof(ip));
}

int kernel_info(struct drm_amdgpu_info *q)
{
    const uint64_t vram = kernel_carved(), gtt = kernel_shared(),
                   seen = kernel_window() ? kernel_window() : vram;
    const uint32_t one = 1, tiling = 0x545; // GB_ADDR_CONFIG, for images alone
    const uint64_t none = 0;
    switch (q->query) {
    case AMDGPU_INFO_ACCEL_WORKING:
    case AMDGPU_INFO_HW_IP_COUNT:
        answer(q, &one, sizeof(one));
        return 0;
    case AMDGPU_INFO_HW_IP_INFO:
        answer_ip(q);
        return 0;
    case AMDGPU_INFO_FW_VERSION:
        answer(q, &(struct drm_amdgpu_info_firmware){32, 35},
               sizeof(struct drm_amdgpu_info_firmware));
        return 0;
    case AMDGPU_INFO_VRAM_USAGE:
        answer(q, &(uint64_t){kernel_used(true)}, sizeof(uint64_t));
        return 0;
    case AMDGPU_INFO_VIS_VRAM_USAGE:
        answer(q, &(uint64_t){kernel_used_seen()}, sizeof(uint64_t));
        return 0;
    case AMDGPU_INFO_GTT_USAGE:
        answer(q, &(uint64_t){kernel_used(false)}, sizeof(uint64_t));
        return 0;
    case AMDGPU_INFO_GPUVM_FAULT: {
        uint64_t address;
        struct drm_amdgpu_info_gpuvm_fault fault = {0};
        if (fault_page(&address))
            fault.addr = address, fault.status = 0x00641051;
        answer(q, &fault, sizeof(fault));
        return 0;
    }
    case AMDGPU_INFO_NUM_BYTES_MOVED:
    case AMDGPU_INFO_NUM_EVICTIONS:
    case AMDGPU_INFO_TIMESTAMP:
        answer(q, &none, sizeof(none));
        return 0;
    case AMDGPU_INFO_VRAM_GTT:
        answer(q, &(struct drm_amdgpu_info_vram_gtt){vram, seen, gtt},
               sizeof(struct drm_amdgpu_info_vram_gtt));
        return 0;
    case AMDGPU_INFO_MEMORY:
        answer(q,
               &(struct drm_amdgpu_memory_info){{vram, vram, kernel_used(true), vram / 4 * 3},
                                                {seen, seen, kernel_used_seen(), seen / 4 * 3},
                                                {gtt, gtt, kernel_used(false), gtt / 4 * 3}},
               sizeof(struct drm_amdgpu_memory_info));
        return 0;
    case AMDGPU_INFO_READ_MMR_REG:
        answer(q, &tiling, sizeof(tiling));
        return 0;
    case AMDGPU_INFO_DEV_INFO:
        answer_device(q);
        return 0;
    default:
        return -EINVAL;
    }
}
