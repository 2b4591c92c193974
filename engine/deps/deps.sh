#!/bin/bash
# deps.sh FLAVOUR LINK - makes what FLAVOUR (host or appliance) is compiled against and points LINK at it. Run inside.
#
#   LINK/sysroot    C library and kernel headers: musl (appliance), or glibc 2.36 of Debian 12 (host: runs on any
#                   distribution at least that new)
#   LINK/include, LINK/lib    the libraries of the recipes beside this file, static
#   LINK/licences/NAME        what each of them wants shown; see notices.sh
#
# Each piece is kept in CACHE/deps under a name that covers its inputs (recipe, this script, the sysroot's recipe, the
# compiler's version), so nothing is built twice and nothing stale is used. A recipe states version, source, SHA-256,
# licence and options, and builds with $CC $CFLAGS $AR into $PREFIX.
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
CACHE=${TAWNY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tawny}
FLAVOUR=$1 LINK=$2
RECIPES='bearssl yyjson pcre2 llhttp vulkan-headers'
JOBS=$(nproc)
say() { echo "tawny: $*" >&2; }
MAKING=
trap '[ -z "$MAKING" ] || say "making $MAKING failed (see above)."' EXIT
hash() { sha256sum | cut -c1-12; }

sysroot_musl() { # DIR - Debian's musl and the kernel's headers, side by side as a cross compiler wants them
    local d
    mkdir -p "$1/usr/include" "$1/usr/lib"
    cp -a /usr/include/x86_64-linux-musl/. "$1/usr/include/"
    cp -a /usr/lib/x86_64-linux-musl/*.a /usr/lib/x86_64-linux-musl/*.o "$1/usr/lib/"
    rm -rf "$1/usr/include/asm" # links into the root's own
    for d in linux asm-generic drm mtd misc sound video; do # not scsi/: musl has its own
        rm -rf "$1/usr/include/$d"
        cp -rL "/usr/include/$d" "$1/usr/include/$d"
    done
    cp -rL /usr/include/x86_64-linux-gnu/asm "$1/usr/include/asm"
}

sysroot_glibc() { # DIR - bookworm's glibc 2.36 and the runtime of its gcc
    "$HERE/source.sh" debs bookworm "$1" libc6 libc6-dev linux-libc-dev libgcc-s1 libgcc-12-dev libcrypt1
    # Without libstdc++ and tools a few MB remain; absolute links would leave the sysroot.
    rm -rf "$1/usr/share"
    find "$1" -type l -lname '/*' | while read -r l; do ln -sfn "$(realpath -m --relative-to="$(dirname "$l")" "$1$(readlink "$l")")" "$l"; done
}

# once DIR COMMAND... - DIR is made whole by COMMAND DIR.part, or not at all.
once() {
    local dir=$1
    shift
    [ -d "$dir" ] && return
    mkdir -p "$(dirname "$dir")"
    exec 9> "$dir.lock"
    flock 9
    if [ ! -d "$dir" ]; then
        rm -rf "$dir.part"
        mkdir "$dir.part"
        MAKING=$dir
        "$@" "$dir.part" # not in a condition: `set -e` must hold inside
        MAKING=
        mv "$dir.part" "$dir"
    fi
    exec 9>&-
    rm -f "$dir.lock"
}

build_recipe() { # NAME DIR
    local name=$1 tar work log f
    PREFIX=$2
    binary_package=
    # shellcheck source=/dev/null
    . "$HERE/$name.sh"
    if [ -n "${binary_package:-}" ]; then
        tar=$("$HERE/source.sh" deb "$binary_package" "$source_file" "$sha256" "$source_package")
    else
        tar=$("$HERE/source.sh" tar "$source_package" "$source_file" "$sha256")
    fi
    say "building $name $version for $FLAVOUR"
    work=$(mktemp -d)
    case "$tar" in
        *.deb) dpkg-deb -x "$tar" "$work" ;;
        *) tar -C "$work" --strip-components=1 -xf "$tar" ;;
    esac
    log=$CACHE/deps/$name-$FLAVOUR.log
    export CC CFLAGS AR PREFIX JOBS
    if ! bash -euo pipefail -c '. "$1"; cd "$2"; build' build "$HERE/$name.sh" "$work" > "$log" 2>&1; then
        tail -n 20 "$log" >&2
        say "$name did not build; the whole log: $log"
        return 1
    fi
    mkdir -p "$PREFIX/licences/$name"
    for f in $licence_files; do cp "$work/$f" "$PREFIX/licences/$name/"; done
    printf '%s %s (%s)\n' "$name" "$version" "$licence" > "$PREFIX/licences/$name/title"
    rm -rf "$work"
}

assemble() { # DIR - one prefix of all recipes
    local name
    ln -s "$SYSROOT" "$1/sysroot"
    for name in $RECIPES; do cp -a "$CACHE/deps/$name-$FLAVOUR-$(recipe_hash "$name")/." "$1/"; done
}

recipe_hash() { (echo "$FLAVOUR $SYSROOT $CC $CFLAGS $COMPILER"; sed -n '/^build_recipe/,/^}/p' "$HERE/deps.sh"; cat "$HERE/$1.sh") | hash; }

COMPILER=$(clang --version | head -n 1)
case "$FLAVOUR" in
    appliance)
        key=$( (declare -f sysroot_musl; dpkg-query -W musl-dev linux-libc-dev) | hash)
        SYSROOT=$CACHE/deps/sysroot-musl-$key
        once "$SYSROOT" sysroot_musl
        CC="clang --target=x86_64-linux-musl --sysroot=$SYSROOT" ;;
    host)
        SYSROOT=$CACHE/deps/sysroot-glibc-$(declare -f sysroot_glibc | hash)
        once "$SYSROOT" sysroot_glibc
        CC="clang --target=x86_64-linux-gnu --sysroot=$SYSROOT" ;;
    *) say "deps.sh: unknown flavour $FLAVOUR (host, appliance)"; exit 2 ;;
esac
AR=llvm-ar
CFLAGS='-O2 -g0 -fPIC -ffunction-sections -fdata-sections -fstack-protector-strong -w'
for name in $RECIPES; do
    once "$CACHE/deps/$name-$FLAVOUR-$(recipe_hash "$name")" build_recipe "$name"
done
all=$(for name in $RECIPES; do recipe_hash "$name"; done | hash)
once "$CACHE/deps/all-$FLAVOUR-$all" assemble
mkdir -p "$(dirname "$LINK")"
ln -sfn "$CACHE/deps/all-$FLAVOUR-$all" "$LINK"
