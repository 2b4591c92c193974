#!/bin/bash
# deps.sh FLAVOUR LINK - makes what FLAVOUR (host, appliance or fuzz) is compiled against and points LINK at it. Run inside.
# deps.sh FLAVOUR list - prints what is linked into it: "NAME VERSION, NAME VERSION, ..."
#
#   LINK/sysroot    C library and kernel headers: musl (appliance), or glibc 2.36 of Debian 12 (host: runs on any
#                   distribution at least that new; fuzz: the same, the libraries instrumented for ASan and coverage)
#   LINK/include, LINK/lib    the libraries of the recipes beside this file, static
#   LINK/licences/NAME        what each of them wants shown; see notices.sh
#
# Each piece is kept in CACHE/deps under a name that covers its inputs (recipe, this script, the sysroot's recipe, the
# compiler's version), so nothing is built twice, an interrupted run goes on where it stopped, and nothing stale is used.
#
# A recipe states version, source, SHA-256, licence and options, and its build() runs in the unpacked source with
#   CC CXX CFLAGS CXXFLAGS AR    compilers (CC may be several words), flags, archiver        PREFIX    where to install
#   TOOLS    the same for build systems: TOOLS/cc and TOOLS/c++ are programs that see what the recipe `needs` (other
#            recipes, named earlier in the list), TOOLS/cross.ini tells Meson of them, TOOLS/needs is their prefix
#   KEY      the hash of all inputs             edit FILE SED-EXPRESSION    changes a file, and fails where nothing changed
# Optional: members='...' (the parts of a huge tarball that are unpacked), needs='...'.
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
CACHE=${TAWNY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tawny}
FLAVOUR=$1 LINK=$2
RECIPES='bearssl yyjson pcre2 llhttp qrencode isocline libyaml vulkan-headers markdown-it dompurify highlight'
# The Vulkan drivers inside the appliance; the other flavours open the system's loader.
[ "$FLAVOUR" != appliance ] || RECIPES="$RECIPES e2fsprogs dosfstools libcxx libdrm mesa vulkan-loader"
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

# tools DIR NAMES - what build systems want instead of $CC and $CFLAGS (see above).
tools() {
    local dir=$1 cc=$CC n
    mkdir -p "$dir/needs/include/c++/v1" "$dir/needs/lib"
    for n in $2; do cp -as "$CACHE/deps/$n-$FLAVOUR-$(recipe_hash "$n")/." "$dir/needs/"; done
    cc="$cc -rtlib=compiler-rt -unwindlib=libunwind -fuse-ld=lld -Qunused-arguments -L$dir/needs/lib"
    printf '#!/bin/sh\nexec %s -isystem %s "$@"\n' "$cc" "$dir/needs/include" > "$dir/cc"
    printf '#!/bin/sh\nexec %s -stdlib=libc++ -nostdinc++ -isystem %s -isystem %s "$@"\n' "${cc/clang/clang++}" \
        "$dir/needs/include/c++/v1" "$dir/needs/include" > "$dir/c++"
    # The prefix in a .pc file is that of its own build; where the file lies now is what counts.
    printf '#!/bin/sh\nexec pkgconf --define-prefix "$@"\n' > "$dir/pkg-config"
    chmod +x "$dir/cc" "$dir/c++" "$dir/pkg-config"
    cat > "$dir/cross.ini" <<INI
[binaries]
c = '$dir/cc'
cpp = '$dir/c++'
c_ld = 'lld'
cpp_ld = 'lld'
ar = 'llvm-ar'
ranlib = 'llvm-ranlib'
nm = 'llvm-nm'
strip = 'llvm-strip'
objcopy = 'llvm-objcopy'
pkg-config = '$dir/pkg-config'
[properties]
pkg_config_libdir = '$dir/needs/lib/pkgconfig'
needs_exe_wrapper = false
[built-in options]
c_link_args = ['-static']
cpp_link_args = ['-static']
[host_machine]
system = 'linux'
cpu_family = 'x86_64'
cpu = 'x86_64'
endian = 'little'
INI
}

edit() { # FILE EXPRESSION
    sed -E -i.before "$2" "$1"
    ! cmp -s "$1" "$1.before" || { echo "$1: nothing there for the edit: $2"; return 1; }
}

build_recipe() { # NAME DIR
    local name=$1 tar work=$2.work log f
    PREFIX=$2
    read_recipe "$name"
    if [ -n "$binary_package" ]; then
        tar=$("$HERE/source.sh" deb "$binary_package" "$source_file" "$sha256" "$source_package")
    else
        tar=$("$HERE/source.sh" tar "$source_package" "$source_file" "$sha256")
    fi
    say "building $name $version for $FLAVOUR"
    rm -rf "$work"
    mkdir "$work"
    case "$tar" in
        *.deb) dpkg-deb -x "$tar" "$work" ;;
        # shellcheck disable=SC2086 # a list of words
        *) tar -C "$work" --strip-components=1 --anchored --wildcards --no-wildcards-match-slash -xf "$tar" $members ;;
    esac
    TOOLS=$work.tools
    rm -rf "$TOOLS"
    tools "$TOOLS" "$needs"
    log=$CACHE/deps/$name-$FLAVOUR.log
    KEY=$(recipe_hash "$name")
    # Nothing in a library may depend on where or when it was built.
    CFLAGS="$BASE_CFLAGS -ffile-prefix-map=$work=$name -ffile-prefix-map=$TOOLS=tools -ffile-prefix-map=$SYSROOT=sysroot"
    CXXFLAGS=$CFLAGS
    export CC CFLAGS CXXFLAGS AR PREFIX JOBS TOOLS KEY SOURCE_DATE_EPOCH=1
    export -f edit
    if ! bash -euo pipefail -c '. "$1"; cd "$2"; build' build "$HERE/$name.sh" "$work" > "$log" 2>&1; then
        tail -n 20 "$log" >&2
        say "$name did not build; the whole log: $log"
        rm -rf "$work" "$TOOLS"
        return 1
    fi
    mkdir -p "$PREFIX/licences/$name"
    for f in $licence_files; do cp "$work/$f" "$PREFIX/licences/$name/"; done
    printf '%s %s (%s)\n' "$name" "$version" "$licence" > "$PREFIX/licences/$name/title"
    rm -rf "$work" "$TOOLS"
}

read_recipe() { # NAME - its variables, none of another's
    binary_package='' members='' needs=''
    # shellcheck source=/dev/null
    . "$HERE/$1.sh"
}

assemble() { # DIR - one prefix of all recipes
    local name
    ln -s "$SYSROOT" "$1/sysroot"
    for name in $RECIPES; do cp -a "$CACHE/deps/$name-$FLAVOUR-$(recipe_hash "$name")/." "$1/"; done
}

recipe_hash() { # NAME - without a path of this machine, since KEY gets into what is built
    (
        read_recipe "$1"
        echo "$FLAVOUR ${CC/"$SYSROOT"/"${SYSROOT##*/}"} $BASE_CFLAGS $COMPILER $version $sha256"
        for f in tools edit build_recipe; do declare -f $f; done
        cat "$HERE/$1.sh"
        for n in $needs; do recipe_hash "$n"; done
    ) | hash
}

if [ "$LINK" = list ]; then
    for name in $RECIPES; do read_recipe "$name"; echo "$name $version"; done | paste -sd, | sed 's/,/, /g'
    exit
fi

COMPILER=$(clang --version | head -n 1)
case "$FLAVOUR" in
    appliance)
        key=$( (declare -f sysroot_musl; dpkg-query -W musl-dev linux-libc-dev) | hash)
        SYSROOT=$CACHE/deps/sysroot-musl-$key
        once "$SYSROOT" sysroot_musl
        CC="clang --target=x86_64-linux-musl --sysroot=$SYSROOT" ;;
    host|fuzz)
        SYSROOT=$CACHE/deps/sysroot-glibc-$(declare -f sysroot_glibc | hash)
        once "$SYSROOT" sysroot_glibc
        CC="clang --target=x86_64-linux-gnu --sysroot=$SYSROOT" ;;
    *) say "deps.sh: unknown flavour $FLAVOUR (host, appliance, fuzz)"; exit 2 ;;
esac
AR=llvm-ar
BASE_CFLAGS='-O2 -g0 -fPIC -ffunction-sections -fdata-sections -fstack-protector-strong -w'
# A fuzzer sees only the branches of what is compiled for it, and most of a stranger's bytes meet a library first.
[ "$FLAVOUR" != fuzz ] || BASE_CFLAGS='-O1 -g -fPIC -fno-omit-frame-pointer -fsanitize=address,fuzzer-no-link -w'
CFLAGS=$BASE_CFLAGS
for name in $RECIPES; do
    once "$CACHE/deps/$name-$FLAVOUR-$(recipe_hash "$name")" build_recipe "$name"
done
all=$(for name in $RECIPES; do recipe_hash "$name"; done | hash)
once "$CACHE/deps/all-$FLAVOUR-$all" assemble
mkdir -p "$(dirname "$LINK")"
ln -sfn "$CACHE/deps/all-$FLAVOUR-$all" "$LINK"
