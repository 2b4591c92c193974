# BearSSL: TLS and the cryptography under it (spelled only in net/tls.c and net/cert.c).
# Why this one: no allocation, no I/O, so that one epoll thread drives every connection; constant-time code.
# Options: -O2 instead of its -Os (AES-GCM and P-256 are a third faster); AES-NI, PCLMUL and SSE2 code is chosen at run
# time by cpuid. Its system seeder reads /dev/urandom; give it our own seed from getrandom(2) instead.
version=0.6
source_package=bearssl
source_file=bearssl_0.6+dfsg.1.orig.tar.xz
sha256=102a625bd8f6155260867a50c508df8d8c3f796985dd744df1a68e5cd1a79004
licence=MIT
licence_files=LICENSE.txt

build() {
    make -s -j"$JOBS" lib CC="$CC" CFLAGS="$CFLAGS -Wno-unknown-warning-option" AR="$AR" LD="$CC"
    install -D -m 644 -t "$PREFIX/include" inc/*.h
    install -D -m 644 -t "$PREFIX/lib" build/libbearssl.a
}
