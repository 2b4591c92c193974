"""chip_engine.py - what the engine does with the emulated chip (chip/) beside computing right: the built-in model's answers; memory that the
processor does not see; weights over 2 and 4 GiB; buffers that are refused, one at a time; and how much it gives a chip at once.
"""
import json, os, re, subprocess
import numpy as np
import archs, cases

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.abspath(HERE + '/../..')
BUILD = TREE + '/build/appliance/'
BUILTIN = TREE + '/engine/builtin/'
FULL = os.environ.get('TAWNY_TEST_FULL') == '1'
FREE_FOR_WHOLE = 5 << 30  # bytes that the product of 9/4 GiB of rows wants free


def chip_env(**more): return {**os.environ, 'CHIP': 'gfx1151', **more}


def run_logits(work, model, ids, batch=archs.SPLIT, **env):
    """(exit status, logits or None, stderr)"""
    out = work + '/chip.f32'
    if os.path.exists(out): os.remove(out)
    r = subprocess.run([BUILD + 'chip-tawny', 'logits', '-m', model, '--tokens', ','.join(map(str, ids)), '--out', out, '--device', 'vulkan', '--batch', str(batch),
                        '--state', work], env=chip_env(**env), capture_output=True, text=True)
    return r.returncode, np.fromfile(out, '<f4').reshape(len(ids), -1) if r.returncode == 0 else None, r.stderr


def log_probabilities(x):
    z = x.astype('f8')
    z -= z.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True))


def close(want, got):
    """(mean KL, largest error among the ten likeliest)"""
    p, q = log_probabilities(want), log_probabilities(got)
    top = np.argsort(-p, 1)[:, :10]
    return float((np.exp(p) * (p - q)).sum(1).mean()), float(np.abs(np.take_along_axis(p - q, top, 1)).max())


# ---- the built-in model's skills -------------------------------------------------------------------------
def run_skills(work, logits, check):
    """Answers of the test set, read as the engine would write them: wherever the processor takes the answer's token the chip takes it too. Passes
    of many rows take half floats to the chip's matrices; with TAWNY_TEST_FULL=1 one of each skill goes row by row, as answers are generated."""
    tests, model = {}, BUILTIN + 'builtin.gguf'
    for line in open(BUILTIN + 'heldout.jsonl'):
        test = json.loads(line)
        tests.setdefault(test['skill'], []).append(test)
    n_right = n_tokens = 0
    wrong, kls, worsts, faults = [], [], [], []
    if not FULL: tests = {skill: tests[skill] for skill in ('add', 'capital', 'reverse')}
    for skill, some in sorted(tests.items()):
        for i, test in enumerate(some[:4 if FULL else 1]):
            texts = '<|im_start|>user\n' + test['messages'][-1]['content'] + '<|im_end|>\n<|im_start|>assistant\n', test['answer'] + '<|im_end|>'
            ids = [[int(t) for t in subprocess.run([TREE + '/build/host/tawny', 'tokenize', '-m', model, '--no-bos', '-f', '-'], input=text, stdout=subprocess.PIPE, text=True).stdout.split()]
                   for text in texts]
            both, first = ids[0] + ids[1], len(ids[0]) - 1
            want, why = logits(work, model, both, device='cpu')
            code, got, stderr = run_logits(work, model, both, batch=1 if FULL and i == 0 else 512)
            if want is None or got is None:
                check('chip builtin ' + skill, False, why or 'exit %d: %s' % (code, stderr[-300:]))
                return
            kl, worst = close(want, got)
            kls.append(kl), worsts.append(worst)
            if '; 0 faults found' not in stderr: faults.append(stderr[-300:])
            for at in range(first, len(both) - 1):
                if want[at].argmax() != both[at + 1]: break  # what it would say is another text from here
                n_tokens += 1
                n_right += int(got[at].argmax()) == both[at + 1]
                if got[at].argmax() != both[at + 1]: wrong.append('%s at %d' % (skill, at))
    check('chip builtin, the answers of %d skills' % len(tests), n_tokens > (100 if FULL else 10) and n_right == n_tokens and not faults, '%d of %d tokens; %s; %s' % (n_right, n_tokens, wrong, faults))
    check('chip builtin, its logits', max(kls) <= 1e-4 and max(worsts) <= 0.15, 'KL %.1e, worst log-probability off by %.3f' % (max(kls), max(worsts)))


# ---- a card ----------------------------------------------------------------------------------------------
def run_card(work, check):
    """the chip on a card of 2 GiB, of which the processor sees 256 MiB: the same bits, in memory that is never mapped (chip/kernel.c ends the
    run where it is)"""
    import mkarch
    model = work + '/model.gguf'
    for name in mkarch.MODELS if FULL else ('qwen3',):
        cases.make_arch(model, name)
        code, want, why = run_logits(work, model, cases.IDS)
        if code != 0 and 'on the processor only' in why: continue
        card = dict(CHIP_WINDOW_MB='256', CHIP_VRAM_MB='2048', CHIP_GTT_MB='4096')
        code, got, stderr = run_logits(work, model, cases.IDS, **card)
        hidden = re.search(r'chip: ([0-9]+) MiB that the processor does not see', stderr)
        check('chip card ' + name, got is not None and want is not None and got.tobytes() == want.tobytes() and hidden and int(hidden[1]) > 0 and '; 0 faults found' in stderr,
              'exit %d, %s the logits of shared memory; %s' % (code, 'not' if got is None or want is None or got.tobytes() != want.tobytes() else 'as', stderr[-300:]))


# ---- large weights ---------------------------------------------------------------------------------------
def run_large(check):
    free = int(re.search(r'MemAvailable: +([0-9]+)', open('/proc/meminfo').read())[1]) << 10
    cases = ['embed'] if not FULL else [] if free > FREE_FOR_WHOLE else ['far']
    r = subprocess.run([BUILD + 'chip-ops', '--large', 'vulkan'] + cases, env=chip_env(), capture_output=True, text=True)
    check('chip weights of 3, 6 and 9 GiB', r.returncode == 0 and '; 0 faults found' in r.stderr, 'exit %d: %s %s' % (r.returncode, r.stdout[-300:], r.stderr[-300:]))
    for line in r.stdout.split('\n'):
        if line.startswith(('ok ', 'FAILED ')): check('chip ' + line[7:67].strip(), line.startswith('ok '), line[67:])


# ---- buffers that are refused ----------------------------------------------------------------------------
def outcome(code, got, want, stderr):
    """whether a pass is right, or has ended with its sentence; else what it was"""
    told = [line for line in stderr.split('\n') if line.startswith('tawny logits: ')]
    if code == 0 and got.tobytes() == want.tobytes(): return 'right'
    if code == 1 and told and ('wanted' in told[-1] or 'memory' in told[-1]): return 'told'
    return 'exit %d, %s' % (code, stderr[-200:])


def run_refused(work, check):
    """Memory that ends anywhere between the first buffer and the last: the pass is right, or ends with a sentence. And each of the engine's own
    buffers refused once, whatever there is (those of the driver are smaller; it crashes where it gets none, memory_for_driver())."""
    model, ids = work + '/model.gguf', cases.IDS[:9]
    cases.make_arch(model, 'qwen3')
    code, want, stderr = run_logits(work, model, ids)
    seen = {}
    for i in range(1, 1000):
        code, got, stderr = run_logits(work, model, ids, CHIP_FAULT='buffer=%d' % i)
        played = re.search(r'played: buffer [0-9]+ of ([0-9]+) KiB', stderr)
        if not played: break
        if int(played[1]) >= 8192: seen['buffer %d' % i] = outcome(code, got, want, stderr)
        if not FULL and len(seen) == 2: break
    n_own = len(seen)
    for mib in range(30, 74, 1 if FULL else 21):
        code, got, stderr = run_logits(work, model, ids, CHIP_VRAM_MB='16', CHIP_GTT_MB=str(mib))
        seen['%d MiB' % mib] = outcome(code, got, want, stderr)
    wrong = {k: v for k, v in seen.items() if v not in ('right', 'told')}
    n_right = sum(v == 'right' for v in seen.values())
    check('chip refused buffers', n_own >= 2 and 0 < n_right < len(seen) and not wrong, '%d buffers refused, %d sizes of memory, %d passes right; wrong: %s' % (n_own, len(seen) - n_own, n_right, list(wrong.items())[:4]))


# ---- how much at once ------------------------------------------------------------------------------------
# Speeds of chips: what they are, GB/s, thousand million instructions of a wave a second. gfx1151 has 256 GB/s; 40 units of two times 32 lanes at
# 2.9 GHz would execute 232 thousand million, of which kernels reach a part.
PACES = {'gfx1151': (256, 60), 'a tenth': (25.6, 6), 'a fiftieth': (5.1, 1.2), 'a two hundredth': (1.28, 0.3)}
FIRST_MS, LEARNT_MS = 2000, 250  # kernels are killed after 2 s; a submission is meant to take 50 ms, and made anew over 200


def run_paces(work, check):
    """Passes of 256 rows of the built-in model on chips of several speeds, by a clock that the emulator sets: no submission comes near the 2 s after
    which a kernel is killed, and from the third pass on each takes what is meant, however slow the chip."""
    ids = [(7 * i) % 300 + 10 for i in range(1280)]
    for name, pace in PACES.items():
        code, got, stderr = run_logits(work, BUILTIN + 'builtin.gguf', ids, batch=256, CHIP_PACE='%g,%g' % pace)
        told = re.search(r'submissions took([ 0-9.]+) ms', stderr)
        took = [float(x) for x in told[1].split()] if told else []
        check('chip pace: ' + name, code == 0 and took and max(took) < FIRST_MS and max(took[len(took) // 2:]) < LEARNT_MS, 'exit %d: %s' % (code, told and told[0]))


def run(work, logits, check):
    run_skills(work, logits, check)
    run_card(work, check)
    run_large(check)
    run_refused(work, check)
    if FULL: run_paces(work, check)
