"""chips.py - the emulated chips (chip/): single instructions, operations and whole models by the appliance's own engine and driver, with
nothing found that only an emulator sees (chip/watch.h); and faults planted in kernels, each found.
"""
import os, re, subprocess
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.abspath(HERE + '/../..')
BUILD = TREE + '/build/appliance/'
FULL = os.environ.get('TAWNY_TEST_FULL') == '1'
EVERY = {'gfx1151': 5, 'gfx1150': 19}  # chip: every how manieth operation
MODELS = ('qwen3', 'gpt-oss', 'qwen35')  # of mkarch.py; all of them with TAWNY_TEST_FULL=1
# Passes of many rows take half floats to the chip's matrices. Where that costs more than the limits of all devices (archs.py), KL and the
# largest error of a log-probability: 26 layers of experts; logits that a softcap spreads.
HALF = {'gemma4': (1e-4, 0.08), 'gemma4 experts': (1e-4, 0.08), 'mistral4': (1.5e-4, 0.15), 'deepseek2': (4e-4, 0.2)}

# What is planted: the kernel it is for, its flags, the file of kernels/ that is changed, what stands there (once or more), what takes its
# place, which operation meets it, and what must be said of it.
PLANTED = {
    'a barrier taken out of norm': ('norm', '', 'reduce.glsl', '        reduce_s[gl_SubgroupID] = v;\n    barrier();', '        reduce_s[gl_SubgroupID] = v;',
                                    ['rms_norm 1 rows of 2048, size 100'], 'without a barrier between'),
    'a barrier taken out of a matrix product': ('matmat_coop-f32', '-DWEIGHT_f32', 'matmat_coop.comp', '        store(next, k_next, SIDE - side);\n        shared_barrier();',
                                                '        store(next, k_next, SIDE - side);', ['matmul F32 33 x 256, 9 tokens'], 'without a barrier between'),
    'a barrier taken out of attention': ('attention-f16', '-DCACHE_f16', 'attention.comp', 'scores(now, next, side);\n        barrier();', 'scores(now, next, side);',
                                         ['attention F16 4/4 x 64, softcap, 1 token sees 255'], 'without a barrier between'),
    'a store one row too far': ('norm', '', 'norm.comp', 'to = p.to + uint64_t(t)', 'to = p.to + uint64_t(t + 1)', ['rms_norm 1 rows of 2048, size 100'],
                                'of a buffer of'),
    'a load one row too far': ('matvec-f32', '-DWEIGHT_f32', 'matvec.comp', 'min(n, p.n_tokens - 1)', 'min(n + 1, p.n_tokens)',
                               ['matmul F32 2 x 256, 8 tokens, norm'], 'which the engine did not declare'),
    'sums in shared memory that begin anywhere': ('index_choose', '', 'index_choose.comp', 'bits_s[w] = 0;', ';', ['index of 4 x 32, 2 in blocks of 4, 1 of 1200'],
                                                  'stores what was never written'),
    'nothing': ('norm', '', 'norm.comp', 'const float mean', 'const  float mean', ['rms_norm 1 rows of 2048, size 100'], None),
}


def env(chip, **more): return {**os.environ, 'CHIP': chip, **more}


def found(stderr): return [line for line in stderr.split('\n') if line.startswith('chip: found: ')]


def compile_planted(work, kernel, flags, changed, old, new):
    """the path of the SPIR-V of a kernel with a file of kernels/ changed"""
    folder = work + '/kernels'
    os.makedirs(folder, exist_ok=True)
    for name in os.listdir(TREE + '/kernels'):
        text = open(TREE + '/kernels/' + name).read()
        if name == changed:
            if old not in text: return None
            text = text.replace(old, new)
        open(folder + '/' + name, 'w').write(text)
    source = kernel.split('-')[0] + '.comp'
    out = work + '/planted.spv'
    subprocess.run(['glslangValidator', '--quiet', '-V', '--target-env', 'vulkan1.3', '-S', 'comp', '-I' + folder] + flags.split() + ['-o', out, folder + '/' + source], check=True)
    if kernel.startswith('matmat_coop'):  # as the Makefile does for kernels with matrices: only barriers order accesses
        text = subprocess.run(['spirv-dis', out], check=True, capture_output=True, text=True).stdout
        text = re.sub(r'MakePointer(Visible|Available)\|(NonPrivatePointer) %uint_[0-9]+', r'\2', text)
        subprocess.run(['spirv-as', '--target-env', 'vulkan1.3', '--preserve-numeric-ids', '-o', out, '-'], input=text, check=True, text=True)
    return out


def run_planted(work, check):
    for name, (kernel, flags, changed, old, new, words, want) in PLANTED.items():
        path = compile_planted(work, kernel, flags, changed, old, new)
        if not path:
            check('chip planted: ' + name, False, 'kernels/%s has no %r' % (changed, old))
            continue
        r = subprocess.run([BUILD + 'chip-ops', 'vulkan'] + words, env=env('gfx1151', CHIP_KERNEL=kernel + '=' + path), capture_output=True, text=True)
        told = found(r.stderr)
        good = any(line.startswith('chip: found: %s (' % kernel) and want in line for line in told) if want else not told and ' 0 failed' in r.stdout
        check('chip planted: ' + name, good and 'chip: ' in r.stderr, 'exit %d, told: %s' % (r.returncode, told or r.stderr[-300:]))


def run_operations(chip, check):
    r = subprocess.run([BUILD + 'chip-ops', '--every', str(1 if FULL else EVERY[chip]), 'vulkan'], env=env(chip), capture_output=True, text=True)
    lines = r.stdout.split('\n')
    check('chip ' + chip, r.returncode == 0 and chip.upper() in lines[0] and '; 0 faults found' in r.stderr,
          'exit %d: %s %s' % (r.returncode, lines[-2:], r.stderr.strip()[-300:]))
    for line in found(r.stderr): check('chip %s, seen' % chip, False, line)
    for line in lines:
        if line.startswith(('ok ', 'FAILED ')): check('chip %s %s' % (chip, line[7:67].strip()), line.startswith('ok '), line[67:])


# One row of x: the rows of weights, their length, bytes of the file's 256 weights.
COUNTED = ('matmul Q4_K 67 x 11008, 1 tokens, residual', 67, 11008, 144)


def run_counts(work, check):
    """a decoding product asks each line of its weights of memory once, and has as many lines as the file has bytes (chip/count.h)"""
    word, n_rows, n_cols, block = COUNTED
    told = work + '/told'
    r = subprocess.run([BUILD + 'chip-ops', 'vulkan', word], env=env('gfx1151', CHIP_COUNT=told), capture_output=True, text=True)
    lines = [line.split() for line in open(told)] if r.returncode == 0 else []
    products = [dict(x.split('=') for x in w[2:]) for w in lines if w[1].startswith('matvec-q4_k/')]
    least = n_rows * n_cols // 256 * block / 128
    good = len(products) == 1 and all(least <= int(p['weights_memory']) == int(p['weight_lines']) <= 1.05 * least and int(p['valu']) > 0 for p in products)
    check('chip counts: ' + word, good, 'exit %d, %d products, at least %.0f lines: %s' % (r.returncode, len(products), least, products))


def run_models(work, logits, check, only, chip, names):
    """small models, whole, against the recorded log-probabilities, within the limits of every device: passes of many rows and of one; where
    something may be chosen otherwise, many rows against float64 that takes the same sides in ties"""
    import archs, cases, hashlib, ties
    known = archs.recorded()
    for name in names:
        if only and not any(w in 'chip %s model %s' % (chip, name) for w in only): continue
        model = work + '/model.gguf'
        cases.make_arch(model, name)
        digest, rows = known[name]
        ids = cases.ARCH_IDS.get(name, cases.IDS)
        for batch in (archs.SPLIT,) if name in cases.ARCH_IDS else (archs.SPLIT, 1):  # 300 passes of one row take too long
            label, said = 'chip %s model %s, passes of %d' % (chip, name, batch), work + '/said'
            got, why = logits(work, model, ids, device='vulkan', batch=batch, tawny=['env', 'CHIP=' + chip, 'sh', '-c', 'exec "$0" "$@" 2> %s' % said, BUILD + 'chip-tawny'])
            stderr = open(said).read()
            if got is None and 'on the processor only' in stderr: break
            if got is None or not np.isfinite(got).all() or digest != hashlib.sha256(open(model, 'rb').read()).hexdigest():
                check(label, False, why or stderr[-300:] or 'not finite, or another model than the recorded one')
                continue
            got = got[-len(rows):]
            sides, wanted = '', rows
            if name in ties.MODELS and batch > 1:
                wanted, swaps = ties.check('chip %s model %s' % (chip, name), ties.MODELS[name](model), ids, got, rows, check)
                sides = '; ties in which float64 takes the other side: %s' % swaps
            kl, worst, top = archs.compare(got, wanted, {at: most for (of, at), most in archs.TIES.items() if of == name})
            most_kl, most = HALF.get(name, (archs.KL, archs.WORST)) if batch > 1 else (archs.KL, archs.WORST)
            check(label, kl <= most_kl and worst <= most and '; 0 faults found' in stderr,
                  'KL %.1e (limit %g), worst log-probability off by %.4f (limit %g), top-1 %.3f%s; %s' % (kl, most_kl, worst, most, top, sides, '; '.join(found(stderr))))


# CHIP_FAULT (chip/faults.h): submission 3 is in the middle of the first pass. What is said, and how many seconds it may take to say it.
FAULTS = {'lost=3': ('the device is lost', 30), 'page=3': ('fault has been detected at address 0x7fee0000', 30), 'memory=4': ('wanted; of the', 30), 'memory=44': ('wanted; of the', 30),
          'memory=20': ('MiB wanted; of the', 30), 'hang=3': ('has not finished within 30 s', 75)}
# The carve-out, what else the chip may take, and what is free of the machine's memory, in MiB: what may be promised is what the driver has
# and no more than free memory and the carve-out together. 40 MiB of it have been taken to copy through.
MEMORIES = ((512, 57344, 60000), (512, 114688, 30000), (8192, 28672, 55000), (65536, 30720, 61000), (65536, 63488, 20000))


def run_faults(work, check):
    import cases, time
    model = work + '/model.gguf'
    cases.make_arch(model, 'qwen3')
    for fault, (want, most_s) in FAULTS.items():
        if fault.startswith('hang') and not FULL: continue  # half a minute of waiting
        start = time.monotonic()
        r = subprocess.run([BUILD + 'chip-tawny', 'logits', '-m', model, '--tokens', ','.join(map(str, cases.IDS)), '--out', work + '/out.f32', '--device', 'vulkan', '--state', work],
                           env=env('gfx1151', CHIP_FAULT=fault), capture_output=True, text=True)
        took_s = time.monotonic() - start
        check('chip fault ' + fault, r.returncode in (1, 70) and want in r.stderr and took_s < most_s, 'exit %d after %.0f s: %s' % (r.returncode, took_s, r.stderr[-400:]))
    for carved, other, free in MEMORIES:
        r = subprocess.run([BUILD + 'chip-tawny', 'plan', '-m', model, '--device', 'vulkan'], env=env('gfx1151', CHIP_VRAM_MB=str(carved), CHIP_GTT_MB=str(other), CHIP_FREE_MB=str(free)),
                           capture_output=True, text=True)
        told = re.search(r'^free +([0-9.]+) GiB', r.stdout, re.M)
        want = min(carved + other, carved + free) / 1024
        check('chip memory %d + %d, %d free' % (carved, other, free), told and want - 0.11 < float(told[1]) < want + 0.051, 'told %s GiB, expected %.1f or 40 MiB less; %s' % (told and told[1], want, r.stderr[-200:]))


def run_vectors(check):
    r = subprocess.run([BUILD + 'chip-vectors'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    check('chip, single instructions', r.returncode == 0 and ' 0 failed' in r.stdout, r.stdout.strip()[-300:])


def run(work, chip, logits, check, skip, only):
    """words: "chip" or "chip gfx1151": all of it; "chip gfx1151 PART": that part; "chip gfx1151 model NAME": that model"""
    import chip_engine, mkarch
    part = lambda name: 'chip %s %s' % (chip, name)
    wanted = lambda name: not only or any(w in 'chip ' + chip or w.startswith(part(name)) for w in only)
    named = FULL or any(w.startswith(part('model ')) for w in only)
    names = mkarch.MODELS if named else MODELS if chip == 'gfx1151' else MODELS[:1]
    parts = [('operations', lambda: run_operations(chip, check)), ('model', lambda: run_models(work, logits, check, only, chip, names))]
    if chip == 'gfx1151':
        parts = [('vectors', lambda: run_vectors(check)), ('counts', lambda: run_counts(work, check)), ('planted', lambda: run_planted(work, check)),
                 ('faults', lambda: run_faults(work, check)), ('engine', lambda: chip_engine.run(work, logits, check))] + parts
    parts = [run_it for name, run_it in parts if wanted(name)]
    if parts and 'avx2' not in open('/proc/cpuinfo').read(): return skip('chip ' + chip, 'the emulated chip needs AVX2, FMA and F16C here')
    for run_it in parts: run_it()
