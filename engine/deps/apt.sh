#!/bin/bash
# apt.sh - what this project asks of the machine's apt configuration, and nowhere else.
#
#   apt.sh mirror             the Debian archive this machine uses (http://.../debian)
#   apt.sh security           its security archive; an empty line where it has none
#   apt.sh sources SUITE...   deb822 sources for these suites (SUITE-security only where there is such an archive)
#   apt.sh conf               the download settings worth carrying into another root (proxy, dates, retries ...)
#   apt.sh save DIR           the answers above as files, for a root that cannot see this machine's /etc/apt
#
# The mirror is never written down in this project: it is read from /etc/apt/sources.list (one-line format) and
# /etc/apt/sources.list.d/*.{list,sources} (one-line and deb822 formats, mirror+file: lists included). Repositories of
# others (Proxmox, Docker ...) are told apart by suite, component and path. Inside a root entered with enter.sh the
# answers come from the files that enter.sh saved in /run/tawny. TAWNY_MIRROR and TAWNY_SECURITY override both.
set -eu
SAVED=/run/tawny/apt

# Prints "URI SUITE COMPONENTS... trusted=yes|no" for each enabled binary entry, in file order.
entries() {
    local f
    for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ -r "$f" ] || continue
        awk '$1 == "deb" {
            trusted = "no"; i = 2
            if ($i ~ /^\[/) { for (;;) { if ($i ~ /trusted=yes/) trusted = "yes"; if ($i ~ /\]$/) break; i++ } i++ }
            line = $i " " $(i + 1)
            for (j = i + 2; j <= NF && $j !~ /^#/; j++) line = line " " $j
            print line " trusted=" trusted }' "$f"
    done
    for f in /etc/apt/sources.list.d/*.sources; do
        [ -r "$f" ] || continue
        awk 'function flush(   u, s, nu, ns, i, j) {
                 if (v["types"] ~ /(^| )deb( |$)/ && v["enabled"] !~ /no|false|0/) {
                     nu = split(v["uris"], u, " "); ns = split(v["suites"], s, " ")
                     for (i = 1; i <= nu; i++) for (j = 1; j <= ns; j++)
                         print u[i], s[j], v["components"], "trusted=" (v["trusted"] ~ /yes/ ? "yes" : "no")
                 }
                 split("", v)
             }
             /^#/ { next }
             /^[ \t]*$/ { flush(); next }
             /^[ \t]/ { v[key] = v[key] " " $0; next }
             { key = tolower($0); sub(/:.*/, "", key); val = $0; sub(/^[^:]*:[ \t]*/, "", val); v[key] = val }
             END { flush() }' "$f"
    done
}

# Keeps the entries of Debian itself and follows mirror+file: lists; prints "URI SUITE trusted=...".
debian_entries() {
    local uri suite rest
    entries | while read -r uri suite rest; do
        case " $rest " in *" main "*) ;; *) continue ;; esac
        case "$suite" in
            bookworm*|trixie*|forky*|sid|unstable|testing*|stable*|oldstable*) ;;
            *) continue ;;
        esac
        case "$uri" in
            mirror+file:*) uri=$(grep -oE '^[^# ]+' "${uri#mirror+file:}" 2>/dev/null | head -n 1) ;;
            mirror:file:*) uri=$(grep -oE '^[^# ]+' "${uri#mirror:file:}" 2>/dev/null | head -n 1) ;;
        esac
        case "$uri" in http://*|https://*|file:*) echo "${uri%/} $suite ${rest##* }" ;; esac
    done
}

# pick security|archive: the first fitting URI with its trust, preferring those whose path ends in /debian.
pick() {
    local want=$1
    debian_entries | awk -v want="$want" '
        { sec = ($2 ~ /-security$/ || $2 ~ /\/updates$/ || $1 ~ /debian-security$/) }
        (want == "security") != sec { next }
        $1 ~ /\/debian(-security)?$/ && !best { best = $1 " " $3 }
        !first { first = $1 " " $3 }
        END { print best ? best : first }'
}

archive() {
    local got
    if [ -n "${TAWNY_MIRROR:-}" ]; then echo "${TAWNY_MIRROR%/} trusted=no"; return; fi
    if [ -r $SAVED/archive ]; then cat $SAVED/archive; return; fi
    got=$(pick archive)
    if [ -z "$got" ]; then
        echo "tawny: no Debian archive was found in /etc/apt/sources.list or /etc/apt/sources.list.d:" \
            "an entry for bookworm, trixie or another Debian suite with component main was expected." \
            "Set TAWNY_MIRROR=http://HOST/debian and try again." >&2
        return 1
    fi
    echo "$got"
}

security() {
    if [ -n "${TAWNY_SECURITY:-}" ]; then echo "${TAWNY_SECURITY%/} trusted=no"; return; fi
    if [ -n "${TAWNY_MIRROR:-}" ]; then echo; return; fi
    if [ -r $SAVED/security ]; then cat $SAVED/security; return; fi
    pick security
}

stanza() { # URI trusted=... SUITE
    printf 'Types: deb deb-src\nURIs: %s\nSuites: %s\nComponents: main contrib non-free-firmware\n' "$1" "$3"
    if [ "$2" = trusted=yes ]; then echo 'Trusted: yes'; else
        echo 'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg'
    fi
    echo
}

sources() {
    local suite got
    for suite in "$@"; do
        case "$suite" in
            *-security) got=$(security); [ -n "$got" ] || continue ;;
            *) got=$(archive) ;;
        esac
        # shellcheck disable=SC2086 # two words on purpose: URI and trust
        stanza $got "$suite"
    done
}

# Only settings that hold anywhere: nothing that names a program or a file of this machine.
conf() {
    if [ -r $SAVED/apt.conf ]; then cat $SAVED/apt.conf; return; fi
    apt-config dump | grep -E '^Acquire::(Check-Valid-Until|Check-Date|Max-ValidTime|Min-ValidTime|Retries|ForceIPv[46]|https?(::|:.*::)?)' |
        grep -vE 'Auto-Detect|::(CaInfo|CaPath|SslCert|SslKey|CrlFile)| "";$' || true
    echo 'APT::Install-Recommends "false";'
    echo 'Acquire::Languages "none";'
}

case "${1:-}" in
    mirror) got=$(archive); echo "${got%% *}" ;;
    security) got=$(security); echo "${got%% *}" ;;
    sources) shift; sources "$@" ;;
    conf) conf ;;
    save)
        mkdir -p "$2"
        archive > "$2/archive.new"; security > "$2/security.new"; conf > "$2/apt.conf.new"
        sources trixie trixie-updates trixie-backports trixie-security > "$2/debian.sources.new"
        for f in archive security apt.conf debian.sources; do mv "$2/$f.new" "$2/$f"; done ;;
    *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
