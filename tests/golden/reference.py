#!/usr/bin/env python3
"""reference.py - the logits of a llama or qwen2 GGUF in float64: what `tawny logits` is measured against.

  reference.py MODEL.gguf OUT.f64 ID,ID,...

Written from the papers and the format's description, for clarity and not for speed; shares no line with the engine.
"""
import os, re, struct, sys
import numpy as np

SCALAR = {0: 'B', 1: 'b', 2: 'H', 3: 'h', 4: 'I', 5: 'i', 6: 'f', 7: '?', 10: 'Q', 11: 'q', 12: 'd'}


class Gguf:
    def __init__(self, path):
        self.map = np.memmap(path, 'u1', 'r')
        self.at = 0
        magic, version, n_tensors, n_values = self.get('<4sIQQ')
        assert magic == b'GGUF' and version in (2, 3)
        self.keys, self.tensors = {}, {}
        for _ in range(n_values):
            key = self.string().decode()
            self.keys[key] = self.value(self.get('<I')[0])
        for _ in range(n_tensors):
            name = self.string().decode()
            dims = self.get('<%dQ' % self.get('<I')[0])
            self.tensors[name] = (dims, *self.get('<IQ'))
        align = self.keys.get('general.alignment', 32)
        self.data = (self.at + align - 1) // align * align

    def get(self, fmt):
        n = struct.calcsize(fmt)
        self.at += n
        return struct.unpack(fmt, self.map[self.at - n:self.at].tobytes())

    def string(self):
        n = self.get('<Q')[0]
        self.at += n
        return self.map[self.at - n:self.at].tobytes()

    def value(self, t):
        if t == 8: return self.string()
        if t == 9:
            item, n = self.get('<IQ')
            return [self.string() for _ in range(n)] if item == 8 else list(self.get('<%d%s' % (n, SCALAR[item])))
        return self.get('<' + SCALAR[t])[0]

    def tensor(self, name):
        """float64, shape as numpy: (rows, cols) or (n,)"""
        dims, kind, offset = self.tensors[name]
        block, size, decode = FORMATS[kind]
        n = int(np.prod(dims))
        raw = self.map[self.data + offset:self.data + offset + n // block * size]
        return decode(np.array(raw).reshape(-1, size)).astype('f8').reshape(dims[::-1])


# ---- storage formats: bytes of blocks to numbers ---------------------------------------------------------
def half(b):
    return np.ascontiguousarray(b).view('<f2').astype('f8')


def q4_0(b):
    q = b[:, 2:]
    return half(b[:, :2]) * (np.concatenate([q & 15, q >> 4], 1).astype('f8') - 8)


def q8_0(b):
    return half(b[:, :2]) * np.ascontiguousarray(b[:, 2:]).view('i1')


def q5(b, head):
    """5-bit integers of 32 elements: 4 bytes of fifth bits, 16 bytes of two halves"""
    q = b[:, head + 4:]
    fifth = np.stack([b[:, head + j // 8] >> j % 8 & 1 for j in range(32)], 1)
    return (np.concatenate([q & 15, q >> 4], 1) + 16 * fifth).astype('f8')


def q4_1(b):
    q = b[:, 4:]
    return half(b[:, :2]) * np.concatenate([q & 15, q >> 4], 1) + half(b[:, 2:4])


def q5_0(b):
    return half(b[:, :2]) * (q5(b, 2) - 16)


def q5_1(b):
    return half(b[:, :2]) * q5(b, 4) + half(b[:, 2:4])


def six_bit(s):
    """the 12 bytes of 8 scales and 8 minima"""
    s = s.astype(int)
    scale = [s[:, j] & 63 if j < 4 else (s[:, j + 4] & 15) + (s[:, j - 4] >> 6) * 16 for j in range(8)]
    least = [s[:, j + 4] & 63 if j < 4 else (s[:, j + 4] >> 4) + (s[:, j] >> 6) * 16 for j in range(8)]
    return np.stack(scale, 1).astype('f8'), np.stack(least, 1).astype('f8')


def q45_k(b, fifth):
    scale, least = six_bit(b[:, 4:16])
    low = b[:, 48 if fifth else 16:].reshape(-1, 4, 32)
    q = np.stack([low & 15, low >> 4], 2).reshape(-1, 8, 32).astype('f8')
    if fifth:
        q += 16 * np.stack([b[:, 16:48] >> j & 1 for j in range(8)], 1)
    return (half(b[:, 0:2]) * scale)[:, :, None] * q - (half(b[:, 2:4]) * least)[:, :, None]


def q6_k(b):
    ql, qh, scale = b[:, :128].astype(int), b[:, 128:192].astype(int), np.ascontiguousarray(b[:, 192:208]).view('i1')
    out = np.zeros((len(b), 256))
    for e in range(256):
        half_, part, l = e // 128, e % 128 // 32, e % 32
        low = ql[:, half_ * 64 + part % 2 * 32 + l]
        low = low >> 4 if part >= 2 else low & 15
        out[:, e] = (low + (qh[:, half_ * 32 + l] >> 2 * part & 3) * 16 - 32) * scale[:, e // 16].astype('f8')
    return half(b[:, 208:210]) * out


def two_bits(b):
    """256 numbers of two bits: number i is in byte 32 * (i // 128) + i % 32, bits 2 * (i % 128 // 32) up"""
    return np.stack([b[:, 32 * (i // 128) + i % 32] >> 2 * (i % 128 // 32) & 3 for i in range(256)], 1).astype('f8')


def q2_k(b):
    scale, least = (b[:, :16] % 16).astype('f8').repeat(16, 1), (b[:, :16] // 16).astype('f8').repeat(16, 1)
    return half(b[:, 80:82]) * scale * two_bits(b[:, 16:80]) - half(b[:, 82:84]) * least


def q3_k(b):
    third = np.stack([b[:, i % 32] >> i // 32 & 1 for i in range(256)], 1)
    s = b[:, 96:108].astype(int)
    scale = np.stack([(s[:, g % 8] // (1 if g < 8 else 16) % 16) + 16 * (s[:, 8 + g % 4] >> 2 * (g // 4) & 3) - 32 for g in range(16)], 1)
    return half(b[:, 108:110]) * scale.astype('f8').repeat(16, 1) * (two_bits(b[:, 32:96]) + 4 * third - 4)


IQ4 = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], 'f8')
FP4 = np.array([0, .5, 1, 1.5, 2, 3, 4, 6, -0., -.5, -1, -1.5, -2, -3, -4, -6], 'f8')  # E2M1 (OCP MX 1.0)


def nibbles(q):
    return np.concatenate([q & 15, q >> 4], 1)


def iq4_xs(b):
    high = np.ascontiguousarray(b[:, 2:4]).view('<u2').astype(int)
    out = []
    for s in range(8):
        scale = (b[:, 4 + s // 2] >> 4 * (s % 2) & 15) + 16 * (high[:, 0] >> 2 * s & 3) - 32
        out.append(scale[:, None] * IQ4[nibbles(b[:, 8 + 16 * s:24 + 16 * s])])
    return half(b[:, :2]) * np.concatenate(out, 1)


# ---- formats with codebooks: runs of eight weights are an entry, in IQ3 two of four ----
def codebook(name, fours=False, cache={}):
    """float64 [entries][8 or 4] from kernels/grids.h, which peer/formats.c made of llama.cpp's"""
    if name not in cache:
        text = open(os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../kernels/grids.h')).read()
        body = re.search(r'GRID\(grid_%s, \d+\)(.*?)GRID_END' % name, text, re.S)[1]
        words = np.array([int(w, 16) for w in re.findall(r'0x[0-9a-f]+', body)])
        if fours:
            cache[name] = np.stack([words >> 8 * i & 255 for i in range(4)], 1).astype('f8')
        else:
            two = np.stack([np.stack([words >> 8 * (i % 4) + 4 * e + 2 * (i // 4) & 3 for i in range(8)], 1) for e in range(2)], 1)
            cache[name] = (np.array([-1, 0, 1] if name == 'iq1' else [8, 25, 43], 'f8')[two]).reshape(-1, 8)
    return cache[name]


def bits(b, at, n):
    """n bits of each row, from bit `at` on, least first"""
    return sum(((b[:, (at + i) // 8] >> (at + i) % 8 & 1).astype(int) << i) for i in range(n))


def runs(b, part):
    """[blocks][256] from part(run), which is [blocks][8], of the 32 runs"""
    return half(b[:, :2]) * np.concatenate([part(r) for r in range(32)], 1)


def signs(v, n):
    """[blocks][8]: of seven bits the eighth makes their number even"""
    s = np.stack([v.astype(int) >> i & 1 for i in range(n)], 1)
    return 1 - 2 * (np.concatenate([s, s.sum(1, keepdims=True) % 2], 1) if n == 7 else s)


def odd(scale): return (2 * scale + 1)[:, None]


def trits(index, minus): return codebook('iq1')[index] + np.where(minus, -0.125, 0.125)[:, None]


def iq1_s(b):
    qh = lambda r, at, n: bits(b[:, 34:50], 16 * (r // 4) + at, n)
    return runs(b, lambda r: odd(qh(r, 12, 3)) * trits(b[:, 2 + r] + (qh(r, 3 * (r % 4), 3) << 8), qh(r, 15, 1)))


def iq1_m(b):
    d = half(np.packbits(np.stack([b[:, 48 + 2 * (i // 4) + 1] >> 4 + i % 4 & 1 for i in range(16)], 1), axis=1, bitorder='little'))
    qh = lambda r, at, n: bits(b[:, 32:48], 4 * r + at, n)
    part = lambda r: odd(bits(b[:, 48:56], 16 * (r // 8) + 3 * (r // 2 % 4), 3)) * trits(b[:, r] + (qh(r, 0, 3) << 8), qh(r, 3, 1))
    return d * np.concatenate([part(r) for r in range(32)], 1)


def iq2_xxs(b):
    sub = lambda r: b[:, 2 + 8 * (r // 4):10 + 8 * (r // 4)]
    return runs(b, lambda r: odd(bits(sub(r), 60, 4)) / 8 * codebook('iq2_xxs')[sub(r)[:, r % 4]] * signs(bits(sub(r), 32 + 7 * (r % 4), 7), 7))


def iq2_xs(b):
    return runs(b, lambda r: odd(bits(b[:, 66:74], 4 * (r // 2), 4)) / 8 * codebook('iq2_xs')[bits(b[:, 2:66], 16 * r, 9)] *
                signs(bits(b[:, 2:66], 16 * r + 9, 7), 7))


def iq2_s(b):
    return runs(b, lambda r: odd(bits(b[:, 74:82], 4 * (r // 2), 4)) / 8 * codebook('iq2_s')[b[:, 2 + r] + (bits(b[:, 66:74], 2 * r, 2) << 8)] *
                signs(b[:, 34 + r], 8))


def iq3_xxs(b):
    book = codebook('iq3_xxs', True)
    sub = lambda r: b[:, 66 + 4 * (r // 4):70 + 4 * (r // 4)]
    return runs(b, lambda r: odd(bits(sub(r), 28, 4)) / 4 * np.concatenate([book[b[:, 2 + 2 * r]], book[b[:, 3 + 2 * r]]], 1) *
                signs(bits(sub(r), 7 * (r % 4), 7), 7))


def iq3_s(b):
    book = codebook('iq3_s', True)
    entry = lambda i: book[b[:, 2 + i] + (bits(b[:, 66:74], i, 1) << 8)]
    return runs(b, lambda r: odd(bits(b[:, 106:110], 4 * (r // 4), 4)) * np.concatenate([entry(2 * r), entry(2 * r + 1)], 1) * signs(b[:, 74 + r], 8))


def mxfp4(b):
    return 2.0 ** (b[:, :1].astype('f8') - 127) * FP4[nibbles(b[:, 1:])]


def bf16(b):
    return (np.ascontiguousarray(b).view('<u2').astype('<u4') << 16).view('<f4')


FORMATS = {0: (1, 4, lambda b: np.ascontiguousarray(b).view('<f4')), 1: (1, 2, half), 26: (1, 4, lambda b: np.ascontiguousarray(b).view('<i4')), 2: (32, 18, q4_0), 3: (32, 20, q4_1),
           6: (32, 22, q5_0), 7: (32, 24, q5_1), 8: (32, 34, q8_0),
           10: (256, 84, q2_k), 11: (256, 110, q3_k), 20: (32, 18, lambda b: half(b[:, :2]) * IQ4[nibbles(b[:, 2:])]),
           16: (256, 66, iq2_xxs), 17: (256, 74, iq2_xs), 18: (256, 98, iq3_xxs), 19: (256, 50, iq1_s), 21: (256, 110, iq3_s),
           22: (256, 82, iq2_s), 29: (256, 56, iq1_m), 23: (256, 136, iq4_xs), 39: (32, 17, mxfp4),
           12: (256, 144, lambda b: q45_k(b, False)), 13: (256, 176, lambda b: q45_k(b, True)), 14: (256, 210, q6_k), 30: (1, 2, bf16)}


def yarn(freq, factor, original, base, n_rot):
    """NTK-by-parts (Peng et al. 2023, section 3.2) as Hugging Face's implementation rounds it: whole pairs bound the ramp"""
    bound = lambda turns: n_rot / 2 * np.log(original / (2 * np.pi * turns)) / np.log(base)
    low, high = max(np.floor(bound(32)), 0), min(np.ceil(bound(1)), n_rot - 1)
    ramp = np.clip((np.arange(n_rot // 2) - low) / max(high - low, 0.001), 0, 1)
    return freq * (1 - ramp) + freq / factor * ramp, 0.1 * np.log(factor) + 1


# ---- the model -------------------------------------------------------------------------------------------
def logits(path, ids):
    g = Gguf(path)
    arch = g.keys['general.architecture'].decode()
    key = lambda name, default=None: g.keys.get(arch + '.' + name, default)
    n_head, n_embd = key('attention.head_count'), key('embedding_length')
    n_kv, hd, eps = key('attention.head_count_kv', n_head), key('attention.key_length', n_embd // n_head), key('attention.layer_norm_rms_epsilon')
    n_rot = key('rope.dimension_count', hd)
    scale = 1 / key('rope.scaling.factor', 1.0) if key('rope.scaling.type', b'none') == b'linear' else 1.0
    freq = float(key('rope.freq_base', 10000.0)) ** (-2.0 * np.arange(n_rot // 2) / n_rot)
    if 'rope_freqs.weight' in g.tensors: freq = freq / g.tensor('rope_freqs.weight')
    magnitude = 1.0
    if key('rope.scaling.type', b'none') == b'yarn':
        freq, magnitude = yarn(freq, key('rope.scaling.factor'), key('rope.scaling.original_context_length'), float(key('rope.freq_base')), n_rot)
        magnitude *= key('rope.scaling.attn_factor', 1.0)
    angle = np.arange(len(ids))[:, None] * scale * freq
    cos, sin = magnitude * np.cos(angle)[:, None], magnitude * np.sin(angle)[:, None]

    def norm(x, w): return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * w

    def linear(x, name):
        y = x @ g.tensor(name + '.weight').T
        return y + g.tensor(name + '.bias') if name + '.bias' in g.tensors else y

    def rotate(x):  # [tokens][heads][hd]
        y = x.copy()
        a, b = (slice(0, n_rot, 2), slice(1, n_rot, 2)) if arch == 'llama' else (slice(0, n_rot // 2), slice(n_rot // 2, n_rot))
        y[:, :, a], y[:, :, b] = x[:, :, a] * cos - x[:, :, b] * sin, x[:, :, a] * sin + x[:, :, b] * cos
        return y

    T = len(ids)
    mask = np.triu(np.full((T, T), -np.inf), 1)
    x = g.tensor('token_embd.weight')[ids]
    for i in range(key('block_count')):
        b = 'blk.%d.' % i
        h = norm(x, g.tensor(b + 'attn_norm.weight'))
        q = rotate(linear(h, b + 'attn_q').reshape(T, n_head, hd))
        k = rotate(linear(h, b + 'attn_k').reshape(T, n_kv, hd)).repeat(n_head // n_kv, 1)
        v = linear(h, b + 'attn_v').reshape(T, n_kv, hd).repeat(n_head // n_kv, 1)
        s = np.einsum('thd,shd->hts', q, k) / np.sqrt(hd) + mask
        s = np.exp(s - s.max(-1, keepdims=True))
        att = np.einsum('hts,shd->thd', s / s.sum(-1, keepdims=True), v).reshape(T, n_head * hd)
        x = x + linear(att, b + 'attn_output')
        h = norm(x, g.tensor(b + 'ffn_norm.weight'))
        gate = linear(h, b + 'ffn_gate')
        x = x + linear(gate / (1 + np.exp(-gate)) * linear(h, b + 'ffn_up'), b + 'ffn_down')
    x = norm(x, g.tensor('output_norm.weight'))
    return linear(x, 'output' if 'output.weight' in g.tensors else 'token_embd')


def compare(got, want):
    """rms and max of the difference, mean KL(want || got) in nats, share of equal top-1"""
    d = got.astype('f8') - want
    log = lambda z: z - z.max(-1, keepdims=True) - np.log(np.exp(z - z.max(-1, keepdims=True)).sum(-1, keepdims=True))
    p, q = log(want.astype('f8')), log(got.astype('f8'))
    return (float(np.sqrt((d * d).mean())), float(np.abs(d).max()), float((np.exp(p) * (p - q)).sum(-1).mean()),
            float((got.argmax(-1) == want.argmax(-1)).mean()))


if __name__ == '__main__':
    logits(sys.argv[1], [int(i) for i in sys.argv[3].split(',')]).tofile(sys.argv[2])
