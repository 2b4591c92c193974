#!/bin/bash
# enter.sh [--root] [--in ROOT] [--bind DIR]... [--] COMMAND... - runs COMMAND inside the toolchain root.
#
#   --root      as root there (the files it makes belong to root; the caller's ids are in TAWNY_UID and TAWNY_GID)
#   --in ROOT   in another root made by root.sh instead
#   --bind DIR  DIR is seen inside too, at the same path (also: TAWNY_BIND="DIR DIR")
#
# Inside, the source tree and the cache stand at the paths they have outside, /dev, /proc and /sys are the machine's, the
# rest of / is the root, read-only, with /tmp, /run and HOME of its own. The command runs as the calling user; `sudo`
# there asks for no password (whoever got here had it). Network, DNS, proxy settings, extra certificate authorities and
# the apt mirror are the machine's.
#
# How: a private mount namespace (nothing is left mounted whatever happens) and pivot_root rather than chroot, since
# mkosi wants a / that is a mount point and unprivileged user namespaces are refused inside a chroot.
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
TREE=$(cd "$HERE/../.." && pwd)

if [ "${1:-}" = --inside-namespace ]; then
    # --- as root, in a fresh mount namespace -------------------------------------------------------------------------
    shift
    R=$1 as_uid=$2 as_gid=$3 cwd=$4 saved=$5; shift 5
    mount --bind "$R" "$R"
    mount -o remount,bind,suid,dev,exec "$R"
    for d in proc sys dev; do mount --rbind /$d "$R/$d"; done
    mount -t tmpfs -o mode=1777 tmpfs "$R/tmp"
    mount -t tmpfs -o mode=0755 tmpfs "$R/run"
    mkdir -p "$R/run/tawny" "$R/run/lock" "$R/tmp/home"
    cp -r "$saved" "$R/run/tawny/apt"
    chmod -R a+rX "$R/run/tawny/apt"
    # A name for the calling user, or sudo, git and python refuse to serve him.
    cp "$R/etc/passwd" "$R/etc/group" "$R/run/tawny/"
    if ! grep -q "^[^:]*:[^:]*:$as_uid:" "$R/etc/passwd"; then
        echo "builder:*:$as_uid:$as_gid::/tmp/home:/bin/bash" >> "$R/run/tawny/passwd"
        grep -q "^[^:]*:[^:]*:$as_gid:" "$R/etc/group" || echo "builder:x:$as_gid:" >> "$R/run/tawny/group"
    fi
    chmod 644 "$R/run/tawny/passwd" "$R/run/tawny/group"
    chown "$as_uid:$as_gid" "$R/tmp/home"
    mount --bind "$R/run/tawny/passwd" "$R/etc/passwd"
    mount --bind "$R/run/tawny/group" "$R/etc/group"
    for f in /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt; do
        if [ -s "$f" ] && [ -e "$R$f" ]; then mount --bind "$(readlink -f $f)" "$R$f"; fi
    done
    mount --bind /var/tmp "$R/var/tmp"
    for d in $TAWNY_BINDS; do
        mkdir -p "$R$d"
        mount --rbind "$d" "$R$d"
    done
    mount -o remount,bind,ro "$R"
    cd "$R"
    pivot_root . .
    umount -l .
    cd "$cwd" 2>/dev/null || cd /
    ids=()
    [ "$as_uid" = 0 ] || ids=(setpriv --reuid "$as_uid" --regid "$as_gid" --groups "$TAWNY_GROUPS")
    exec "${ids[@]}" "$@"
fi

ROOT='' AS_ROOT='' BIND=${TAWNY_BIND:-}
while [ $# -gt 0 ]; do
    case "$1" in
        --root) AS_ROOT=1; shift ;;
        --in) ROOT=$2; shift 2 ;;
        --bind) BIND="$BIND $2"; shift 2 ;;
        --) shift; break ;;
        -*) echo "tawny: enter.sh: unknown option $1 (--root, --in ROOT, --bind DIR)" >&2; exit 2 ;;
        *) break ;;
    esac
done
[ $# -gt 0 ] || set -- bash

export TAWNY_CACHE=${TAWNY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tawny}
mkdir -p "$TAWNY_CACHE"
[ -n "$ROOT" ] || ROOT=$("$HERE/root.sh")
[ -e "$ROOT/etc/tawny-root" ] || { echo "tawny: $ROOT is not a root made by root.sh" >&2; exit 1; }

SUDO=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "tawny: entering $ROOT needs root: run as root or install sudo." >&2; exit 1; }
    SUDO=(sudo)
fi
"${SUDO[@]}" unshare -m true 2>/dev/null || {
    echo "tawny: this machine refuses a mount namespace to root (a container without CAP_SYS_ADMIN?):" \
        "the toolchain root cannot be entered here. A VM, or a privileged container, is needed." >&2
    exit 1
}
uid=${TAWNY_UID:-$(id -u)} gid=${TAWNY_GID:-$(id -g)}
# All of his groups, by number: /dev/kvm is for one of them.
groups=$gid
[ "$(id -u)" != "$uid" ] || groups=$(id -G | tr " " ,)

# A linked worktree keeps its history outside the tree: git inside needs it too.
git_dir=$(git -C "$TREE" rev-parse --path-format=absolute --git-common-dir 2>/dev/null || true)
case "$git_dir" in ''|"$TREE"/*) ;; *) BIND="$BIND $git_dir" ;; esac
case "$TREE $TAWNY_CACHE $BIND" in
    *[[:cntrl:]\'\"]*) echo "tawny: paths with quotes or control characters are not supported: $TREE" >&2; exit 1 ;;
esac
for d in "$TREE" "$TAWNY_CACHE"; do
    case "$d" in *' '*) echo "tawny: paths with spaces are not supported: $d" >&2; exit 1 ;; esac
done

saved=$(mktemp -d)
trap 'rm -rf "$saved"' EXIT
"$HERE/apt.sh" save "$saved"

keep=()
for v in http_proxy https_proxy ftp_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY NO_COLOR SOURCE_DATE_EPOCH \
    TAWNY_MIRROR TAWNY_SECURITY npm_config_registry NPM_CONFIG_REGISTRY CI; do
    [ -z "${!v:-}" ] || keep+=("$v=${!v}")
done
for v in $(compgen -v | grep '^TAWNY_TEST_' || true); do keep+=("$v=${!v}"); done

if [ -n "$AS_ROOT" ]; then run_uid=0 run_gid=0; else run_uid=$uid run_gid=$gid; fi
"${SUDO[@]}" unshare -m --propagation private env TAWNY_BINDS="$TREE $TAWNY_CACHE $BIND" TAWNY_GROUPS="$groups" \
    "$HERE/enter.sh" --inside-namespace "$ROOT" "$run_uid" "$run_gid" "$PWD" "$saved" \
    /usr/bin/env -i HOME=/tmp/home USER="$(id -un)" TERM="${TERM:-dumb}" LC_ALL=C.UTF-8 TZ=UTC0 \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    TAWNY_CACHE="$TAWNY_CACHE" TAWNY_UID="$uid" TAWNY_GID="$gid" \
    GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*' "${keep[@]}" "$@"
