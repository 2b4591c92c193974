# e2fsprogs: e2fsck, the image's third program; PID 1 has it look at a data partition with errors (init/fsck.c).
# Why this one: there is no other check of ext4, and the kernel's own authors write it.
# Options: what asks for other programs, threads or the network is left out; its libraries stay in the build.
version=1.47.2
source_package=e2fsprogs
source_file=e2fsprogs_1.47.2.orig.tar.gz
sha256=6dcd67ff9d8b13274ba3f088e4318be4f5b71412cd863524423fc49d39a6371f
licence='GPL-2.0-only'
licence_files=NOTICE

build() {
    mkdir made
    cd made
    CC="$TOOLS/cc -unwindlib=none" CFLAGS="$CFLAGS" LDFLAGS=-static-pie BUILD_CC=clang BUILD_CFLAGS=-O1 ../configure --host=x86_64-linux-musl \
        --disable-nls --disable-debugfs --disable-imager --disable-resizer --disable-defrag --disable-uuidd --disable-fuse2fs \
        --disable-e2initrd-helper --disable-tdb --disable-bmap-stats --disable-backtrace --without-pthread --without-libarchive \
        --with-crond-dir=no --with-systemd-unit-dir=no --with-udev-rules-dir=no
    make -j "$JOBS" libs
    make -C e2fsck -j "$JOBS" e2fsck
    llvm-strip -o e2fsck.stripped e2fsck/e2fsck
    install -D -m 755 e2fsck.stripped "$PREFIX/bin/e2fsck"
}
