"""The image as a file: reproducible, small, without a dynamic loader."""

import shutil

from tier import BUILD, FULL, SOURCE, WORK, Skip, check, sh, test


@test("two builds are byte-identical")
def identical():
    again = WORK / "again"
    shutil.rmtree(again, ignore_errors=True)
    again.mkdir(parents=True)
    sh(SOURCE / "boot/image", "--force", "--out", again)
    for name in ("tawny.img", "tawny.qcow2"):
        sh("cmp", BUILD / name, again / name)
    shutil.rmtree(again)
    return "tawny.img and tawny.qcow2, built again from the same binaries"


@test("two fresh clones give the same image", how="alone")
def clones():
    if not FULL:
        raise Skip("takes two whole builds; TAWNY_TEST_FULL=1 runs it")
    sums = []
    for name in ("clone-one", "another-clone-of-it"):
        tree = WORK / name
        shutil.rmtree(tree, ignore_errors=True)
        sh("git", "clone", "-q", SOURCE, tree)
        sh("env", "-u", "SOURCE_DATE_EPOCH", "-u", "MAKEFLAGS", "-u", "MAKELEVEL", "make", "-C", tree, "image")
        sums.append(sh("sha256sum", tree / "build/tawny.img", tree / "build/tawny.qcow2").split()[::2])
        shutil.rmtree(tree)
    check(sums[0] == sums[1], f"the checksums differ: {sums}")
    return "compiled, linked and packed twice in different folders"


@test("every part has its size", how="alone")
def parts():
    uki = (BUILD / "image/tawny.efi").stat().st_size
    check(uki < 50_000_000, f"the UKI has {uki} bytes; at most 50 MB are allowed")
    for name in ("init", "tawny"):
        program = BUILD / "appliance" / name
        headers = sh("readelf", "-lW", program)
        check("INTERP" not in headers, f"{program} asks for a dynamic loader")
    return f"UKI {uki:,} bytes; init and tawny have no INTERP"
