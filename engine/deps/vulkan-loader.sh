# Vulkan-Loader: joins the drivers that are linked in into one instance (VK_LUNARG_direct_driver_loading).
# Why it is there at all: with it the same code runs over the system's drivers in the other flavours, and RADV and Venus
# are enumerated side by side.
# Edits: upstream builds a static library for Apple only; two lines of its CMake file keep it from doing so here. WSI off.
version=1.4.309
source_package=vulkan-loader
source_file=vulkan-loader_1.4.309.0.orig.tar.xz
sha256=6e37284e5c8ef5f06cef273cc207f0b31cb3b63c1ea2875639e843b01da4e6d7
needs=libcxx
licence='Apache-2.0'
licence_files='LICENSE.txt'

build() {
    edit loader/CMakeLists.txt 's/^( +)add_library\(vulkan SHARED\)$/\1add_library(vulkan STATIC)/'
    edit loader/CMakeLists.txt 's/^if \(APPLE_STATIC_LOADER\)$/if (TRUE) # stop before the rules that install/'
    unset CC # CMake would take it for one word
    cmake -G Ninja -S vulkan-headers -B headers -DCMAKE_INSTALL_PREFIX="$PWD/headers/usr" \
        -DCMAKE_C_COMPILER="$TOOLS/cc" -DCMAKE_CXX_COMPILER="$TOOLS/c++" \
        -DVULKAN_HEADERS_ENABLE_MODULE=OFF -DVULKAN_HEADERS_ENABLE_TESTS=OFF
    ninja -C headers install
    cmake -G Ninja -S . -B out -DCMAKE_BUILD_TYPE=None -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=x86_64 \
        -DCMAKE_C_COMPILER="$TOOLS/cc" -DCMAKE_CXX_COMPILER="$TOOLS/c++" -DCMAKE_ASM_COMPILER="$TOOLS/cc" \
        -DCMAKE_AR=/usr/bin/llvm-ar -DCMAKE_RANLIB=/usr/bin/llvm-ranlib -DCMAKE_EXE_LINKER_FLAGS=-static \
        -DCMAKE_C_FLAGS="$CFLAGS" -DVULKAN_HEADERS_INSTALL_DIR="$PWD/headers/usr" \
        -DBUILD_TESTS=OFF -DLOADER_CODEGEN=ON -DBUILD_WSI_XCB_SUPPORT=OFF -DBUILD_WSI_XLIB_SUPPORT=OFF \
        -DBUILD_WSI_XLIB_XRANDR_SUPPORT=OFF -DBUILD_WSI_WAYLAND_SUPPORT=OFF -DBUILD_WSI_DIRECTFB_SUPPORT=OFF
    mkdir -p loader/generated
    ninja -C out loader_codegen
    ninja -C out -j"$JOBS"
    install -D -m 644 -t "$PREFIX/lib" out/loader/libvulkan.a
}
