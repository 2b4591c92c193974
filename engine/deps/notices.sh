#!/bin/bash
# notices.sh PREFIX - prints the licences of everything linked into the appliance's binaries: Tawny itself, each library
# of the recipes (PREFIX/licences, filled by deps.sh) and the C library of the toolchain root; then of what is beside them
# on the disk image (boot/licences, which boot/mkosi.prepare compares with the packages'). Run inside.
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
section() { printf '\n%s\n%s\n%s\n\n' "$(printf '%080d' 0 | tr 0 =)" "$1" "$(printf '%080d' 0 | tr 0 =)"; }

echo 'Tawny, and the software that is linked into it or stands beside it: who wrote it and under which terms it is here.'
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
section 'On the disk image, beside these binaries and not linked with them'
cat <<'T'
The kernel and its modules: Linux, GPL-2.0-only with the syscall note (Debian source package linux).
The check of the data partition: e2fsck of e2fsprogs, GPL-2.0-only with libraries under LGPL-2.0 and MIT terms, a program of its
own, built by engine/deps/e2fsprogs.sh (Debian source package e2fsprogs).
The check of the ESP: fsck.fat of dosfstools, GPL-3.0-or-later, a program of its own, built by engine/deps/dosfstools.sh, which
says what it changes (Debian source package dosfstools).
The UKI's stub: systemd-stub, LGPL-2.1-or-later (Debian source package systemd).
The BIOS boot path: GNU GRUB, GPL-3.0-or-later (Debian source package grub2).
The certificates of authorities: Mozilla's list, MPL-2.0 (Debian source package ca-certificates).
Firmware for graphics and network chips: by AMD and Realtek, redistributable unmodified under their own terms (Debian
source package firmware-nonfree).

All but these two checks, which are built from Debian's sources, are unmodified packages of Debian 13 or its backports;
`apt-get source NAME` gives the sources of each. What their authors want shown follows, word for word.
T
section 'Firmware: the terms of AMD and Realtek'
cat "$HERE/../../boot/licences/firmware.txt"
section 'Linux: whose it is'
cat "$HERE/../../boot/licences/linux.txt"
section 'The GNU General Public License, version 2 (Linux)'
cat /usr/share/common-licenses/GPL-2
section 'The GNU Lesser General Public License, version 2.1 (systemd-stub)'
cat /usr/share/common-licenses/LGPL-2.1
section 'The GNU General Public License, version 3 (GRUB)'
cat /usr/share/common-licenses/GPL-3
section 'The Mozilla Public License, version 2.0 (the list of authorities)'
cat /usr/share/common-licenses/MPL-2.0
