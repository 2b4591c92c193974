# http-parser: the HTTP/1.1 request grammar, byte by byte.
# Why this one: incremental, allocation-free, fuzzed for a decade; the newer llhttp is generated from TypeScript and has
# no source package. Caps, deadlines and what is accepted beyond the grammar are net/http.c's.
# Options: strict (its default), header lines up to 80 KiB in all (HTTP_MAX_HEADER_SIZE; net/http.c caps lower).
version=2.9.4
source_package=http-parser
source_file=http-parser_2.9.4.orig.tar.gz
sha256=467b9e30fd0979ee301065e70f637d525c28193449e1b13fbcb1b1fab3ad224f
licence=MIT
licence_files=LICENSE-MIT

build() {
    $CC $CFLAGS -DHTTP_PARSER_STRICT=1 -c http_parser.c -o http_parser.o
    "$AR" rcs libhttp_parser.a http_parser.o
    install -D -m 644 -t "$PREFIX/include" http_parser.h
    install -D -m 644 -t "$PREFIX/lib" libhttp_parser.a
}
