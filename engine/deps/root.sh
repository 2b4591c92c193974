#!/bin/bash
# root.sh - makes (once) and names the Debian root in which everything is built and tested.
#
#   root.sh                       the toolchain root: prints its path, made first if it is missing
#   root.sh NAME SUITE PKG...     another root of the same kind, for what only some tests need (node, a browser, a peer)
#
# A root is made by mmdebstrap from the machine's own Debian mirror (apt.sh) and kept in
# ${XDG_CACHE_HOME:-~/.cache}/tawny/NAME-HASH; HASH covers the suite, the package list and this script, so a change makes
# a new root and leaves the old one alone. It is made under another name and renamed when complete: a root that exists
# is whole. Downloaded packages are kept beside it, so an interrupted run goes on where it stopped.
# Needs root, or sudo; works on Debian 12, Debian 13 and Proxmox VE 9. Its files belong to root: remove the cache with
# `sudo rm -rf`. Only the path goes to stdout; what is being done is told on stderr.
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
CACHE=${TAWNY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tawny}

toolchain_packages() {
    cat <<'P'
ca-certificates curl file git make patch sudo xz-utils zstd
clang lld llvm libclang-rt-19-dev libc6-dev linux-libc-dev musl-dev musl-tools binutils pkgconf
cmake meson ninja-build python3-mako python3-yaml python3-packaging python3-pycparser bison flex byacc
glslang-tools spirv-tools spirv-headers
clang-format
libcmocka-dev gdb
python3 python3-numpy python3-jinja2 python3-jsonschema
mkosi debian-archive-keyring systemd-boot-efi systemd-ukify systemd-repart dosfstools e2fsprogs mtools cpio kmod uidmap
grub-common grub2-common grub-pc-bin
qemu-system-x86 qemu-utils ovmf seabios gdisk socat openssl procps iproute2
mesa-vulkan-drivers libvulkan1 virgl-server
mmdebstrap
P
}
# What for, line by line: fetching and unpacking; one compiler for both C libraries; the recipes that use CMake or
# Meson; kernels and the driver's shaders; format; unit tests; tests and scripts, and what templates and schemas are compared with; the image; its BIOS boot path; running it;
# a Vulkan device on the processor (lavapipe) and a way to it from the static driver (vtest); making the other roots.

if [ $# -eq 0 ]; then
    NAME=root SUITE=trixie
    # shellcheck disable=SC2046 # one word a package
    set -- $(toolchain_packages)
else
    NAME=$1 SUITE=$2; shift 2
fi
HASH=$( (echo "$SUITE" "$@"; sed -n '/^make_root/,/^}/p' "$HERE/root.sh") | sha256sum | cut -c1-12)
ROOT=$CACHE/$NAME-$HASH
if [ -e "$ROOT/etc/tawny-root" ]; then echo "$ROOT"; exit 0; fi

say() { echo "tawny: $*" >&2; }

SUDO=
if [ "$(id -u)" -ne 0 ]; then
    SUDO=sudo
    command -v sudo >/dev/null || {
        say "making the toolchain root needs root: run as root, or install sudo and allow $(id -un) to use it."
        exit 1
    }
fi

$SUDO unshare -m true 2>/dev/null || {
    say "this machine refuses a mount namespace to root (a container without CAP_SYS_ADMIN?): the toolchain root cannot" \
        "be made here. A VM, or a privileged container, is needed."
    exit 1
}

# The one thing asked of the machine itself.
need_on_machine() {
    local missing=
    command -v mmdebstrap >/dev/null || missing=mmdebstrap
    ls /usr/share/keyrings/debian-archive-trixie-stable.* >/dev/null 2>&1 || missing="$missing debian-archive-keyring"
    [ -n "$missing" ] || return 0
    say "installing $missing on this machine: it makes the Debian 13 root that holds the compiler, mkosi and QEMU" \
        "(nothing else is installed here)."
    # A repository of others that refuses (Proxmox without a subscription) must not stop the update of Debian's.
    # shellcheck disable=SC2086,SC2016
    $SUDO env DEBIAN_FRONTEND=noninteractive \
        sh -c 'apt-get update -qq || true; apt-get install -y -qq -o Dpkg::Use-Pty=0 --no-install-recommends "$@" >/dev/null' \
        sh $missing >&2 || { say "apt-get could not install $missing: install it by hand and try again."; exit 1; }
}

make_root() { # PART DEBS SUITE PACKAGES
    local part=$1 debs=$2 suite=$3 packages=$4
    # Runs as root in a mount namespace of its own: nothing stays mounted if it is killed.
    # shellcheck disable=SC2016 # expanded by the inner shells
    $SUDO unshare -m --propagation private env DEBS="$debs" mmdebstrap --mode=root --variant=minbase --quiet \
        --aptopt="$part.conf" --aptopt='Dpkg::Use-Pty "false"' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
        --skip=essential/unlink \
        --setup-hook='mkdir -p "$1/var/cache/apt/archives" "$DEBS/partial" && mount --bind "$DEBS" "$1/var/cache/apt/archives"' \
        --customize-hook='umount "$1/var/cache/apt/archives"' \
        --customize-hook='rm -f "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/* "$1"/etc/apt/apt.conf.d/99mmdebstrap' \
        --customize-hook='ln -s /run/tawny/apt/debian.sources "$1/etc/apt/sources.list.d/machine.sources"' \
        --customize-hook='ln -s /run/tawny/apt/apt.conf "$1/etc/apt/apt.conf.d/99machine"' \
        --customize-hook='echo "ALL ALL=(ALL:ALL) NOPASSWD: ALL" > "$1/etc/sudoers.d/tawny" 2>/dev/null || true' \
        --customize-hook='rm -f "$1/etc/resolv.conf" "$1/etc/hosts"; : > "$1/etc/resolv.conf"; : > "$1/etc/hosts"' \
        --customize-hook='echo made > "$1/etc/tawny-root"' \
        --include="$packages" "$suite" "$part" "$part.sources" >&2
}

mkdir -p "$CACHE"
exec 9> "$CACHE/$NAME-$HASH.lock"
flock 9 || exit 1
if [ -e "$ROOT/etc/tawny-root" ]; then echo "$ROOT"; exit 0; fi # made by another run meanwhile

free_mb=$(df -Pm "$CACHE" | awk 'NR == 2 { print $4 }')
if [ "$free_mb" -lt 4000 ]; then
    say "$CACHE has $free_mb MB free; a Debian root with its packages needs 4000. Free some, or set XDG_CACHE_HOME."
    exit 1
fi
need_on_machine
say "making the Debian $SUITE root $NAME ($# packages named) in $ROOT: once, a few minutes."
PART=$ROOT.part
$SUDO rm -rf "$PART"
"$HERE/apt.sh" conf > "$PART.conf"
case "$SUITE" in
    sid) "$HERE/apt.sh" sources sid > "$PART.sources" ;;
    *) "$HERE/apt.sh" sources "$SUITE" "$SUITE-updates" "$SUITE-security" > "$PART.sources" ;;
esac
start=$SECONDS
# stdout of this script is the path alone, and the lock is not for children that outlive us.
make_root "$PART" "$CACHE/debs" "$SUITE" "$(echo "$*" | tr ' ' ,)" 9>&- || {
    say "making the root failed (see above); run the same command again: what was downloaded is kept in $CACHE/debs."
    exit 1
}
$SUDO mv "$PART" "$ROOT"
rm -f "$PART.conf" "$PART.sources"
say "root $NAME made in $((SECONDS - start)) s, $($SUDO du -sm "$ROOT" | cut -f1) MB."
echo "$ROOT"
