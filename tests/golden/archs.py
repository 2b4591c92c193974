"""archs.py - every architecture on every device against llama.cpp's recorded log-probabilities (peer/archs.txt), in passes of many rows
and of one; the table of what runs, as the README has it.
"""
import hashlib, os
import numpy as np
import cases, mkarch

HERE = os.path.dirname(os.path.abspath(__file__))
# Limits: mean KL, and the largest error of a recorded log-probability. Keys and values in F16 cost KL 1e-6 to 1e-5.
KL, WORST = 5e-5, 0.08
# 26 layers: their keys and values in F16 alone cost KL 3e-5 on the processor, with its exact products.
WORST_OF = {'deepseek2': 0.15}
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


def compare(got, rows):
    """(mean KL, worst, share of positions with the same first): what is not recorded counts as one"""
    z = got.astype('f8')
    z -= z.max(1, keepdims=True)
    z -= np.log(np.exp(z).sum(1, keepdims=True))
    kl, worst, top = [], 0.0, 0
    for row, want in zip(z, rows):
        ids, p = list(want), np.array(list(want.values()))
        q, rest_p = row[ids], max(1 - np.exp(p).sum(), 1e-12)
        rest_q = max(1 - np.exp(q).sum(), 1e-12)
        kl.append((np.exp(p) * (p - q)).sum() + rest_p * np.log(rest_p / rest_q))
        worst = max(worst, np.abs(p - q).max())
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
        for column, device in devices:
            for batch in (SPLIT, 1):
                got, why = logits(work, model, cases.IDS, device=device, batch=batch)
                if got is None and 'on the processor only' in why:
                    skip('arch %s %s' % (name, column), 'the build says that it runs on the processor only')
                    break
                if got is None or not np.isfinite(got).all():
                    check('arch %s %s %d' % (name, column, batch), False, why or 'not finite')
                    continue
                kl, worst, top = compare(got, known[name][1])
                most = WORST_OF.get(name, WORST)
                check('arch %s %s %d' % (name, column, batch), kl <= KL and worst <= most,
                      'KL %.1e (limit %g), worst log-probability off by %.4f (limit %g), top-1 %.3f' % (kl, KL, worst, most, top))
                was = table.get((name.split()[0], column), (0.0, 1.0))
                table[name.split()[0], column] = (max(was[0], kl), min(was[1], top))
    return table


def text(table, columns):
    """the table of the README: the worse of all models and passes of an architecture"""
    archs = list(dict.fromkeys(a for a, _ in table))
    lines = ['| architecture | %s |' % ' | '.join('%s: KL, top-1' % c for c in columns), '|---|' + '---|' * len(columns)]
    for a in archs:
        cells = ['%.0e, %.3f' % table[a, c] if (a, c) in table else '-' for c in columns]
        lines.append('| `%s` | %s |' % (a, ' | '.join(cells)))
    return '\n'.join(lines)
