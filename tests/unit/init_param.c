/* init_param.c - what modules are loaded with: options of the kernel's command line, memory for
 * GPUs.
 */
#include "../../init/init.h"
#include "check.h"

static char out[128];

static const char *params(const char *module, const char *cmdline, uint64_t memory_bytes)
{
    module_params(out, sizeof(out), module, cmdline, memory_bytes);
    return out;
}

int main(void)
{
    static const uint64_t gib = 1ull << 30;
    CHECK_TEXT(params("amdgpu", "", 8 * gib), "");
    CHECK_TEXT(
        params("amdgpu", "quiet amdgpu.lockup_timeout=1,2,3,4 amdgpux.a=1 amdgpu.dc=0\n", gib),
        "lockup_timeout=1,2,3,4 dc=0");
    CHECK_TEXT(params("amdgpu", "amdgpu amdgpu. amdgpu=1 xamdgpu.a=1 .amdgpu.a", gib), "");
    CHECK_TEXT(params("snd_hda_intel", "snd-hda-intel.power_save=1", gib), "power_save=1");
    CHECK_TEXT(params("ttm", "quiet", 128 * gib), "pages_limit=32505856 page_pool_size=32505856");
    CHECK_TEXT(params("ttm", "quiet", 8 * gib), "pages_limit=1835008 page_pool_size=1835008");
    CHECK_TEXT(params("ttm", "ttm.pages_limit=5", 128 * gib), "pages_limit=5");
    CHECK_TEXT(params("ttm", "ttm.page_pool_size=5", 8 * gib),
               "pages_limit=1835008 page_pool_size=1835008 page_pool_size=5");
    CHECK_TEXT(params("ttm", "", 0), "");
    /* What does not fit is left away whole. */
    char small[16];
    module_params(small, sizeof(small), "m", "m.abc=1 m.abcdefghijklmnop=2 m.d=3", gib);
    CHECK_TEXT(small, "abc=1 d=3");
    return check_done("init_param");
}
