# dosfstools: fsck.fat, the image's fourth program; PID 1 has it look at an ESP that was being written when the power went (init/fsck.c).
# Why this one: there is no other check of FAT that is kept. Compiled file by file, without iconv: our names are plain ASCII.
# Edited: what no file owns becomes free; its automatic mode would keep such clusters as files FSCK0000.REC, until the ESP is full.
# And what it writes is on the disk before what it writes next, the mark of writing last: a cut in the middle is met by another check.
version=4.2
source_package=dosfstools
source_file=dosfstools_4.2.orig.tar.gz
sha256=64926eebf90092dca21b14259a5301b7b98e7b1943e8a201c7d726084809b527
licence='GPL-3.0-or-later'
licence_files=COPYING

build() {
    cd src
    edit fsck.fat.c '/^\tcase .y.:/,/break;/s/salvage_files = 1/salvage_files = 0/'
    edit io.c 's/O_RDWR :/O_RDWR | O_DSYNC :/'
    printf '#define VERSION "%s"\n#define VERSION_DATE "2021-01-31"\n' 4.2 > version.h
    printf '%s\n' boot check common fat file fsck.fat io lfn charconv |
        xargs -P "$JOBS" -I@ $CC $CFLAGS -D_GNU_SOURCE -DHAVE_ENDIAN_H -DHAVE_VASPRINTF -c @.c -o @.o
    "$TOOLS/cc" -unwindlib=none -static-pie -Wl,--gc-sections boot.o check.o common.o fat.o file.o fsck.fat.o io.o lfn.o charconv.o -o fsck.fat
    llvm-strip fsck.fat
    install -D -m 755 fsck.fat "$PREFIX/bin/fsck.fat"
}
