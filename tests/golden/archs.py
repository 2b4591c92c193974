"""archs.py - every architecture on every device against llama.cpp's recorded log-probabilities (peer/archs.txt), in passes of many rows
and of one; the table of what runs, as the README has it.
"""
import hashlib, os
import numpy as np
import cases, mkarch

HERE = os.path.dirname(os.path.abspath(__file__))
# Limits: mean KL, and the largest error of a recorded log-probability. Keys and values in F16 cost KL 1e-6 to 1e-5.
KL, WORST = 5e-5, 0.08
# The 26 layers of 'deepseek2' in float64 are as recorded (KL 2e-8); with what they keep of tokens in F16 they are off by a KL of 3e-5
# and 0.064 at most, where all is computed exactly otherwise. At position 30 the third and fourth expert of layer 24 are a tie: the
# router gives them 1.9e-4 apart, 1.1e-4 in F16. Passes of one row on Vulkan take the other one: off by 0.107 there, and by 0.012 from
# float64 that takes it too.
TIES = {('deepseek2', 30): 0.15}
# Soft answers hide errors: the first token of a position has at least this much of the probability, as the mean of a model's record. They
# are 0.30 (granite and granitemoe, whose logits are divided) to 0.74 (qwen3, tied). 'llama experts' 0.42, as qwen3moe's 0.42; 'gemma4
# experts' 0.31: its logits are 3.6 wide before a softcap of 30, 4 elsewhere. Its head norms of 0.3 do not soften attention: with a scale of 1
# scores are 1.7 to 2.4 wide, 2.9 elsewhere.
SHARP = 0.25
SPLIT = 33  # of 40 tokens: the rest of a pass takes the kernels for few rows


def recorded():
    """name -> (sha256, [{id: log-probability}])"""
    out = {}
    for line in open(HERE + '/peer/archs.txt'):
        if line[0] == '#': continue
        if line.startswith('= '):
            name, digest = line[2:].split('  ')
            out[name] = (digest.strip(), [])
        else: out[name][1].append({int(p.split(':')[0]): -float(p.split(':')[1]) for p in line.split()})
    return out


def compare(got, rows, ties={}):
    """(mean KL, worst, share of positions with the same first): what is not recorded counts as one. ties: {position: how far off it may
    be}, which is then not the worst"""
    if len(got) != len(rows): raise ValueError('%d positions are compared with %d' % (len(got), len(rows)))
    z = got.astype('f8')
    z -= z.max(1, keepdims=True)
    z -= np.log(np.exp(z).sum(1, keepdims=True))
    kl, worst, top = [], 0.0, 0
    for at, (row, want) in enumerate(zip(z, rows)):
        ids, p = list(want), np.array(list(want.values()))
        q, rest_p = row[ids], max(1 - np.exp(p).sum(), 1e-12)
        rest_q = max(1 - np.exp(q).sum(), 1e-12)
        kl.append((np.exp(p) * (p - q)).sum() + rest_p * np.log(rest_p / rest_q))
        off = np.abs(p - q).max()
        worst = max(worst, off if off > ties.get(at, 0) else 0)
        top += int(row.argmax()) == ids[0]
    return max(float(np.mean(kl)), 0.0), float(worst), top / len(rows)


def run(work, logits, check, skip, only, devices):
    """logits(work, model, ids, device=, batch=) -> (array or None, why); devices: [(column, name)]"""
    known, table = recorded(), {}
    for name in mkarch.MODELS:
        if only and not any(w in 'arch ' + name for w in only): continue
        model = work + '/model.gguf'
        cases.make_arch(model, name)
        if name not in known or known[name][0] != hashlib.sha256(open(model, 'rb').read()).hexdigest():
            check('arch ' + name, False, 'no record of the model made here: run tests/golden/peer/run --record-archs')
            continue
        first = float(np.mean([np.exp(next(iter(row.values()))) for row in known[name][1]]))
        check('arch %s is sharp' % name, first >= SHARP, 'the first token has %.3f of the probability (at least %g)' % (first, SHARP))
        for column, device in devices:
            long = name in cases.ARCH_IDS and column != 'CPU' and os.environ.get('TAWNY_TEST_FULL') != '1'
            for batch in (SPLIT,) if long else (SPLIT, 1):  # 300 passes of one row are a minute on lavapipe
                got, why = logits(work, model, cases.ARCH_IDS.get(name, cases.IDS), device=device, batch=batch)
                if got is None and 'on the processor only' in why:
                    skip('arch %s %s' % (name, column), 'the build says that it runs on the processor only')
                    break
                if got is None or not np.isfinite(got).all():
                    check('arch %s %s %d' % (name, column, batch), False, why or 'not finite')
                    continue
                kl, worst, top = compare(got[-len(known[name][1]):], known[name][1], {at: most for (of, at), most in TIES.items() if of == name})
                check('arch %s %s %d' % (name, column, batch), kl <= KL and worst <= WORST,
                      'KL %.1e (limit %g), worst log-probability off by %.4f (limit %g), top-1 %.3f' % (kl, KL, worst, WORST, top))
                was = table.get((name.split()[0], column), (0.0, 1.0))
                table[name.split()[0], column] = (max(was[0], kl), min(was[1], top))
    return table


# Vectors: 1 - cosine, and the largest error as a share of the vector's length (of scores: of 1). llama.cpp's GELU is a table of half
# floats, off by 2^-12 of each number: 3e-4 of what a network adds, in each of three layers.
COSINE, ERROR = 1e-6, 2e-3


def recorded_vectors():
    """name -> (sha256, {number of tokens: vector})"""
    out = {}
    for line in open(HERE + '/peer/embeddings.txt'):
        if line[0] == '#': continue
        head, digest, numbers = line.rstrip().split('  ')
        name, n = head.rsplit('/', 1)
        out.setdefault(name, (digest, {}))[1][int(n)] = np.array([float(x) for x in numbers.split()])
    return out


def run_vectors(work, vector, check, only, devices):
    """vector(work, model, ids, device=, batch=) -> (array or None, why); in passes of up to 40 rows, and of 5 where the model allows it"""
    known, table = recorded_vectors(), {}
    for name in mkarch.EMBEDDERS:
        if only and not any(w in 'arch ' + name for w in only): continue
        model = work + '/model.gguf'
        cases.make_arch(model, name)
        if name not in known or known[name][0] != hashlib.sha256(open(model, 'rb').read()).hexdigest():
            check('arch ' + name, False, 'no record of the model made here: run tests/golden/peer/run --record-embeddings')
            continue
        for column, device in devices:
            for n, want in known[name][1].items():
                for batch in (512, 5):
                    label = 'arch %s %s %d of %d' % (name, column, n, batch)
                    got, why = vector(work, model, cases.IDS[:n], device=device, batch=batch)
                    if got is None or got.shape != want.shape or not np.isfinite(got).all():
                        check(label, False, why or 'not finite, or %s numbers' % (got.shape,))
                        continue
                    size = np.linalg.norm(want)
                    scores = want.size < 8
                    angle = 0.0 if scores else float(max(1 - got @ want / np.linalg.norm(got) / size, 0))
                    error = float(np.abs(got - want).max() / (1 if scores else size))
                    check(label, angle <= COSINE and error <= ERROR, '1 - cosine %.1e (limit %g), largest error %.1e (limit %g)' % (angle, COSINE, error, ERROR))
                    was = table.get((name, column), (0.0, 0.0))
                    table[name, column] = (max(was[0], angle), max(was[1], error))
    return table


def vectors_text(table, columns):
    """their table of the README: the worst of all lengths and passes"""
    lines = ['| model | %s |' % ' | '.join('%s: 1 - cosine, error' % c for c in columns), '|---|' + '---|' * len(columns)]
    for name in dict.fromkeys(n for n, _ in table):
        cells = [('%.0e, %.0e' % table[name, c] if 'rank' not in name and 'score' not in name else '-, %.0e' % table[name, c][1]) if (name, c) in table else '-' for c in columns]
        lines.append('| `%s` | %s |' % (name, ' | '.join(cells)))
    return '\n'.join(lines)


def text(table, columns):
    """the table of the README: the worse of all models and passes of an architecture"""
    archs = list(dict.fromkeys(a for a, _ in table))
    lines = ['| architecture | %s |' % ' | '.join('%s: KL, top-1' % c for c in columns), '|---|' + '---|' * len(columns)]
    for a in archs:
        cells = ['%.0e, %.3f' % table[a, c] if (a, c) in table else '-' for c in columns]
        lines.append('| `%s` | %s |' % (a, ' | '.join(cells)))
    return '\n'.join(lines)
