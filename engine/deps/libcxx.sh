# libunwind, libc++abi and libc++: what the shader compilers inside Mesa are written against (C++17).
# Why these: Debian builds its C++ libraries for glibc only, and LLVM's are made for being built alone against musl.
# Options: static; compiler-rt instead of libgcc; thread-exit destructors by libc++abi itself, since musl has no
# __cxa_thread_atexit_impl. The version is that of the compiler in the toolchain root.
version=19.1.7
source_package=llvm-toolchain-19
source_file=llvm-toolchain-19_19.1.7.orig.tar.xz
sha256=ae498f3bc58ae2d9f64ef5f0c035c4240152bf015a5b7738b15c22e93bdc97ce
members='*/cmake */runtimes */libunwind */libcxxabi */libcxx */llvm/cmake */llvm/utils/llvm-lit'
licence='Apache-2.0 WITH LLVM-exception'
licence_files='libcxx/LICENSE.TXT'

build() {
    cmake -G Ninja -S runtimes -B out -DCMAKE_BUILD_TYPE=None -DCMAKE_INSTALL_PREFIX="$PREFIX" \
        -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=x86_64 -DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY \
        -DCMAKE_C_COMPILER="$TOOLS/cc" -DCMAKE_CXX_COMPILER="$TOOLS/c++" -DCMAKE_ASM_COMPILER="$TOOLS/cc" \
        -DCMAKE_AR=/usr/bin/llvm-ar -DCMAKE_RANLIB=/usr/bin/llvm-ranlib -DCMAKE_NM=/usr/bin/llvm-nm \
        -DCMAKE_C_FLAGS="$CFLAGS" -DCMAKE_CXX_FLAGS="$CXXFLAGS" -DCMAKE_ASM_FLAGS="$CFLAGS" \
        -DLLVM_ENABLE_RUNTIMES='libunwind;libcxxabi;libcxx' -DLLVM_INCLUDE_TESTS=OFF -DLLVM_ENABLE_ASSERTIONS=OFF \
        -DLIBUNWIND_ENABLE_SHARED=OFF -DLIBUNWIND_USE_COMPILER_RT=ON -DLIBUNWIND_INCLUDE_TESTS=OFF \
        -DLIBUNWIND_HAS_GCC_LIB=OFF -DLIBUNWIND_ENABLE_ASSERTIONS=OFF \
        -DLIBCXXABI_ENABLE_SHARED=OFF -DLIBCXXABI_USE_LLVM_UNWINDER=ON -DLIBCXXABI_USE_COMPILER_RT=ON \
        -DLIBCXXABI_INCLUDE_TESTS=OFF -DLIBCXXABI_HAS_CXA_THREAD_ATEXIT_IMPL=OFF -DLIBCXXABI_ENABLE_ASSERTIONS=OFF \
        -DLIBCXX_ENABLE_SHARED=OFF -DLIBCXX_HAS_MUSL_LIBC=ON -DLIBCXX_USE_COMPILER_RT=ON -DLIBCXX_CXX_ABI=libcxxabi \
        -DLIBCXX_ENABLE_STATIC_ABI_LIBRARY=ON -DLIBCXX_HAS_ATOMIC_LIB=OFF -DLIBCXX_INSTALL_MODULES=OFF \
        -DLIBCXX_INCLUDE_TESTS=OFF -DLIBCXX_INCLUDE_BENCHMARKS=OFF
    ninja -C out -j"$JOBS" install
    rm -rf "$PREFIX/share"
}
