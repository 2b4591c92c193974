#!/bin/bash
# notices.sh PREFIX - prints the licences of everything linked into the appliance's binaries: Tawny itself, each library
# of the recipes (PREFIX/licences, filled by deps.sh) and the C library of the toolchain root. Run inside.
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
section() { printf '\n%s\n%s\n%s\n\n' "$(printf '%080d' 0 | tr 0 =)" "$1" "$(printf '%080d' 0 | tr 0 =)"; }

echo 'Tawny, and the software that is linked into it: who wrote it and under which terms it is here.'
section 'Tawny (MIT)'
cat "$HERE/../../LICENSE"
for d in "$1"/licences/*/; do
    section "$(cat "$d/title")"
    find "$d" -type f ! -name title | LC_ALL=C sort | while read -r f; do cat "$f"; echo; done
done
section "musl $(dpkg-query -W -f '${Version}' musl-dev | sed 's/-.*//') (MIT)"
cat /usr/share/doc/musl-dev/copyright
section "LLVM compiler-rt builtins $(dpkg-query -W -f '${Version}' libclang-rt-19-dev | sed 's/^[0-9]*://; s/-.*//') (Apache-2.0 WITH LLVM-exception)"
cat /usr/share/doc/libclang-rt-19-dev/copyright
