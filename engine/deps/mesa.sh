# Mesa: the Vulkan drivers inside the appliance. RADV (AMD GPUs through amdgpu; in a VM also through virtio-gpu's native
# context) with its own shader compiler, ACO; and Venus (any GPU of a host that lends it through virtio-gpu).
# The version is a setting: `make appliance MESA=VERSION:SHA256` takes mesa_VERSION.orig.tar.xz from the mirror, or from
# CACHE/sources where the mirror lacks it. Every edit below says so when another version has nothing for it.
# Options: no OpenGL, no windows, no LLVM, no video, no files: neither a shader cache (the pipelines' own is kept by
# engine/compute/vulkan/) nor configuration. The build id, from which cache keys are made, is the hash of the inputs.
version=${MESA:-25.0.7}
version=${version%%:*}
sha256=592272df3cf01e85e7db300c449df5061092574d099da275d19e97ef0510f8a6
[ -z "${MESA:-}" ] || sha256=${MESA#*:}
source_package=mesa
source_file=mesa_$version.orig.tar.xz
needs='libcxx libdrm'
licence=MIT
licence_files='docs/license.rst licenses/MIT licenses/BSL-1.0 licenses/Apache-2.0'

build() {
    # Installed static libraries hold all they are made of; no export list, since nothing is exported.
    edit src/amd/vulkan/meson.build 's/^libvulkan_radeon = shared_library\(/libvulkan_radeon = static_library(/'
    edit src/amd/vulkan/meson.build '/vs_module_defs :|link_depends :/d'
    edit src/virtio/vulkan/meson.build 's/^libvulkan_virtio = shared_library\(/libvulkan_virtio = static_library(/'
    edit src/virtio/vulkan/meson.build '/link_depends :/d'
    null_device
    meson setup out --cross-file "$TOOLS/cross.ini" --prefix=/usr --libdir=lib --buildtype=plain -Db_ndebug=true \
        -Dc_args="$CFLAGS" -Dcpp_args="$CXXFLAGS" -Ddefault_library=static \
        -Dvulkan-drivers=amd,virtio -Damdgpu-virtio=true -Dgallium-drivers= -Dllvm=disabled \
        -Dplatforms= -Dglx=disabled -Degl=disabled -Dgbm=disabled -Dglvnd=disabled -Dopengl=false -Dgles1=disabled \
        -Dgles2=disabled -Dxmlconfig=disabled -Dexpat=disabled -Dzstd=disabled -Dzlib=disabled \
        -Dshader-cache=disabled -Dvideo-codecs= -Dvulkan-layers= -Dtools= -Dvalgrind=disabled -Dlibunwind=disabled \
        -Dlmsensors=disabled -Dbuild-tests=false -Dradv-build-id="$(echo "$KEY" | sha1sum | cut -c1-40)"
    ninja -C out -j"$JOBS"
    driver radv out/src/amd/vulkan/libvulkan_radeon.a
    driver venus out/src/virtio/vulkan/libvulkan_virtio.a
}

# For the tests alone: with RADV_FORCE_FAMILY in the environment RADV compiles shaders for a chip that is not there. In
# 25.0 that device takes the chips this project is for as their predecessor, which gives a wrong occupancy; 26.1 has no
# such device at all.
null_device() {
    local f=src/amd/vulkan/winsys/null/radv_null_winsys.c
    [ -e "$f" ] || return 0
    edit $f 's/^( +)\[CHIP_NAVI31\] = .*/&\n\1[CHIP_GFX1150] = {0x150E, 4, false},\n\1[CHIP_GFX1151] = {0x1586, 8, false},/'
    edit $f 's/^( +)else if \(gpu_info->family >= CHIP_NAVI31\)/\1else if (gpu_info->family >= CHIP_GFX1150)\n\1   gpu_info->gfx_level = GFX11_5;\n&/'
    edit $f 's/gpu_info->family == CHIP_NAVI32\)/gpu_info->family == CHIP_NAVI32 || gpu_info->family == CHIP_GFX1151)/'
}

# driver NAME ARCHIVE - libNAME.a: one object, of which one symbol is seen, so that two drivers cannot meet in one link.
# All members are taken (entry points are weak there: an archive would not be searched for them).
driver() {
    ld.lld -r --whole-archive "$2" -o whole.o
    llvm-objcopy --redefine-sym vk_icdGetInstanceProcAddr="$1_icdGetInstanceProcAddr" whole.o
    llvm-objcopy --keep-global-symbol="$1_icdGetInstanceProcAddr" --strip-unneeded whole.o "$1.o"
    mkdir -p "$PREFIX/lib"
    "$AR" rcs "$PREFIX/lib/lib$1.a" "$1.o"
    rm whole.o "$1.o"
}
