#!/usr/bin/env python3
"""train.py - trains the built-in model further on the CPU and writes builtin.gguf.

    train.py --dir DIR --start FILE [--steps N] [--out builtin.gguf]   train (or go on from DIR), export
    train.py --dir DIR --start FILE --export-only --out FILE           export the last checkpoint

Needs python3-torch (Debian 13: 2.6), numpy and Jinja2. All text comes from corpus.py and calls.py,
drawn anew for every step from (SEED, step), so nothing is read but this folder and --start, and a
run can be stopped (SIGTERM) and taken up again at its last checkpoint in DIR. The same command on
the same machine type gives nearly the same model; on another CPU the last bits of the sums differ.

HOW THE COMMITTED FILE WAS MADE. In three parts. The file of commit bb02fc3 was trained from scratch by
the script of commit fae0ed4: corpus.py alone, 1024 positions, no tools; 2500 steps, 10.4 M tokens.
From it the file of commit 56ad026 was made by the script of that commit, which taught it 32768
positions and the form of calls: 2900 steps, 14.0 M tokens. It chose among tools hardly better than by
chance. This script began with its weights (begin): 1983 steps, 6.7 M tokens, 78 minutes on two
cores shared with a dozen other programs. It was stopped and its MIX, calls.py and world.py were
changed on the way as validation showed what was weak, so the same command now does not give the same
file: CHOICE came at step 362, renamed tools at 654; until 951 world.py had a few more ways to ask,
names and descriptions (what is tested became easier by that). MIX and RATE are what was in force.
What came of it, on prompts never seen, over HTTPS on the processor: 208 of 210 of the old skills and 71
of 78 questions (the file before: 209 and 69); call 23 of 25, calls 25, result 25, decline 25, find 24,
long 10 of 10.
What made the difference, this time. The world is smaller: 44 tools with a few names each (world.py)
in the place of names of which no language knows, and the template writes a tool as the call that it
wants: a conversation with three tools is 154 tokens in the place of 379. After 600 steps the form,
the arguments and the results were right, and the name was a guess at what such a tool is mostly
called: of tools whose names say nothing the first token was right in 3 %, since in the examples
guessing was nearly enough. Practice with such tools (Tool, renamed) taught it to look: 74 % after 46
steps, and declines where no tool fits 23 % -> 84 %. The first token of a name and of an answer, where
it chooses, count more in the loss (weigh).
What made it in the parts before: denormal numbers flushed to zero (twice the speed); attention that
had become so sharp that nothing from afar was learnt, softened once; many short questions about the
same tools or facts in one conversation, so that many tokens teach choosing. A slow decay of q and k
(DECAY) keeps them soft. Autocast to bf16 was tried: 6 times slower on this CPU type.

Shape: llama, 4 layers x 256, 4 heads and 2 kv heads of 64, ffn 768, vocabulary 3328, untied output.
The vocabulary is the starting file's, its last REPLACED merges exchanged for what stands in the calls
of this world, with one token for each mark of the template.
A step is some tokens of short conversations and some of conversations with tools, sorted by length
into micro-batches: one conversation a row, so that none sees another.  The loss is on the
assistant's tokens only; the last layer computes nothing else.
Optimisers: Muon (momentum, orthogonalised by five Newton-Schulz steps; Jordan et al. 2024) for
the matrices inside the layers, AdamW for embedding, output and norms. Learning rate: warm-up,
then the points of RATE.

RoPE is trained on half-split pairs (i, i+32) and q, k are permuted at export: GGUF's llama wants
the interleaved pairs (2i, 2i+1).

Long context: windows are short, positions are not (PoSE: Zhu et al. 2023). skip() leaves gaps between
lines, as if more text had stood there, so that a window of n tokens reaches up to position N_CTX.
The ancestor's 16 quickest pairs turn as they did, so that it loses nothing; the slower ones, which
turned by less than a radian in its short rows, turn slower still: nine of them by less than a
quarter turn in N_CTX positions, so that what they say does not depend on the distance
(frequencies; the file has the quotients as rope_freqs.weight).
Skipping alone does not show how many keys compete in a long text: often() counts the lines that say
nothing of what is asked as if each stood there many times, by adding the logarithm to its scores.
What a token costs, forward and backward: 6 x 3.1 M in the matrices = 19 MFLOP, and in attention 4
layers x 4 heads x 64 x T/2 x 4 x 3.5 = 7.2 k x T: 0.7 MFLOP in a row of T = 100 tokens, 7 at 1024, 29
at 4096 and 235 at 32768.
"""
import argparse
import json
import math
import os
import random
import re
import shutil
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

for v in ('OMP_NUM_THREADS',
          'OPENBLAS_NUM_THREADS'):      # before torch: one thread a process, see Worker
    os.environ[v] = '1'
import torch
import torch.multiprocessing as mp
import torch.nn.functional as F

import bpe
import calls
import corpus
import gguf
import template

SEED = 20260
N_VOCAB, N_LAYER, N_EMBD, N_HEAD, N_KV, HEAD_DIM, N_FF = 3328, 4, 256, 4, 2, 64, 768
N_CTX, ROPE_BASE, EPS = 32768, 1e4, 1e-5
MICRO = 1024                                   # tokens of a micro-batch
WINDOW = 1024                                  # tokens of a row
WORKERS = 2                                    # processes; part of what makes a run repeatable
LR_MUON, LR_ADAM, DECAY, WARMUP = 0.02, 0.004, 0.1, 40
KINDS = corpus.SKILLS + ('qa', 'unknown', 'limits')
RATE = [(0, 0.6), (1060, 0.6), (1300, 0.45), (1400, 0.38), (1710, 0.18), (1985, 0.02)]  # linear between
NAME_AT, CHOICE, CALLS = 6, 6, 10  # the tokens from <tool_call> to the name of the tool; see weigh
REPLACED = 250                     # of the starting file's merges, the last
# from step, weights in the order of KINDS, share of questions that are roughened (corpus.roughen),
# how wide the ranges are that corpus.py draws from, tokens of a step that are corpus.py's; then for
# calls.py: tokens of a step, shares of renamed tools, of practice (calls.finds), of long ones
OLD = (2.0, 1.4, 2.8, 3.2, 0.3, 0.8, 0.6, 3.0, 0.6, 0.2)
LATE = (2.0, 1.4, 2.8, 2.4, 0.3, 1.2, 0.6, 3.4, 0.8, 0.2)
MIX = [
    (0,    OLD,  0.6, 2, 512, 2048, 0.0,  0.1,  0.06),
    (170,  OLD,  0.6, 2, 640, 2560, 0.0,  0.2,  0.15),
    (480,  LATE, 0.6, 2, 768, 2560, 0.0,  0.3,  0.15),
    (654,  LATE, 0.6, 2, 640, 2560, 0.65, 0.1,  0.06),
    (768,  LATE, 0.6, 2, 704, 2560, 0.4,  0.15, 0.2),
    (840,  LATE, 0.6, 2, 640, 2432, 0.55, 0.05, 0.06),
    (951,  LATE, 0.6, 2, 640, 2432, 0.35, 0.05, 0.06),
    (1060, LATE, 0.6, 2, 640, 2432, 0.45, 0.04, 0.06),
    (1307, LATE, 0.6, 2, 640, 2432, 0.45, 0.03, 0.03),
    (1407, LATE, 0.6, 2, 600, 2432, 0.4,  0.03, 0.03),
    (1710, LATE, 0.6, 2, 600, 2432, 0.25, 0.04, 0.04),
]


def frequencies():
    """radians a position, of the pairs: the head says why"""
    ln = [-math.log(ROPE_BASE) * i / 32 for i in range(17)]
    middle, last = math.log(math.pi / 2 / N_CTX), math.log(1e-6)
    ln += [ln[16] + (middle - ln[16]) * i / 6 for i in range(1, 7)]
    ln += [middle + (last - middle) * i / 9 for i in range(1, 10)]
    return torch.tensor(ln, dtype=torch.float64).exp()


def norm(x, w):
    return F.rms_norm(x, (N_EMBD,), w, EPS)


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        g = torch.Generator().manual_seed(SEED)
        P = torch.nn.Parameter

        def mat(rows, cols, scale):
            return P(torch.randn(rows, cols, generator=g) * scale)
        self.embd = mat(N_VOCAB, N_EMBD, 0.1)
        self.out = P(torch.zeros(N_VOCAB, N_EMBD))
        self.out_norm = P(torch.ones(N_EMBD))
        s = 0.5 / math.sqrt(N_EMBD)
        self.layers = torch.nn.ModuleList()
        for _ in range(N_LAYER):
            m = torch.nn.Module()
            m.norm1, m.norm2 = P(torch.ones(N_EMBD)), P(torch.ones(N_EMBD))
            m.qkv = mat((N_HEAD + 2 * N_KV) * HEAD_DIM, N_EMBD, s)       # q, k, v below each other
            m.o = P(torch.zeros(N_EMBD, N_HEAD * HEAD_DIM))
            m.gu = mat(2 * N_FF, N_EMBD, s)                              # gate, up below each other
            m.down = P(torch.zeros(N_EMBD, N_FF))
            self.layers.append(m)
        ang = torch.outer(torch.arange(N_CTX).double(), frequencies())
        self.cos, self.sin = ang.cos().float(), ang.sin().float()

    def hidden(self, ids, at, often=None, pick=None):
        """at: the position of every token; often: logarithms of how often each stands there; pick:
        whose results are wanted (then [n][N_EMBD])"""
        B, T = ids.shape
        bias = None
        if often is not None:
            bias = torch.full((T, T), -math.inf).triu(1) + often[:, None, None, :]
        x = F.embedding(ids, self.embd)
        cos, sin = self.cos[at][:, :, None, :], self.sin[at][:, :, None, :]
        for m in self.layers:
            qkv = F.linear(norm(x, m.norm1), m.qkv).view(B, T, N_HEAD + 2 * N_KV, HEAD_DIM)
            qk, v = qkv.split((N_HEAD + N_KV, N_KV), 2)
            a, b = qk.float().chunk(2, -1)
            qk = torch.cat((a * cos - b * sin, a * sin + b * cos), -1).to(v.dtype)
            q, k = qk.split((N_HEAD, N_KV), 2)
            k, v = (t.repeat_interleave(N_HEAD // N_KV, 2).transpose(1, 2) for t in (k, v))
            y = F.scaled_dot_product_attention(q.transpose(1, 2), k, v, bias, is_causal=bias is None)
            y = y.transpose(1, 2).reshape(B, T, N_EMBD)
            if pick is not None and m is self.layers[-1]:
                x, y = x[pick], y[pick]
            x = x + F.linear(y, m.o)
            gate, up = F.linear(norm(x, m.norm2), m.gu).chunk(2, -1)
            x = x + F.linear(F.silu(gate) * up, m.down)
        return x

    def logits(self, x):
        return F.linear(norm(x, self.out_norm), self.out).float()


def orthogonal(g):
    """Newton-Schulz: the nearest (semi-)orthogonal matrix, roughly"""
    x = g / (g.norm() + 1e-7)
    tall = x.size(0) > x.size(1)
    x = x.T if tall else x
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    def __init__(self, groups):
        super().__init__(groups, dict(lr=0.0, momentum=0.95))

    def step(self):
        with ThreadPoolExecutor(WORKERS, initializer=torch.set_flush_denormal,
                                initargs=(True,)) as threads:         # the other workers wait meanwhile
            list(threads.map(lambda x: self.change(*x),
                             [(group, p) for group in self.param_groups for p in group['params']]))

    @torch.no_grad()
    def change(self, group, p):
        st = self.state[p]
        if not st:
            st['buf'] = torch.zeros_like(p)
        st['buf'].lerp_(p.grad, 1 - group['momentum'])
        u = p.grad.lerp(st['buf'], group['momentum'])
        decays = (DECAY, DECAY, 0.0) if len(group['rows']) == 3 else (0.0, 0.0)     # q, k; not v
        for part, w, decay in zip(u.split(group['rows']), p.split(group['rows']), decays):
            tall = max(1, part.size(0) / part.size(1)) ** 0.5
            w.mul_(1 - group['lr'] * decay)
            w.add_(orthogonal(part), alpha=-group['lr'] * tall)


def rate(step):
    (x0, y0), (x1, y1) = [(p, q) for p, q in zip(RATE, RATE[1:]) if p[0] <= step][-1]
    return min(1.0, (step + 1) / WARMUP) * (y0 + (y1 - y0) * (step - x0) / (x1 - x0))


def optimisers(model):
    ls = model.layers
    muon = Muon([dict(params=[m.qkv for m in ls], rows=[N_HEAD * HEAD_DIM, N_KV * HEAD_DIM,
                                                        N_KV * HEAD_DIM]),
                 dict(params=[m.o for m in ls], rows=[N_EMBD]),
                 dict(params=[m.gu for m in ls], rows=[N_FF, N_FF]),
                 dict(params=[m.down for m in ls], rows=[N_EMBD])])
    norms = [model.out_norm] + [n for m in ls for n in (m.norm1, m.norm2)]
    adam = torch.optim.AdamW([dict(params=[model.embd], k=2.0), dict(params=[model.out], k=1.0),
                              dict(params=norms, k=1.0)],
                             lr=0.0, betas=(0.9, 0.95), weight_decay=0.0)
    return muon, adam


# ---- data ------------------------------------------------------------------------------------
def vocabulary(path, merges):
    """`merges` and as many more as fit, for what stands in calls (about 20 s); kept in the working
    folder"""
    if not os.path.exists(path):
        rng, texts = random.Random(SEED), []
        for i in range(2500):
            c, _kind = calls.chat(rng, words=60 if i % 8 == 0 else 0)
            texts += re.split('|'.join(map(re.escape, bpe.SPECIALS + bpe.MARKS)), template.render(c))
        for f in calls.corpus.facts.FACTS:
            texts += [f[1]] * 40
        n = N_VOCAB - 256 - len(bpe.SPECIALS + bpe.MARKS)
        with open(path, 'w') as f:
            json.dump(bpe.train(texts, n, merges), f)
    with open(path) as f:
        return bpe.Bpe(json.load(f))


def begin(model, voc, old, tensors):
    """the weights of another file's tensors into the model. old: that file's vocabulary; a token that
    it has not begins as the mean of the tokens that spell it there"""
    def back(w):                                    # interleaved rows -> half-split rows, per head
        h = w.size(0) // HEAD_DIM
        return w.view(h, HEAD_DIM // 2, 2, N_EMBD).transpose(1, 2).reshape(w.shape)
    t = {k: torch.tensor(v) for k, v in tensors.items()}
    plain = bpe.SPECIALS + bpe.MARKS
    spelt = [[old.ids[w]] if w in old.ids
             else [i for p in bpe.PRE.findall(w) for i in old.piece(p)] if w in plain
             else [old.ids[p] for p in old.parts(w)] for w in voc.tokens]
    with torch.no_grad():
        for own, name in ((model.embd, 'token_embd'), (model.out, 'output')):
            w = t[name + '.weight']
            own.copy_(torch.stack([w[ids].mean(0) for ids in spelt]))
        model.out_norm.copy_(t['output_norm.weight'])
        for i, m in enumerate(model.layers):
            b = {k: t['blk.%d.%s.weight' % (i, k)] for k in (
                'attn_norm', 'attn_q', 'attn_k', 'attn_v', 'attn_output', 'ffn_norm', 'ffn_gate',
                'ffn_up', 'ffn_down')}
            m.norm1.copy_(b['attn_norm'])
            m.norm2.copy_(b['ffn_norm'])
            m.qkv.copy_(torch.cat([back(b['attn_q']), back(b['attn_k']), b['attn_v']]))
            m.o.copy_(b['attn_output'])
            m.gu.copy_(torch.cat([b['ffn_gate'], b['ffn_up']]))
            m.down.copy_(b['ffn_down'])


def pad(rows, fill):
    n = max(map(len, rows))
    return torch.tensor([r + [fill] * (n - len(r)) for r in rows])


def said(msgs):
    """corpus.py's messages as a conversation"""
    return {'messages': [{'role': r, 'content': t} for r, t in msgs]}


def skip(rng, n, ends, reach):
    """positions of n tokens that reach up to `reach`: up to three gaps behind ends of lines"""
    at, left = list(range(n)), max(reach - n, 0)
    cuts = sorted(rng.sample(ends, min(len(ends), rng.randint(1, 3)))) if left else []
    marks = sorted(rng.randint(0, left) for _ in cuts[1:]) + [left]
    for cut, gap in zip(cuts, [b - a for a, b in zip([0] + marks, marks)]):
        for i in range(cut, n):
            at[i] += gap
    return at


def often(voc, ids, ends, facts, times):
    """logarithms of how often each token stands there: the lines of the system text that say nothing
    of what is asked `times` times"""
    out, start = [0.0] * len(ids), 0
    stop = next((i for i, t in enumerate(ids) if t in (voc.im_end, voc.ids['<tools>'])), 0)
    for end in ends:
        if end > stop:
            break
        if voc.decode(ids[start:end]).strip() not in facts:
            out[start:end] = [math.log(times)] * (end - start)
        start = end
    return out


def weigh(voc, ids, learn):
    """how much a token's loss counts: where there are tools, the first of a tool's name, which chooses
    it, CHOICE times, and the first of an answer, where it calls or not, CALLS times"""
    out = list(learn)
    for i, t in enumerate(ids) if voc.ids['<tools>'] in ids else ():
        if learn[i] and t == voc.ids['<tool_call>']:
            for k, weight in ((NAME_AT, CHOICE), (NAME_AT + 1, CHOICE // 2)):
                out[i + k] *= weight
        if learn[i] and not learn[i - 1]:
            out[i] *= CALLS
    return out


def row(voc, conversation, rng=None, reach=0, crowd=False):
    """(ids, learn, positions, often). crowd: as if so many tokens stood there as positions"""
    ids, learn, ends = voc.chat(template.render(conversation))
    learn = weigh(voc, ids, learn)
    ends = [e for e in ends if e < len(ids)]
    if not reach:
        return ids, learn, list(range(len(ids))), None
    many = often(voc, ids, ends, conversation.get('facts', ()), max(reach / len(ids), 1)) \
        if crowd else None
    return ids, learn, skip(rng, len(ids), ends, reach), many


def micro_batches(voc, rows, limit):
    """rows -> [(ids, positions, often or None, target, learn)], each a rectangle of at most `limit`
    tokens, or one row"""
    out, cur = [], []
    for r in sorted(rows, key=lambda r: (r[3] is not None, len(r[0]))):
        if cur and ((len(cur) + 1) * len(r[0]) > limit or (r[3] is None) != (cur[0][3] is None)):
            out.append(cur)
            cur = []
        cur.append(r)
    out.append(cur)
    return [(pad([r[0][:-1] for r in c], voc.eot), pad([r[2][:-1] for r in c], 0),
             None if c[0][3] is None else pad([r[3][:-1] for r in c], 0.0),
             pad([r[0][1:] for r in c], voc.eot), pad([r[1][1:] for r in c], 0))
            for c in out]


def reach_of(rng, n):
    """how far a long row's positions go: each doubling up to N_CTX as often"""
    return int(math.exp(rng.uniform(math.log(n), math.log(N_CTX))))


def row_with_tools(rng, voc, long_share, renamed):
    """a conversation of calls.py that fits the window"""
    while True:
        far = rng.random() < long_share
        c, _kind = calls.chat(rng, words=rng.randint(20, 250) if far else 0,
                              renamed=rng.random() < renamed)
        ids, learn, at, many = row(voc, c)
        if len(ids) > WINDOW:
            continue
        if far or rng.random() < 0.15:          # also: as if the tools or the turns stood far apart
            return row(voc, c, rng, reach_of(rng, len(ids)), far and rng.random() < 0.6)
        return ids, learn, at, many


def practice(rng, voc, long_share):
    while True:
        c = calls.finds(rng)
        ids, learn, at, many = row(voc, c)
        if len(ids) > WINDOW:
            continue
        if rng.random() < long_share:
            return row(voc, c, rng, reach_of(rng, len(ids)), True)
        return ids, learn, at, many


def batch(voc, step):
    rng = random.Random(SEED * 1000003 + step)
    _, mix, rough, wide, n_plain, n_tools, renamed, share, long_share = [
        m for m in MIX if m[0] <= step][-1]
    rows, n = [], 0
    while n < n_plain:
        r = row(voc, said(corpus.chat(rng, KINDS, mix, rough=rough, wide=wide)[0]))
        if len(r[0]) <= WINDOW:
            rows.append(r)
            n += len(r[0])
    while n_tools > 0:
        rows.append(practice(rng, voc, long_share) if rng.random() < share
                    else row_with_tools(rng, voc, long_share, renamed))
        n, n_tools = n + len(rows[-1][0]), n_tools - len(rows[-1][0])
    return micro_batches(voc, rows, MICRO), n


def right(model, voc, rows):
    """the share of rows whose every token is the first choice (greedy decoding)"""
    good = 0
    for ids, at, many, target, learn in micro_batches(voc, rows, 2048):
        learn = learn > 0
        wrong = torch.zeros_like(learn)
        with torch.no_grad():
            top = model.logits(model.hidden(ids, at, many, learn)).argmax(-1)
        wrong[learn] = top != target[learn]
        good += (~wrong.any(-1)).sum().item()
    return good / len(rows)


def validate(model, voc, n=48, split=corpus.VALID):
    """per kind; far: a call whose positions go up to the end of the context"""
    res = {}
    for kind in KINDS:
        rng = random.Random(SEED + 7)
        res[kind] = right(model, voc, [row(voc, said(corpus.chat(rng, [kind], [1], split, multi=0)[0]))
                                       for _ in range(n)])
    for kind in calls.KINDS + ('far',):
        rng = random.Random(SEED + 7)
        long = kind in ('find', 'far')
        chats = [calls.chat(rng, split, 'call' if kind == 'far' else kind, 150 if long else 0)[0]
                 for _ in range(n // 2)]
        res[kind] = right(model, voc, [row(voc, c, rng, N_CTX if long else 0, long) for c in chats])
    return res


def cost(micro):
    """of a micro-batch, in matrix tokens: attention costs as much as the matrices at 2700 tokens"""
    rows, length = micro[0].shape
    return rows * length * (1 + length / 2700)


def part_of(micros, rank):
    """worker `rank`'s micro-batches: the dearest first, each to whom has least"""
    shares = [[0.0, []] for _ in range(WORKERS)]
    for m in sorted(micros, key=cost, reverse=True):
        least = min(shares, key=lambda s: s[0])
        least[0] += cost(m)
        least[1].append(m)
    return shares[rank][1]


def share_of_step(model, voc, step, rank):
    """worker `rank`'s part of a step into p.grad -> (its share of the loss, the step's tokens)"""
    mbs, n = batch(voc, step)
    n_learn = sum(m[4].sum().item() for m in mbs)
    for p in model.parameters():
        p.grad.zero_()
    total = 0.0
    for ids, at, many, target, learn in part_of(mbs, rank):
        own = learn > 0
        loss = F.cross_entropy(model.logits(model.hidden(ids, at, many, own)), target[own],
                               reduction='none') @ learn[own].float() / n_learn
        loss.backward()
        total += loss.item()
    return total, n


class Team:
    """WORKERS processes with one thread each over shared weights.  On a machine that is busy with
    other things this is many times faster than threads inside the operations, which wait for each
    other hundreds of times a step."""

    def __init__(self, model, voc):
        self.model, self.voc, self.pipes = model, voc, []
        model.share_memory()
        for p in model.parameters():
            p.grad = torch.zeros_like(p)
        self.grads = []
        for rank in range(1, WORKERS):
            grads = [torch.zeros_like(p).share_memory_() for p in model.parameters()]
            here, there = mp.Pipe()
            mp.Process(target=Team.work, args=(model, voc, rank, grads, there), daemon=True).start()
            self.pipes.append(here)
            self.grads.append(grads)

    @staticmethod
    def work(model, voc, rank, grads, pipe):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        torch.set_flush_denormal(True)
        for p, g in zip(model.parameters(), grads):
            p.grad = g
        while (step := pipe.recv()) is not None:
            pipe.send(share_of_step(model, voc, step, rank))

    def gradients(self, step):
        for pipe in self.pipes:
            pipe.send(step)
        total, n = share_of_step(self.model, self.voc, step, 0)
        for pipe, grads in zip(self.pipes, self.grads):
            total += pipe.recv()[0]
            for p, g in zip(self.model.parameters(), grads):
                p.grad += g
        return total, n

    def end(self):
        for pipe in self.pipes:
            pipe.send(None)


def export(model, voc, path):
    def perm(w):                                    # half-split rows -> interleaved rows, per head
        h = w.size(0) // HEAD_DIM
        return w.view(h, 2, HEAD_DIM // 2, N_EMBD).transpose(1, 2).reshape(w.shape)
    t = [('token_embd.weight', model.embd), ('output.weight', model.out),
         ('output_norm.weight', model.out_norm),
         ('rope_freqs.weight', (ROPE_BASE ** (-torch.arange(32).double() / 32) / frequencies()))]
    for i, m in enumerate(model.layers):
        q, k, v = m.qkv.split((N_HEAD * HEAD_DIM, N_KV * HEAD_DIM, N_KV * HEAD_DIM))
        gate, up = m.gu.split((N_FF, N_FF))
        t += [('blk.%d.%s.weight' % (i, name), w) for name, w in (
            ('attn_norm', m.norm1), ('attn_q', perm(q)), ('attn_k', perm(k)), ('attn_v', v),
            ('attn_output', m.o),
            ('ffn_norm', m.norm2), ('ffn_gate', gate), ('ffn_up', up), ('ffn_down', m.down))]
    hp = dict(n_layer=N_LAYER, n_embd=N_EMBD, n_head=N_HEAD, n_kv=N_KV, head_dim=HEAD_DIM,
              n_ff=N_FF, n_ctx=N_CTX,
              rope_base=ROPE_BASE, eps=EPS)
    gguf.write(path, hp, voc, [(n, w.detach().float().numpy()) for n, w in t],
               list(KINDS + calls.KINDS))


def main():
    ap = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter,
                                 description=__doc__)
    ap.add_argument('--dir', required=True)
    ap.add_argument('--start', required=True, help='the model to begin with')
    ap.add_argument('--steps', type=int, default=RATE[-1][0])
    ap.add_argument('--out')
    ap.add_argument('--export-only', action='store_true')
    a = ap.parse_args()
    torch.set_flush_denormal(True)      # twice as fast: a sharp softmax is full of them
    os.makedirs(a.dir, exist_ok=True)
    keys, tensors = gguf.read(a.start)
    old = bpe.Bpe([m.split(' ') for m in keys['tokenizer.ggml.merges']])
    voc = vocabulary(os.path.join(a.dir, 'merges.json'), old.merges[:-REPLACED])
    model = Model()
    begin(model, voc, bpe.Bpe(old.merges), tensors)
    muon, adam = optimisers(model)
    ckpt, step, tokens, spent = os.path.join(a.dir, 'ckpt.pt'), 0, 0, 0.0
    if os.path.exists(ckpt):
        c = torch.load(ckpt, weights_only=True)
        model.load_state_dict(c['model'])
        muon.load_state_dict(c['muon'])
        adam.load_state_dict(c['adam'])
        step, tokens, spent = c['step'], c['tokens'], c['spent']
    team = Team(model, voc)
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    t0 = last = time.time()

    def save():
        torch.save(dict(model=model.state_dict(), muon=muon.state_dict(), adam=adam.state_dict(),
                        step=step, tokens=tokens,
                        spent=spent + time.time() - t0), ckpt + '.new')
        os.replace(ckpt + '.new', ckpt)

    while step < a.steps and not a.export_only and not stop:
        lr = rate(step)
        for g in muon.param_groups:
            g['lr'] = LR_MUON * lr
        for g in adam.param_groups:
            g['lr'] = LR_ADAM * lr * g['k']
        total, n = team.gradients(step)
        muon.step()
        adam.step()
        step, tokens = step + 1, tokens + n
        if step % 20 == 0:
            now = time.time()
            speed = n * 20 / (now - last)
            print('step %d loss %.4f tokens %.2f M  %.0f tokens/s'
                  % (step, total, tokens / 1e6, speed), flush=True)
            last = now
        if step % 100 == 0 or step == a.steps:
            save()
        if step % 150 == 0 or step == a.steps:
            shutil.copy(ckpt, ckpt + '.%d' % step)
            shares = ' '.join('%s %.3f' % x for x in validate(model, voc).items())
            print('valid %d %s' % (step, shares), flush=True)
            last = time.time()
    if not a.export_only:
        save()
        spent += time.time() - t0
        print('stopped at step %d, %.2f M tokens, %.0f s in all' % (step, tokens / 1e6, spent))
    team.end()
    if a.out and not stop:
        export(model, voc, a.out)


if __name__ == '__main__':
    sys.exit(main())
