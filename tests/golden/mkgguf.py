#!/usr/bin/env python3
"""mkgguf.py - writes GGUF files of real shapes with seeded random weights, in any format the engine reads.

  mkgguf.py SHAPE OUT.gguf [--type T] [--seed N] [--layers N] [--pre P] [--corpus FILE...] [--vocab-only] ...

  SHAPE   tiny, tiny-qwen2   2 layers of 256, for tests: made in a blink, rows a multiple of 256
          small              llama, 8 x 512, heads 8/4, ffn 1408, vocabulary 4096
          small256           the same with ffn 1536: every row a multiple of 256, so that K-quants apply everywhere
          qwen3b             qwen2, the shape of Qwen2.5-Coder-3B (tied embedding)
  --type  f32 f16 bf16 q8_0 q4_0 q4_1 q5_0 q5_1 q2_k q3_k q4_k q5_k q6_k iq4_nl iq4_xs mxfp4 iq1_s iq1_m iq2_xxs iq2_xs iq2_s iq3_xxs iq3_s: how matrices are stored. The quantisers here are plain (the range of a
          block cut into equal steps): they fill every field of the formats, they do not aim at quality.

Needs python3 and numpy. The tiny shapes are the same bytes everywhere and always (integer arithmetic only); the large ones use
numpy's generator. Each tensor has its own stream, from the seed and its name; the vocabulary depends on the corpus.

How the weights are set, so that logits are neither flat nor degenerate:
  matrices            std g/sqrt(n_in), g = 1: an RMS-normed input keeps unit RMS at the output
  attn_q, attn_k      g = 1.7: scores have std about 3, so attention is peaked and the context matters
  output (or tied)    g = 4: logit std about 4, so top-1 has 5-50 % like a real model
  token_embd          untied: std 1; tied: the output's (small next to the residual, so that the model does not repeat its input)
  norms 1 + 0.1 N;  biases 0.1 N
"""
import argparse, glob, heapq, os, re, struct, sys, zlib
import numpy as np

U32, I32, FL32, BOOL, STR, ARR, U64 = 4, 5, 6, 7, 8, 9, 10  # GGUF value types
TYPES = {  # name: (ggml type, block elements, block bytes)
    'f32': (0, 1, 4), 'f16': (1, 1, 2), 'q4_0': (2, 32, 18), 'q4_1': (3, 32, 20), 'q5_0': (6, 32, 22),
    'q5_1': (7, 32, 24), 'q8_0': (8, 32, 34), 'q2_k': (10, 256, 84), 'q3_k': (11, 256, 110), 'q4_k': (12, 256, 144),
    'q5_k': (13, 256, 176), 'q6_k': (14, 256, 210), 'iq4_nl': (20, 32, 18), 'iq4_xs': (23, 256, 136), 'bf16': (30, 1, 2),
    'mxfp4': (39, 32, 17), 'iq2_xxs': (16, 256, 66), 'iq2_xs': (17, 256, 74), 'iq3_xxs': (18, 256, 98), 'iq1_s': (19, 256, 50),
    'iq3_s': (21, 256, 110), 'iq2_s': (22, 256, 82), 'iq1_m': (29, 256, 56), 'i32': (26, 1, 4)}
FILE_TYPES = {'f32': 0, 'f16': 1, 'q4_0': 2, 'q4_1': 3, 'q5_0': 8, 'q5_1': 9, 'q8_0': 7, 'q2_k': 10, 'q3_k': 11, 'q4_k': 14,
              'q5_k': 16, 'q6_k': 18, 'iq4_nl': 25, 'iq4_xs': 30, 'bf16': 32, 'mxfp4': 38,
              'iq2_xxs': 19, 'iq2_xs': 20, 'iq3_xxs': 23, 'iq1_s': 24, 'iq3_s': 26, 'iq2_s': 28, 'iq1_m': 31}
ALIGN = 32


# ---- quantisers: rows of float32 to bytes ----------------------------------------------------------------
def q8_0(x):
    x = x.reshape(-1, 32)
    d = (np.abs(x).max(1) / 127).astype('<f2')
    q = np.rint(x / np.maximum(d.astype('f4'), 1e-20)[:, None]).clip(-127, 127).astype('i1')
    return np.concatenate([d[:, None].view('u1'), q.view('u1')], 1)


def q4_0(x):
    x = x.reshape(-1, 32)
    big = x[np.arange(len(x)), np.abs(x).argmax(1)]
    d = (big / -8).astype('<f2')
    f = d.astype('f4')
    q = np.rint(x / np.where(f == 0, 1, f)[:, None] + 8).clip(0, 15).astype('u1')
    return np.concatenate([d[:, None].view('u1'), q[:, :16] | q[:, 16:] << 4], 1)


def q4_1(x, top=15):
    x = x.reshape(-1, 32)
    low = x.min(1).astype('<f2')
    d = ((x.max(1) - low.astype('f4')) / top).astype('<f2')
    f = np.maximum(d.astype('f4'), 1e-20)[:, None]
    q = np.rint((x - low.astype('f4')[:, None]) / f).clip(0, top).astype('u1')
    return np.concatenate([d[:, None].view('u1'), low[:, None].view('u1'), fifth_bits(q) if top > 15 else q[:, :0],
                           q[:, :16] & 15 | (q[:, 16:] & 15) << 4], 1)


def q5_1(x):
    return q4_1(x, 31)


def q5_0(x):
    x = x.reshape(-1, 32)
    d = (x[np.arange(len(x)), np.abs(x).argmax(1)] / -16).astype('<f2')
    f = d.astype('f4')
    q = np.rint(x / np.where(f == 0, 1, f)[:, None] + 16).clip(0, 31).astype('u1')
    return np.concatenate([d[:, None].view('u1'), fifth_bits(q), q[:, :16] & 15 | (q[:, 16:] & 15) << 4], 1)


def fifth_bits(q):
    """bit j of 32 is the fifth bit of element j"""
    return np.packbits(q >> 4, axis=1, bitorder='little')


def pack_scales(sc, m):
    """8 six-bit scales and 8 six-bit minima into 12 bytes"""
    out = np.zeros((len(sc), 12), 'u1')
    out[:, 0:4] = sc[:, :4] | (sc[:, 4:] >> 4) << 6
    out[:, 4:8] = m[:, :4] | (m[:, 4:] >> 4) << 6
    out[:, 8:12] = (sc[:, 4:] & 15) | (m[:, 4:] & 15) << 4
    return out


def scale_min(x, top):
    """x[n][8][32] = d*sc*q - dmin*m, 0 <= q <= top"""
    low = np.minimum(x.min(2), 0)
    step = (x.max(2) - low) / top
    d, dmin = (step.max(1) / 63).astype('<f2'), (-low).max(1).astype('f4') / 63
    dmin = dmin.astype('<f2')
    df, mf = np.maximum(d.astype('f4'), 1e-20)[:, None], np.maximum(dmin.astype('f4'), 1e-20)[:, None]
    sc = np.ceil(step / df - 1e-3).clip(1, 63).astype('u1')
    m = np.rint(-low / mf).clip(0, 63).astype('u1')
    q = np.rint((x + (mf * m)[:, :, None]) / (df * sc)[:, :, None]).clip(0, top).astype('u1')
    return np.concatenate([d[:, None].view('u1'), dmin[:, None].view('u1'), pack_scales(sc, m)], 1), q


def q4_k(x):
    head, q = scale_min(x.reshape(-1, 8, 32), 15)
    return np.concatenate([head, (q[:, 0::2] | q[:, 1::2] << 4).reshape(len(q), 128)], 1)


def q5_k(x):
    head, q = scale_min(x.reshape(-1, 8, 32), 31)
    qh = np.zeros((len(q), 32), 'u1')
    for j in range(8):
        qh |= (q[:, j] >> 4) << j
    q &= 15
    return np.concatenate([head, qh, (q[:, 0::2] | q[:, 1::2] << 4).reshape(len(q), 128)], 1)


def q6_k(x):
    x = x.reshape(-1, 16, 16)
    big = np.take_along_axis(x, np.abs(x).argmax(2)[:, :, None], 2)[:, :, 0] / -32
    d = (np.abs(big).max(1) / 127).astype('<f2')
    f = np.maximum(d.astype('f4'), 1e-20)[:, None]
    sc = np.rint(big / f).clip(-128, 127)
    step = np.where(sc == 0, 1, sc) * f
    q = np.rint(x / step[:, :, None] + 32).clip(0, 63).astype('u1').reshape(-1, 2, 4, 32)
    ql = np.concatenate([q[:, :, 0] & 15 | (q[:, :, 2] & 15) << 4, q[:, :, 1] & 15 | (q[:, :, 3] & 15) << 4], 2)
    qh = q[:, :, 0] >> 4 | q[:, :, 1] >> 4 << 2 | q[:, :, 2] >> 4 << 4 | q[:, :, 3] >> 4 << 6
    n = len(q)
    return np.concatenate([ql.reshape(n, 128), qh.reshape(n, 64), sc.astype('i1').view('u1'), d[:, None].view('u1')], 1)


def two_bits(q):
    """256 numbers of 0..3: in each half of 128, four runs of 32 share 32 bytes"""
    q = q.reshape(-1, 2, 4, 32)
    return (q[:, :, 0] | q[:, :, 1] << 2 | q[:, :, 2] << 4 | q[:, :, 3] << 6).reshape(len(q), 64)


def q2_k(x):
    x = x.reshape(-1, 16, 16)
    low = np.minimum(x.min(2), 0)
    step = (x.max(2) - low) / 3
    d, dmin = (step.max(1) / 15).astype('<f2'), ((-low).max(1) / 15).astype('<f2')
    df, mf = np.maximum(d.astype('f4'), 1e-20)[:, None], np.maximum(dmin.astype('f4'), 1e-20)[:, None]
    sc, m = np.ceil(step / df - 1e-3).clip(1, 15).astype('u1'), np.rint(-low / mf).clip(0, 15).astype('u1')
    q = np.rint((x + (mf * m)[:, :, None]) / (df * sc)[:, :, None]).clip(0, 3).astype('u1')
    return np.concatenate([sc | m << 4, two_bits(q), d[:, None].view('u1'), dmin[:, None].view('u1')], 1)


def biggest(x):
    """of each group the value that is furthest from zero"""
    return np.take_along_axis(x, np.abs(x).argmax(2)[:, :, None], 2)[:, :, 0]


def signed_scales(big, top):
    """big[n][groups] = d * sc, -top - 1 <= sc <= top, never 0"""
    d = (np.abs(big).max(1) / top).astype('<f2')
    f = np.maximum(d.astype('f4'), 1e-20)[:, None]
    sc = np.rint(big / f).clip(-top - 1, top)
    return d, f, np.where(sc == 0, 1, sc)


def q3_k(x):
    x = x.reshape(-1, 16, 16)
    d, f, sc = signed_scales(biggest(x) / -4, 31)
    q = np.rint(x / (sc * f)[:, :, None] + 4).clip(0, 7).astype('u1').reshape(-1, 8, 32)
    high = np.zeros((len(q), 32), 'u1')
    for j in range(8):
        high |= (q[:, j] >> 2) << j
    s = (sc + 32).astype('u1')
    top = s[:, 0:4] >> 4 | s[:, 4:8] >> 4 << 2 | s[:, 8:12] >> 4 << 4 | s[:, 12:16] >> 4 << 6
    return np.concatenate([high, two_bits(q & 3), s[:, :8] & 15 | (s[:, 8:] & 15) << 4, top, d[:, None].view('u1')], 1)


IQ4 = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], 'f4')
FP4 = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], 'f4')


def codes(x, book):
    """x[n][32] to the nearest entries, two a byte"""
    q = np.abs(x[:, :, None] - book).argmin(2).astype('u1')
    return q[:, :16] | q[:, 16:] << 4


def iq4_nl(x):
    x = x.reshape(-1, 1, 32)
    d = (biggest(x) / -127).astype('<f2')
    f = d.astype('f4')
    return np.concatenate([d.view('u1'), codes(x[:, 0] / np.where(f == 0, 1, f), IQ4)], 1)


def iq4_xs(x):
    x = x.reshape(-1, 8, 32)
    d, f, sc = signed_scales(biggest(x) / -127, 31)
    q = codes((x / (sc * f)[:, :, None]).reshape(-1, 32), IQ4).reshape(-1, 128)
    s = (sc + 32).astype('u1')
    high = sum((s[:, j] >> 4).astype('<u2') << 2 * j for j in range(8)).astype('<u2')
    return np.concatenate([d[:, None].view('u1'), high[:, None].view('u1'), s[:, 0::2] & 15 | (s[:, 1::2] & 15) << 4, q], 1)


def mxfp4(x):
    x = x.reshape(-1, 32)
    m, e = np.frexp(np.maximum(np.abs(x).max(1), 1e-20) / np.float32(6))  # the least power of two that holds the largest
    e = np.where(m == 0.5, e - 1, e)
    return np.concatenate([(e + 127).astype('u1')[:, None], codes(x / np.ldexp(np.float32(0.5), e)[:, None], FP4)], 1)


# rms of a block of random bits with d = 1: of these formats the weights are noise as loud as x, not x
NOISE = {'iq1_s': 7.2, 'iq1_m': 7.2, 'iq2_xxs': 55, 'iq2_xs': 55, 'iq2_s': 55, 'iq3_xxs': 142, 'iq3_s': 140}


def noise(x, kind):
    """every field of the format from a hash of x's bits, d by x's largest"""
    x = np.ascontiguousarray(x, '<f4').reshape(-1, 256)
    b = ((x.view('<u4') * np.uint32(2654435761)) >> np.uint32(24)).astype('u1')[:, :TYPES[kind][2]]
    d = (np.abs(x).max(1) * np.float32(1 / (2.9 * NOISE[kind]))).astype('<f2')[:, None].view('u1')
    if kind == 'iq1_m':  # its d is in the upper nibbles of the scales
        for i in range(4): b[:, 49 + 2 * i] = b[:, 49 + 2 * i] & 15 | (d[:, i // 2] >> 4 * (i % 2) & 15) << 4
    else:
        b[:, :2] = d
    return b


def encode(x, kind):
    if kind in NOISE: return noise(x, kind).tobytes()
    if kind == 'bf16':  # round to nearest even
        u = x.astype('<f4').view('<u4')
        return ((u + 0x7fff + (u >> 16 & 1)) >> 16).astype('<u2').tobytes()
    if kind == 'i32': return x.astype('<i4').tobytes()
    if kind in ('f32', 'f16'):
        return x.astype('<f4' if kind == 'f32' else '<f2').tobytes()
    return globals()[kind](np.ascontiguousarray(x, 'f4')).tobytes()


# ---- random numbers --------------------------------------------------------------------------------------
def exact_normal(seed, name, shape):
    """about N(0, 1), the same bits everywhere: splitmix64, the sum of its four 16-bit parts (variance 4/12 * 2^32)"""
    n = int(np.prod(shape))
    z = (np.arange(1, n + 1, dtype=np.uint64) + np.uint64(seed * 2**40 + zlib.crc32(name.encode()) * 2**8)) * np.uint64(0x9e3779b97f4a7c15)
    z = (z ^ z >> np.uint64(30)) * np.uint64(0xbf58476d1ce4e5b9)
    z = (z ^ z >> np.uint64(27)) * np.uint64(0x94d049bb133111eb)
    z ^= z >> np.uint64(31)
    total = sum((z >> np.uint64(16 * i) & np.uint64(0xffff)).astype(np.int64) for i in range(4)) - 131070
    return (total.astype('f4') * np.float32(1 / 37837)).reshape(shape)


def numpy_normal(seed, name, shape):
    return np.random.default_rng([seed, zlib.crc32(name.encode())]).standard_normal(shape, dtype=np.float32)


# ---- GGUF writer -----------------------------------------------------------------------------------------
def s_(b):
    b = b.encode() if isinstance(b, str) else b
    return struct.pack('<Q', len(b)) + b


def kv(key, typ, val):
    h = s_(key)
    if isinstance(val, list):
        body = {STR: lambda: b''.join(map(s_, val)), I32: lambda: np.asarray(val, '<i4').tobytes(),
                U64: lambda: np.asarray(val, '<u8').tobytes(),
                FL32: lambda: np.asarray(val, '<f4').tobytes(), BOOL: lambda: np.asarray(val, '?').tobytes()}[typ]()
        return h + struct.pack('<IIQ', ARR, typ, len(val)) + body
    pk = {U32: lambda: struct.pack('<I', val), FL32: lambda: struct.pack('<f', val),
          BOOL: lambda: struct.pack('<?', val), STR: lambda: s_(val)}[typ]()
    return h + struct.pack('<I', typ) + pk


def write_gguf(path, kvs, tensors, fill):
    """tensors: [(name, shape as numpy (rows, cols), type name)]; fill(name, shape) -> float32"""
    off, infos = 0, []
    for name, shape, t in tensors:
        typ, elements, size = TYPES[t]
        infos.append(s_(name) + struct.pack('<I', len(shape)) + struct.pack('<%dQ' % len(shape), *shape[::-1]) + struct.pack('<IQ', typ, off))
        off += (int(np.prod(shape)) // elements * size + ALIGN - 1) // ALIGN * ALIGN
    head = struct.pack('<4sIQQ', b'GGUF', 3, len(tensors), len(kvs)) + b''.join(kvs) + b''.join(infos)
    with open(path, 'wb') as f:
        f.write(head + b'\0' * (-len(head) % ALIGN))
        for name, shape, t in tensors:
            b = encode(fill(name, shape), t)
            f.write(b + b'\0' * (-len(b) % ALIGN))


# ---- a byte-level BPE vocabulary -------------------------------------------------------------------------
def byte_chars():
    """GPT-2's reversible map from bytes to printable characters"""
    bs = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    cs, n = bs[:], 0
    for b in range(256):
        if b not in bs:
            bs.append(b); cs.append(256 + n); n += 1
    return dict(zip(bs, map(chr, cs)))


def train_bpe(text, n_merges):
    """plain BPE training (lazy heap); returns the merges as pairs of token strings"""
    bc, words = byte_chars(), {}
    for w in re.findall(r" ?[^\W\d_]+|[0-9]{1,3}| ?[^\s\w]+|\s+|.", text):
        k = tuple(bc[b] for b in w.encode('utf-8', 'surrogatepass'))
        words[k] = words.get(k, 0) + 1
    ws, cnt, pairs, where = [list(k) for k in words], list(words.values()), {}, {}
    for i, w in enumerate(ws):
        for p in zip(w, w[1:]):
            pairs[p] = pairs.get(p, 0) + cnt[i]
            where.setdefault(p, set()).add(i)
    heap = [(-c, p) for p, c in pairs.items()]
    heapq.heapify(heap)
    merges, toks = [], set(bc.values())
    while heap and len(merges) < n_merges:
        c, p = heapq.heappop(heap)
        if pairs.get(p, 0) != -c:
            if pairs.get(p, 0) > 0:
                heapq.heappush(heap, (-pairs[p], p))
            continue
        if c > -2:
            break
        new, touched = p[0] + p[1], set()
        for i in where.pop(p, ()):
            w, j, out = ws[i], 0, []
            for q in zip(w, w[1:]):
                pairs[q] -= cnt[i]; touched.add(q)
            while j < len(w):
                if j + 1 < len(w) and w[j] == p[0] and w[j + 1] == p[1]:
                    out.append(new); j += 2
                else:
                    out.append(w[j]); j += 1
            ws[i] = out
            for q in zip(out, out[1:]):
                pairs[q] = pairs.get(q, 0) + cnt[i]
                where.setdefault(q, set()).add(i); touched.add(q)
        pairs.pop(p, None)
        for q in touched:
            if pairs.get(q, 0) > 0:
                heapq.heappush(heap, (-pairs[q], q))
        if new not in toks:  # two merges may build one token: keep the first
            toks.add(new); merges.append(p)
    return merges


def make_vocab(n_vocab, specials, corpus, words=()):
    """tokens, types, merges: 256 bytes + words no merge makes + trained merges + made-up merges + specials + padding"""
    bc = byte_chars()
    toks = [bc[b] for b in sorted(bc)] + [''.join(bc[b] for b in w.encode()) for w in words]
    n_reg = n_vocab - len(specials) - len(words) if n_vocab < 100000 else 151643
    merges = train_bpe(corpus, min(n_reg - 256, 30000))
    known = set(toks)
    toks += [a + b for a, b in merges if a + b not in known]
    have, rng, base = set(toks), np.random.default_rng(7), len(toks)
    while n_vocab >= 4096 and len(toks) < n_reg:  # fill up: join two known tokens, never used by text
        i, j = rng.integers(0, base, 2)
        t = toks[i] + toks[j]
        if t not in have and len(t) < 40:
            have.add(t); toks.append(t); merges.append((toks[i], toks[j]))
    types = [1] * len(toks)  # 1 normal, 3 control, 5 unused
    toks += specials; types += [3] * len(specials)
    while len(toks) < n_vocab:
        toks.append('[PAD%d]' % len(toks)); types.append(5)
    return toks, types, [a + ' ' + b for a, b in merges]


CHATML = ("{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
          "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")

# ---- the shapes ------------------------------------------------------------------------------------------
LLAMA = dict(arch='llama', ctx=4096, base=1e4, eps=1e-5, tied=False, bias=False, pre='gpt-2', rope_factors=False, linear=1.0, yarn=None)
QWEN2 = dict(LLAMA, arch='qwen2', base=1e6, eps=1e-6, tied=True, bias=True, pre='qwen2')
SHAPES = {
    'tiny':       dict(LLAMA, L=2, d=256, h=4, hkv=2, hd=64, ffn=512, V=512, ctx=256, exact=True),
    'tiny-qwen2': dict(QWEN2, L=2, d=256, h=8, hkv=2, hd=32, ffn=768, V=512, ctx=256, exact=True),
    'small':      dict(LLAMA, L=8, d=512, h=8, hkv=4, hd=64, ffn=1408, V=4096),
    'small256':   dict(LLAMA, L=8, d=512, h=8, hkv=4, hd=64, ffn=1536, V=4096),
    'qwen3b':     dict(QWEN2, L=36, d=2048, h=16, hkv=2, hd=128, ffn=11008, V=151936, ctx=32768),
    'llama8b':    dict(LLAMA, L=32, d=4096, h=32, hkv=8, hd=128, ffn=14336, V=128256, ctx=8192),
}


def rope_factors(c):
    """Llama 3's (factor 8, low 1, high 4, original context 128 so that all three ranges appear)"""
    f = []
    for i in range(c['hd'] // 2):
        wave = 2 * np.pi * c['base'] ** (2 * i / c['hd'])
        smooth = (128 / wave - 1) / (4 - 1)
        f.append(8.0 if wave > 128 else 1.0 if wave < 128 / 4 else 1 / ((1 - smooth) / 8 + smooth))
    return np.array(f, 'f4')


def keys_of(c, name, kind, vocab):
    A, (toks, types, merges) = c['arch'], vocab
    eot, ime = toks.index('<|endoftext|>'), toks.index('<|im_end|>')
    kvs = [kv('general.architecture', STR, A), kv('general.name', STR, name), kv('general.type', STR, 'model'),
           kv('general.file_type', U32, FILE_TYPES[kind]), kv('general.quantization_version', U32, 2),
           kv(A + '.block_count', U32, c['L']), kv(A + '.context_length', U32, c['ctx']),
           kv(A + '.embedding_length', U32, c['d']), kv(A + '.feed_forward_length', U32, c['ffn']),
           kv(A + '.attention.head_count', U32, c['h']), kv(A + '.attention.head_count_kv', U32, c['hkv']),
           kv(A + '.attention.layer_norm_rms_epsilon', FL32, c['eps']), kv(A + '.rope.freq_base', FL32, c['base']),
           kv(A + '.rope.dimension_count', U32, c['hd']), kv(A + '.vocab_size', U32, c['V'])]
    if c['hd'] * c['h'] != c['d']:
        kvs += [kv(A + '.attention.key_length', U32, c['hd']), kv(A + '.attention.value_length', U32, c['hd'])]
    if c['linear'] != 1:
        kvs += [kv(A + '.rope.scaling.type', STR, 'linear'), kv(A + '.rope.scaling.factor', FL32, c['linear'])]
    if c['yarn']:
        factor, original, extra = c['yarn']
        kvs += [kv(A + '.rope.scaling.type', STR, 'yarn'), kv(A + '.rope.scaling.factor', FL32, factor),
                kv(A + '.rope.scaling.original_context_length', U32, original)]
        kvs += [kv(A + '.rope.scaling.' + k, FL32, v) for k, v in extra.items()]
    kvs += [kv('tokenizer.ggml.model', STR, 'gpt2')] + ([kv('tokenizer.ggml.pre', STR, c['pre'])] if c['pre'] else [])
    return kvs + [kv('tokenizer.ggml.tokens', STR, toks), kv('tokenizer.ggml.token_type', I32, types),
                  kv('tokenizer.ggml.merges', STR, merges), kv('tokenizer.ggml.bos_token_id', U32, eot),
                  kv('tokenizer.ggml.eos_token_id', U32, ime), kv('tokenizer.ggml.padding_token_id', U32, eot),
                  kv('tokenizer.ggml.add_bos_token', BOOL, False), kv('tokenizer.chat_template', STR, CHATML)]


def tensors_of(c, W):
    d, dq, dk = c['d'], c['hd'] * c['h'], c['hd'] * c['hkv']
    T = [('token_embd.weight', (c['V'], d), W), ('output_norm.weight', (d,), 'f32')]
    if not c['tied']: T.append(('output.weight', (c['V'], d), W))
    if c['rope_factors']: T.append(('rope_freqs.weight', (c['hd'] // 2,), 'f32'))
    for i in range(c['L']):
        b = 'blk.%d.' % i
        T += [(b + 'attn_norm.weight', (d,), 'f32'), (b + 'attn_q.weight', (dq, d), W), (b + 'attn_k.weight', (dk, d), W),
              (b + 'attn_v.weight', (dk, d), W), (b + 'attn_output.weight', (d, dq), W), (b + 'ffn_norm.weight', (d,), 'f32'),
              (b + 'ffn_gate.weight', (c['ffn'], d), W), (b + 'ffn_up.weight', (c['ffn'], d), W), (b + 'ffn_down.weight', (d, c['ffn']), W)]
        if c['bias']:
            T += [(b + 'attn_q.bias', (dq,), 'f32'), (b + 'attn_k.bias', (dk,), 'f32'), (b + 'attn_v.bias', (dk,), 'f32')]
    return T


def make(path, c, kind='f16', seed=1, corpus='', vocab_only=False, name='random', words=()):
    """c: a dict as in SHAPES"""
    specials = ['<|endoftext|>', '<|im_start|>', '<|im_end|>']
    normal = exact_normal if c.get('exact') else numpy_normal

    def fill(tensor, shape):
        if tensor == 'rope_freqs.weight': return rope_factors(c)
        w = normal(seed, tensor, shape)
        if tensor.endswith('norm.weight'): return 1 + np.float32(0.1) * w
        if tensor.endswith('.bias'): return np.float32(0.1) * w
        if tensor == 'token_embd.weight' and not c['tied']: return w
        g = 4.0 if tensor in ('output.weight', 'token_embd.weight') else 1.7 if 'attn_q' in tensor or 'attn_k' in tensor else 1.0
        w *= np.float32(g / np.sqrt(shape[-1]))
        return w

    vocab = make_vocab(c['V'], specials, corpus, words)
    write_gguf(path, keys_of(c, name, kind, vocab), [] if vocab_only else tensors_of(c, kind), fill)


def main():
    ap = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    ap.add_argument('shape', choices=SHAPES); ap.add_argument('out')
    ap.add_argument('--seed', type=int, default=1); ap.add_argument('--layers', type=int)
    ap.add_argument('--type', default='f16', choices=TYPES); ap.add_argument('--pre')
    ap.add_argument('--corpus', nargs='*', help="default: the machine's licence texts (and Python's library for qwen3b)")
    ap.add_argument('--vocab-only', action='store_true')
    ap.add_argument('--rope-factors', action='store_true'); ap.add_argument('--linear', type=float)
    a = ap.parse_args()
    c = dict(SHAPES[a.shape])
    if a.layers: c['L'] = a.layers
    if a.pre is not None: c['pre'] = a.pre
    if a.linear: c['linear'] = a.linear
    c['rope_factors'] = a.rope_factors
    files = a.corpus if a.corpus is not None else sorted(glob.glob('/usr/share/common-licenses/*'))
    if a.shape == 'qwen3b' and a.corpus is None:
        files += sorted(glob.glob(os.path.dirname(os.__file__) + '/*.py'))[:120]
    text = ''.join(open(f, errors='replace').read() for f in files if os.path.isfile(f))
    make(a.out, c, a.type, a.seed, text, a.vocab_only, 'random-' + a.shape)
    print('%s: %.1f MB' % (a.out, os.path.getsize(a.out) / 1e6), file=sys.stderr)


if __name__ == '__main__':
    main()
