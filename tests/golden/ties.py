"""ties.py - a wrong answer is told from a tie.

Half floats move what a router or an index reads by about 1e-3. Where the last that is chosen and the first that is not are nearer than
that, either is right, and answers behind it differ by far more than the error that made them differ; a recurrent state carries them on to
all later positions. So a device is compared with float64 (exact.py) that takes the device's side in such ties, found one by one.
"""
import archs, cases, exact_deepseek4, exact_qwen35moe
import numpy as np

MODELS = {'qwen35moe': exact_qwen35moe.Model, 'deepseek4': exact_deepseek4.Model}
NEAR = 2e-3          # margins (exact.py) that are ties
OFF = 4 * archs.KL   # of one position; the mean of all has archs.KL
RECORDED = 1e-6      # KL that float64 may be off by from what is recorded


def expected(want):
    """float64 logits as the recorded log-probabilities: the largest of each position"""
    z = want - want.max(1, keepdims=True)
    z -= np.log(np.exp(z).sum(1, keepdims=True))
    return [{int(i): float(row[i]) for i in np.argsort(-row)[:cases.ARCH_TOP]} for row in z]


def off(got, want): return [archs.compare(got[t:t + 1], expected(want[t:t + 1]))[0] for t in range(len(want))]


def taking_sides(model, ids, got):
    """(logits of float64, the ties in which the other side was taken): from the first position on that is off, as long as a tie explains
    it, which is one whose other side is nearer to what the device says there"""
    swaps = set()
    want, margins = model.logits(ids, swaps)
    while True:
        apart = off(got, want)
        t = next((t for t, kl in enumerate(apart) if kl > OFF), None)
        for tie in sorted((at for at in margins if at[1] == t and margins[at] < NEAR and at not in swaps), key=margins.get):
            other, of_other = model.logits(ids, swaps | {tie})
            if off(got, other)[t] < apart[t]:
                swaps, want, margins = swaps | {tie}, other, of_other
                break
        else: return want, swaps


def told(swaps): return ', '.join('%s of layer %d at position %d' % (*place, t) for place, t in sorted(swaps)) or 'none'


def check(label, model, ids, got, rows, say):
    """what got is to be compared with in the place of the recorded rows, and the ties; first that float64 is as recorded, and that it
    takes no side where there is no tie"""
    exact, margins = model.logits(ids)
    kl = archs.compare(exact, rows)[0]
    say(label + ', float64 is as recorded', kl <= RECORDED, 'KL %.1e (limit %g)' % (kl, RECORDED))
    clear = max((at for at in margins if at[1] >= len(ids) // 2), key=margins.get)
    wrong = model.logits(ids, {clear})[0]
    want, swaps = taking_sides(model, ids, wrong)
    most = max(off(wrong, want))
    say(label + ', a wrong choice is no tie', not swaps and most > OFF, '%s: margin %.3f, KL %.1e there; ties: %s' % (told({clear}), margins[clear], most, told(swaps)))
    want, swaps = taking_sides(model, ids, got)
    return expected(want), told(swaps)
