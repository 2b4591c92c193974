# libdrm: the ioctls of amdgpu and of virtio-gpu, under Mesa's drivers. The amdgpu part alone of the chip libraries.
# Options: none of its programs. The table of marketing names (libdrm/amdgpu.ids) is looked for under /usr/share, where
# the image has it; without it a device is called by its chip alone. This version's table is older than the chips this
# project is for: their lines (PCI device, revisions, name), as later versions have them, are added to it.
version=2.4.124
source_package=libdrm
source_file=libdrm_2.4.124.orig.tar.xz
sha256=ac36293f61ca4aafaf4b16a2a7afff312aa4f5c37c9fbd797de9e3c0863ca379
needs=libcxx # its unwinder: every link names it
licence=MIT
licence_files=LICENCES

build() {
    meson setup out --cross-file "$TOOLS/cross.ini" --prefix=/usr --libdir=lib --buildtype=plain \
        -Dc_args="$CFLAGS" -Ddefault_library=static -Damdgpu=enabled -Dintel=disabled -Dradeon=disabled \
        -Dnouveau=disabled -Dvmwgfx=disabled -Dfreedreno=disabled -Dvc4=disabled -Detnaviv=disabled \
        -Dcairo-tests=disabled -Dman-pages=disabled -Dvalgrind=disabled -Dtests=false -Dudev=false
    DESTDIR=$PWD/dest ninja -C out -j"$JOBS" install
    cp -r dest/usr/. "$PREFIX/"
    while read -r name id revisions; do
        for r in $revisions; do printf '%s,\t%s,\tAMD Radeon %s Graphics\n' "$id" "$r" "$name"; done
    done >> "$PREFIX/share/libdrm/amdgpu.ids" <<'T'
890M 150E C1 C5 C6 C7 D1 D3 E1 E3 E4 F1 F3
880M 150E C4 D2
8060S 1586 C1 C3 C6 D1
8050S 1586 C2 C4 D2 D4
8040S 1586 D5
T
    # It has no licence file: the heads of its own sources are that.
    for f in xf86drm.c xf86drmMode.c xf86drmHash.c amdgpu/amdgpu_device.c; do
        awk -v f="$f" '/Copyright/ && !on { print f; on = 1 } on { print } on && /\*\// { exit }' "$f"
    done > LICENCES
}
