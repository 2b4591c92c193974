#!/usr/bin/env python3
"""arch_seeds.py - writes tests/fuzz/gguf/arch-*: the head of a small model of every architecture (tests/golden/mkarch.py), and of those
with a block that predicts further tokens, without its vocabulary and without the numbers of its tensors: what `tawny plan` reads.

Run it again after an architecture was added; the files are committed (1-10 KB each). The fuzz target reads them as any input,
tests/unit/model_corrupt.c spoils each key and each tensor of them.
"""
import re
import struct
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE.parent / "golden"))
import mkarch  # noqa: E402
import mkgguf  # noqa: E402


def head(name):
    shape = (mkarch.MODELS.get(name) or mkarch.EMBEDDERS.get(name) or mkarch.DRAFTERS[name])()
    keys = [mkarch.kv("general.architecture", mkgguf.STR, shape.arch)] + shape.keys
    keys.append(mkarch.kv(shape.arch + ".vocab_size", mkgguf.U32, mkarch.VOCAB))
    if shape.kind == "bert":
        keys.append(mkarch.kv("tokenizer.ggml.token_type_count", mkgguf.U32, 2))
    offset, tensors = 0, b""
    for tensor, dims, kind in shape.tensors:
        number, elements, size = mkgguf.TYPES[kind]
        tensors += mkgguf.s_(tensor) + struct.pack("<I%dQIQ" % len(dims), len(dims), *dims[::-1], number, offset)
        n = 1
        for d in dims:
            n *= int(d)
        offset += (n // elements * size + 31) // 32 * 32
    data = struct.pack("<4sIQQ", b"GGUF", 3, len(shape.tensors), len(keys)) + b"".join(keys) + tensors
    return data + bytes(-len(data) % 32)


for model in [*mkarch.MODELS, *mkarch.EMBEDDERS, *mkarch.DRAFTERS]:
    (HERE / "gguf" / ("arch-" + re.sub(r"[^a-z0-9]+", "-", model.lower()))).write_bytes(head(model))
