#!/bin/bash
# source.sh - fetches what the recipes are made from, and believes nothing unverified. Run inside a root.
#
#   source.sh tar PACKAGE FILE SHA256     the source tarball FILE of a trixie source package: prints its path
#   source.sh deb PACKAGE FILE SHA256 SOURCE    the same for a binary package (of the source package SOURCE)
#   source.sh debs SUITE DIR PACKAGE...   unpacks these binary packages of SUITE into DIR (no maintainer scripts run)
#
# Files are kept in CACHE/sources. A new one comes through apt, which checks it against the signed index; the
# recipe's own SHA-256 is checked as well, every time. When the index has moved on to another version the pool is asked
# for the file by name, and the recipe's SHA-256 alone decides. apt runs as the calling user on lists of its own.
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
CACHE=${TAWNY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tawny}
fail() { echo "tawny: $*" >&2; exit 1; }

# Lists of the suites named, under the first one's name, brought up to date at most once in 6 hours.
apt_for() { # SUITE...
    A=$CACHE/apt/$1
    mkdir -p "$A/lists/partial" "$A/archives/partial"
    "$HERE/apt.sh" sources "$@" > "$A/machine.sources"
    "$HERE/apt.sh" conf > "$A/apt.conf"
    : > "$A/status"
    APT=(env APT_CONFIG="$A/apt.conf" apt-get -qq -o Dir::State::lists="$A/lists" -o Dir::State::status="$A/status"
        -o Dir::Cache="$A" -o Dir::Etc::sourcelist="$A/machine.sources" -o Dir::Etc::sourceparts=/dev/null
        -o APT::Sandbox::User="$(id -un)" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=)
    if [ -z "$(find "$A/fresh" -mmin -360 2>/dev/null)" ]; then
        "${APT[@]}" update >&2 || fail "apt-get update for $1 failed: is the mirror $("$HERE/apt.sh" mirror) reachable?"
        touch "$A/fresh"
    fi
}

get_file() { # KIND PACKAGE FILE SHA256 SOURCE
    local dir=$CACHE/sources got url ask=(source --download-only --tar-only "$2")
    [ "$1" = tar ] || ask=(download "$2")
    mkdir -p "$dir"
    exec 8> "$dir/.lock"
    flock 8
    if [ ! -s "$dir/$3" ]; then
        apt_for trixie # what upstream wrote is the same in its security suite
        rm -rf "$dir/new"; mkdir "$dir/new"
        if ! (cd "$dir/new" && "${APT[@]}" "${ask[@]}" >&2) || [ ! -s "$dir/new/$3" ]; then
            url=$("$HERE/apt.sh" mirror)/pool/main/$(echo "$5" | cut -c1)/$5/$3
            curl -fsSL --retry 2 -o "$dir/new/$3" "$url" || fail "the file $3 of Debian's package $2 is missing:" \
                "apt-get ${ask[0]} did not bring it and $url could not be fetched. Put the file (SHA-256 $4)" \
                "into $dir and try again."
        fi
        mv "$dir/new/$3" "$dir/$3"
        rm -rf "$dir/new"
    fi
    got=$(sha256sum "$dir/$3" | cut -d' ' -f1)
    if [ "$got" != "$4" ]; then
        mv "$dir/$3" "$dir/$3.refused"
        fail "$3 has SHA-256 $got but the recipe wants $4: refused, and moved to $dir/$3.refused."
    fi
    case "$3" in
        # the root has no bzip2, and Python can read it
        *.bz2) python3 -c 'import bz2, sys; sys.stdout.buffer.write(bz2.open(sys.argv[1]).read())' "$dir/$3" > "$dir/${3%.bz2}.new"
            mv "$dir/${3%.bz2}.new" "$dir/${3%.bz2}"
            echo "$dir/${3%.bz2}" ;;
        *) echo "$dir/$3" ;;
    esac
}

get_debs() { # SUITE DIR PACKAGE...
    local suite=$1 dir=$2 p f
    shift 2
    apt_for "$suite" "$suite-updates" "$suite-security"
    mkdir -p "$A/debs" "$dir"
    for p in "$@"; do
        (cd "$A/debs" && rm -f "${p}_"*.deb && "${APT[@]}" download "$p/$suite" >&2 || "${APT[@]}" download "$p" >&2) ||
            fail "the package $p of Debian $suite could not be fetched from $("$HERE/apt.sh" mirror)."
        for f in "$A/debs/${p}_"*.deb; do dpkg-deb -x "$f" "$dir" || fail "$f could not be unpacked"; done
    done
}

case "${1:-}" in
    tar) get_file tar "$2" "$3" "$4" "$2" ;;
    deb) get_file deb "$2" "$3" "$4" "$5" ;;
    debs) shift; get_debs "$@" ;;
    *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
