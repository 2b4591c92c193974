# libyaml: YAML, of which JSON is a part, read as a stream of events; for the disks that hypervisors make (cloud-init),
# in PID 1's confined child alone (init/cloud_yaml.c).
# Why this one: the library that most others bind, twenty years of use; reading needs no I/O. Aliases and depth are
# bounded by who reads the events.
# Options: only what reads is compiled: no emitter, no document tree.
version=0.2.5
source_package=libyaml
source_file=libyaml_0.2.5.orig.tar.gz
sha256=fa240dbf262be053f3898006d502d514936c818e422afdcf33921c63bed9bf2e
licence=MIT
licence_files=License

build() {
    local f
    for f in api reader scanner parser; do
        $CC $CFLAGS -std=c11 -D_GNU_SOURCE -DYAML_DECLARE_STATIC -DYAML_VERSION_STRING='"0.2.5"' -DYAML_VERSION_MAJOR=0 \
            -DYAML_VERSION_MINOR=2 -DYAML_VERSION_PATCH=5 -Iinclude -c "src/$f.c" -o "$f.o"
    done
    "$AR" rcs libyaml.a api.o reader.o scanner.o parser.o
    install -D -m 644 -t "$PREFIX/include" include/yaml.h
    install -D -m 644 -t "$PREFIX/lib" libyaml.a
}
