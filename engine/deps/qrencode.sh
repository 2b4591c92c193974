# libqrencode: an address as a QR code, which a phone's camera reads (the page's sign-in, the console).
# Why this one: it makes the code and nothing else: a square of bytes, no pictures, no threads.
# Include as <qrencode.h>; QRcode_encodeString8bit is all that is used. Of Micro QR codes and structured ones nothing is
# linked in. Compiled file by file: its configure asks for nothing else than what stands here.
version=4.1.1
source_package=qrencode
source_file=qrencode_4.1.1.orig.tar.bz2
sha256=e455d9732f8041cf5b9c388e345a641fd15707860f928e94507b1961256a6923
licence='LGPL-2.1-or-later'
licence_files='COPYING'

build() {
    printf '%s\n' bitstream mask mmask mqrspec qrencode qrinput qrspec rsecc split |
        xargs -P "$JOBS" -I@ $CC $CFLAGS -std=c11 -D_GNU_SOURCE -DSTATIC_IN_RELEASE=static -DHAVE_STRDUP \
            -DMAJOR_VERSION=4 -DMINOR_VERSION=1 -DMICRO_VERSION=1 -DVERSION='"4.1.1"' -c @.c -o @.o
    "$AR" rcs libqrencode.a bitstream.o mask.o mmask.o mqrspec.o qrencode.o qrinput.o qrspec.o rsecc.o split.o
    install -D -m 644 -t "$PREFIX/include" qrencode.h
    install -D -m 644 -t "$PREFIX/lib" libqrencode.a
}
