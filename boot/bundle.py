#!/usr/bin/env python3
"""Makes an update of a UKI and signs it: the file that a box takes (its layout: init/bundle.c). `make release KEY=`.

    bundle.py --uki FILE --release FILE --key KEY.pem --out FILE

--release: the two lines of /etc/tawny-release inside that UKI (boot/image leaves them in build/image/release).
KEY.pem is a private key of ECDSA P-256: openssl ecparam -name prime256v1 -genkey -noout -out KEY.pem. The signature's
nonce comes from key and message (RFC 6979), so the same system and the same key give the same bytes.
"""

import argparse
import hashlib
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

MAGIC, LAYOUT, DATA_FORMAT = b"TAWNYUPD", 1, 1
SIGNED, HEADER = 448, 512


def openssl(*arguments):
    done = subprocess.run(["openssl", *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode and b"nonce-type" in done.stderr:
        sys.exit("bundle: this openssl cannot take its nonce from key and message: 3.2 or later can (make release brings one)")
    if done.returncode:
        sys.exit(f"bundle: openssl {arguments[0]}: {done.stderr.decode().strip()}")
    return done.stdout


def integer(der, at):
    """(value as 32 bytes, what is behind it) of a DER integer."""
    if der[at] != 2:
        raise ValueError("the signature of openssl is no pair of integers")
    end = at + 2 + der[at + 1]
    return int.from_bytes(der[at + 2:end], "big").to_bytes(32, "big"), end


def sign(message, key):
    """r and s, 32 bytes each."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(message)
        file.flush()
        der = openssl("pkeyutl", "-sign", "-inkey", key, "-rawin", "-digest", "sha256", "-pkeyopt", "nonce-type:1",
                      "-in", file.name)
    r, at = integer(der, 2)
    s, _ = integer(der, at)
    return r + s


def header(version, built, n, sha256, data_format=DATA_FORMAT, layout=LAYOUT):
    text = version.encode()
    if not 0 < len(text) < 64:
        raise ValueError(f"a version has 1 to 63 characters, not {len(text)}")
    head = MAGIC + struct.pack("<IIQQ", layout, data_format, built, n) + sha256 + text.ljust(64, b"\0")
    return head.ljust(SIGNED, b"\0")


def public_key(key):
    """PEM of the public half; ends where it is no private key of the right kind."""
    details = subprocess.run(["openssl", "pkey", "-in", key, "-noout", "-text", "-passin", "pass:"], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    if "Private-Key" not in details or "prime256v1" not in details:
        sys.exit(f"bundle: {key} is no private key of ECDSA P-256 without a password (openssl ecparam -name prime256v1 -genkey -noout)")
    return openssl("pkey", "-in", key, "-pubout").decode()


def bundle(uki, version, built, key, **others):
    head = header(version, built, len(uki), hashlib.sha256(uki).digest(), **others)
    return head + sign(head, key) + uki


def main():
    parser = argparse.ArgumentParser(description="makes and signs an update")
    parser.add_argument("--uki", type=Path, required=True)
    parser.add_argument("--release", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    o = parser.parse_args()
    public_key(o.key)
    release = dict(line.split("=", 1) for line in o.release.read_text().splitlines())
    o.out.write_bytes(bundle(o.uki.read_bytes(), release["version"], int(release["built"]), o.key))
    print(f"{o.out}: version {release['version']}, {o.out.stat().st_size:,} bytes, sha256 "
          f"{hashlib.sha256(o.out.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
