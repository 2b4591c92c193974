// kernel.h - what the amdgpu kernel driver (kernel.c) says of the chip that the variable CHIP
// names.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct count_chip;
struct drm_amdgpu_info;

// Answers DRM_IOCTL_AMDGPU_INFO: 0 or a negative errno. CHIP_VRAM_MB and CHIP_GTT_MB set the
// memory that is carved out for the chip and what it may take of the machine's. With CHIP_WINDOW_MB
// the chip stands on a card: that memory is its own, and the processor sees a window of it alone.
int kernel_info(struct drm_amdgpu_info *query);
uint64_t kernel_carved(void);      // bytes
uint64_t kernel_shared(void);      // the same
uint64_t kernel_window(void);      // bytes; 0: the processor sees all
uint64_t kernel_used(bool carved); // bytes that buffers have of the carve-out, or of the rest
uint64_t kernel_used_seen(void);   // of those in the carve-out: what the processor sees
uint16_t kernel_device_id(void);
void kernel_caches(struct count_chip *out); // count.h: from the device information
