# yyjson: JSON, read and written.
# Why this one: one file of C, strict RFC 8259, and an allocator that the caller passes, by which the memory of a
# request's tree is capped (engine/api/json.c, which also bounds the depth).
# Options: no file I/O helpers' users here; NaN/Inf and comments stay refused because their read flags are never passed.
version=0.10.0
source_package=yyjson
source_file=yyjson_0.10.0+ds.orig.tar.xz
sha256=ae6fde69a193e10afab426ef13f113d6903446405f9db9ee98bfb572bd6c961a
licence=MIT
licence_files=LICENSE

build() {
    $CC $CFLAGS -std=c11 -c src/yyjson.c -o yyjson.o
    "$AR" rcs libyyjson.a yyjson.o
    install -D -m 644 -t "$PREFIX/include" src/yyjson.h
    install -D -m 644 -t "$PREFIX/lib" libyyjson.a
}
