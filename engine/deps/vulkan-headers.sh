# Vulkan-Headers: the types and constants of the API (spelled only in engine/compute/vulkan/). Nothing is compiled.
# They are taken from the loader's source file, which carries the set that belongs to it.
version=1.4.309
source_package=vulkan-loader
source_file=vulkan-loader_1.4.309.0.orig.tar.xz
sha256=6e37284e5c8ef5f06cef273cc207f0b31cb3b63c1ea2875639e843b01da4e6d7
licence='Apache-2.0 OR MIT'
licence_files='vulkan-headers/LICENSE.md'

build() {
    mkdir -p "$PREFIX/include"
    cp -r vulkan-headers/include/vulkan vulkan-headers/include/vk_video "$PREFIX/include/"
    rm -f "$PREFIX"/include/vulkan/*.hpp "$PREFIX"/include/vulkan/*.cppm
}
