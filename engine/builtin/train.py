#!/usr/bin/env python3
"""train.py - trains the built-in model from scratch on the CPU and writes builtin.gguf.

    train.py --dir DIR [--steps N] [--out builtin.gguf]     train (or go on from DIR), then export
    train.py --dir DIR --export-only --out FILE             export the last checkpoint

Needs python3-torch (Debian 13: 2.6), numpy and Jinja2. All text comes from corpus.py and calls.py,
drawn anew for every step from (SEED, step), so nothing is read but this folder and a run can be
stopped (SIGTERM) and taken up again at its last checkpoint in DIR. The same command on the same
machine type gives the same model; on another CPU the last bits of the sums differ, and the weights
with them.

PREPARED, NOT TRAINED YET: tools, the long context and all that stands for them here (calls.py,
template.jinja, `long` and `tools` in MIX, skips, N_CTX and ROPE_BASE). The committed builtin.gguf
was made by this script before them, as of commit fae0ed4: corpus.py alone, 1024 positions, rope base
10000, a template without tools; 2500 steps, 10.4 M tokens and 62 minutes on two cores shared with
other work. Its file has no key tawny.learnt, which the next one will have. The skills of corpus.py
get as many tokens as they had; with the tools it will be 15.6 M tokens, 340 TFLOP instead of 208:
about 100 minutes on the same cores. Autocast to bf16 was tried: 6 times slower on this CPU type.
A trial of 0.4 M tokens, nearly all with tools, brought the loss from 8.0 to 2.1; 46 of its 50 answers
to held-out questions were calls that parse, none yet the right one.

Shape: llama, 4 layers x 256, 4 heads and 2 kv heads of 64, ffn 768, vocabulary 3072, untied output.
A step is BATCH tokens of short conversations and some of conversations with tools, sorted by length
into micro-batches: one conversation a row, so that none sees another.  The loss is on the
assistant's tokens only.
Optimisers: Muon (momentum, orthogonalised by five Newton-Schulz steps; Jordan et al. 2024) for
the matrices inside the layers, AdamW for embedding, output and norms. Learning rate: warm-up,
then the points of RATE. MIX says how often each kind of
example is drawn from which step on; it was shifted to the weak skills as validation showed them.

RoPE is trained on half-split pairs (i, i+32) and q, k are permuted at export: GGUF's llama wants
the interleaved pairs (2i, 2i+1).

Long context: windows are short, positions are not (PoSE: Zhu et al. 2023). skip() leaves gaps between
lines, as if more text had stood there, so that a window of n tokens reaches up to position N_CTX.
ROPE_BASE: the least of 1, 1.5, 2, 3 million for which the sum of cos(m theta_i) over the 32 pairs is
not negative at any distance m < N_CTX: below it a query finds far keys worse than random ones (Men
et al. 2024). What a token costs, forward and backward: 6 x 3.1 M in the matrices = 19 MFLOP, and in
attention 4 layers x 4 heads x 64 x T/2 x 4 x 3.5 = 7.2 k x T: 0.7 MFLOP in a row of T = 100 tokens,
7 at 1024, 29 at 4096 and 235 at 32768. So a skipped window of 1024 costs 1.3 times what short rows
cost, a true one of 32768 13 times. Skipping alone does not show how many keys compete in a long text:
for that every EIGHTH step late in the run has a row of up to WIDE true tokens (197 GFLOP each: 22 of
the run's 340 TFLOP).
"""
import argparse
import json
import math
import os
import random
import re
import signal
import sys
import time

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
N_VOCAB, N_LAYER, N_EMBD, N_HEAD, N_KV, HEAD_DIM, N_FF = 3072, 4, 256, 4, 2, 64, 768
N_CTX, ROPE_BASE, EPS = 32768, 2e6, 1e-5
BATCH, MICRO = 4096, 1024                      # tokens
WINDOW, WIDE, EIGHTH = 1024, 4096, 8           # tokens of a row, of one in every EIGHTH late step
WORKERS = 2                                    # processes; part of what makes a run repeatable
LR_MUON, LR_ADAM, WARMUP = 0.02, 0.004, 40
KINDS = corpus.SKILLS + ('qa', 'unknown', 'limits')
RATE = [(0, 1.0), (1000, 1.0), (1600, 0.4), (2500, 0.0)]      # of the learning rates, linear between
# from step, weights in the order of KINDS, share of questions that are roughened (corpus.roughen),
# how wide the ranges are that corpus.py draws from; then for calls.py: a step's tokens of
# conversations with tools, the share of them that is long, whether WIDE rows come
MIX = [
    #       copy reverse add count capital upper json qa unknown limits
    (0,    (1.2, 1.8,    2.5, 0.7, 0.6,    0.8,  0.7, 3.0, 0.4,  0.15), 0.0, 0, 1024, 0.0, 0),
    (740,  (1.6, 1.8,    3.5, 1.3, 0.3,    0.9,  0.5, 2.8, 0.7,  0.25), 0.4, 0, 2048, 0.2, 0),
    (1000, (2.2, 1.6,    2.8, 2.0, 0.35,   1.2,  0.5, 2.4, 0.6,  0.2),  0.4, 0, 2048, 0.3, 0),
    (1600, (2.4, 1.6,    3.2, 2.8, 0.3,    0.9,  0.6, 2.0, 0.5,  0.2),  0.4, 1, 2048, 0.4, 1),
    (1800, (2.2, 1.5,    3.2, 2.2, 0.3,    0.8,  0.6, 2.8, 0.6,  0.2),  0.6, 1, 2048, 0.4, 1),
    (1900, (2.0, 1.4,    2.8, 3.2, 0.3,    0.8,  0.6, 2.6, 0.6,  0.2),  0.6, 2, 2048, 0.4, 1),
]


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
        freq = ROPE_BASE ** (-torch.arange(0, HEAD_DIM, 2).float() / HEAD_DIM)
        ang = torch.outer(torch.arange(N_CTX).double(), freq.double())
        self.cos, self.sin = ang.cos().float(), ang.sin().float()

    def hidden(self, ids, at):
        """at: the position of every token"""
        B, T = ids.shape
        x = F.embedding(ids, self.embd)
        cos, sin = self.cos[at][:, :, None, :], self.sin[at][:, :, None, :]
        for m in self.layers:
            qkv = F.linear(norm(x, m.norm1), m.qkv).view(B, T, N_HEAD + 2 * N_KV, HEAD_DIM)
            qk, v = qkv.split((N_HEAD + N_KV, N_KV), 2)
            a, b = qk.float().chunk(2, -1)
            qk = torch.cat((a * cos - b * sin, a * sin + b * cos), -1).to(v.dtype)
            q, k = qk.split((N_HEAD, N_KV), 2)
            k, v = (t.repeat_interleave(N_HEAD // N_KV, 2).transpose(1, 2) for t in (k, v))
            y = F.scaled_dot_product_attention(q.transpose(1, 2), k, v, is_causal=True)
            x = x + F.linear(y.transpose(1, 2).reshape(B, T, N_EMBD), m.o)
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

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group['params']:
                st = self.state[p]
                if not st:
                    st['buf'] = torch.zeros_like(p)
                st['buf'].lerp_(p.grad, 1 - group['momentum'])
                u = p.grad.lerp(st['buf'], group['momentum'])
                for part, w in zip(u.split(group['rows']), p.split(group['rows'])):
                    tall = max(1, part.size(0) / part.size(1)) ** 0.5
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
def vocabulary(path):
    """trains the vocabulary once (about 20 s) and keeps it in the working folder"""
    if not os.path.exists(path):
        rng, texts = random.Random(SEED), []
        for _ in range(60000):
            msgs, _kind = corpus.chat(rng, KINDS, MIX[0][1], multi=0)
            texts += [t for _, t in msgs]
        for i in range(12000):
            c, _kind = calls.chat(rng, words=100 if i % 8 == 0 else 0)
            texts += re.split('|'.join(map(re.escape, bpe.SPECIALS + bpe.MARKS)), template.render(c))
        texts += ['system\n', 'user\n', 'assistant\n', 'tool\n'] * 60000
        # one token for each word in each form: copying and capital letters then map token to token
        for w in corpus.WORDS:
            texts += [w, ' ' + w, w.upper(), ' ' + w.upper()] * 3000
        for w in corpus.NAMES + corpus.CITIES:
            texts += [w, ' ' + w] * 3000
        with open(path, 'w') as f:
            json.dump(bpe.train(texts, N_VOCAB - 256 - len(bpe.SPECIALS + bpe.MARKS)), f)
    with open(path) as f:
        return bpe.Bpe(json.load(f))


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


def row(voc, conversation, rng=None, reach=0):
    """(ids, learn, positions)"""
    ids, learn, ends = voc.chat(template.render(conversation))
    ends = [e for e in ends if e < len(ids)]
    return ids, learn, skip(rng, len(ids), ends, reach) if reach else list(range(len(ids)))


def micro_batches(voc, rows, limit):
    """rows -> [(ids, positions, target, learn)], each a rectangle of at most `limit` tokens, or one
    row"""
    out, cur = [], []
    for r in sorted(rows, key=lambda r: len(r[0])):
        if cur and (len(cur) + 1) * len(r[0]) > limit:
            out.append(cur)
            cur = []
        cur.append(r)
    out.append(cur)
    return [(pad([r[0][:-1] for r in c], voc.eot), pad([r[2][:-1] for r in c], 0),
             pad([r[0][1:] for r in c], voc.eot), pad([r[1][1:] for r in c], 0).bool())
            for c in out]


def reach_of(rng, n):
    """how far a long row's positions go: each doubling up to N_CTX as often as the others"""
    return int(math.exp(rng.uniform(math.log(n), math.log(N_CTX))))


def row_with_tools(rng, voc, long_share, window):
    """a conversation of calls.py that fits the window; window > WINDOW: one that nearly fills it"""
    wide = window > WINDOW
    while True:
        far = wide or rng.random() < long_share
        words = rng.randint(window // 3, window // 2) if wide else rng.randint(20, 400) if far else 0
        c, _kind = calls.chat(rng, words=words)
        ids, learn, at = row(voc, c)
        if len(ids) > window:
            continue
        if far or rng.random() < 0.15:          # also: as if the tools or the turns stood far apart
            ids, learn, at = row(voc, c, rng, reach_of(rng, len(ids)))
        return ids, learn, at


def batch(voc, step):
    rng = random.Random(SEED * 1000003 + step)
    _, mix, rough, wide, n_tools, long_share, true_long = [m for m in MIX if m[0] <= step][-1]
    rows, n = [], 0
    while n < BATCH:
        r = row(voc, said(corpus.chat(rng, KINDS, mix, rough=rough, wide=wide)[0]))
        if len(r[0]) <= WINDOW:
            rows.append(r)
            n += len(r[0])
    if true_long and step % EIGHTH == 0:
        rows.append(row_with_tools(rng, voc, 1.0, WIDE))
        n += len(rows[-1][0])
    while n_tools > 0:
        rows.append(row_with_tools(rng, voc, long_share, WINDOW))
        n, n_tools = n + len(rows[-1][0]), n_tools - len(rows[-1][0])
    return micro_batches(voc, rows, MICRO), n


def right(model, voc, rows):
    """the share of rows whose every token is the first choice (greedy decoding)"""
    good = 0
    for ids, at, target, learn in micro_batches(voc, rows, 4096):
        with torch.no_grad():
            top = model.logits(model.hidden(ids, at)).argmax(-1)
        good += ((top == target) | ~learn).all(-1).sum().item()
    return good / len(rows)


def validate(model, voc, n=96, split=corpus.VALID):
    """per kind; far: a call whose positions go up to the end of the context"""
    res = {}
    for kind in KINDS:
        rng = random.Random(SEED + 7)
        res[kind] = right(model, voc, [row(voc, said(corpus.chat(rng, [kind], [1], split, multi=0)[0]))
                                       for _ in range(n)])
    for kind in calls.KINDS + ('far',):
        rng = random.Random(SEED + 7)
        words = 150 if kind in ('find', 'far') else 0
        chats = [calls.chat(rng, split, 'call' if kind == 'far' else kind, words)[0]
                 for _ in range(n // 3)]
        reach = N_CTX if kind in ('find', 'far') else 0
        res[kind] = right(model, voc, [row(voc, c, rng, reach) for c in chats])
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
    n_learn = sum(m[3].sum().item() for m in mbs)
    for p in model.parameters():
        p.grad.zero_()
    total = 0.0
    for ids, at, target, learn in part_of(mbs, rank):
        loss = F.cross_entropy(model.logits(model.hidden(ids, at)[learn]), target[learn],
                               reduction='sum') / n_learn
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
         ('output_norm.weight', model.out_norm)]
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
    ap.add_argument('--steps', type=int, default=RATE[-1][0])
    ap.add_argument('--out')
    ap.add_argument('--export-only', action='store_true')
    a = ap.parse_args()
    os.makedirs(a.dir, exist_ok=True)
    voc = vocabulary(os.path.join(a.dir, 'merges.json'))
    model = Model()
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
        if step % 100 == 0:
            save()
        if step % 200 == 0 or step == a.steps:
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
