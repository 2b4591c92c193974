#!/usr/bin/env python3
"""speed.py - tokens per second beside llama.cpp on the same device, alternating, in one run.

  speed.py [--device llvmpipe|cpu|vulkan] [--models small256,qwen3b,llama8b,qwen3moe,qwen35] [--types Q4_K_M,F16] [-p 128] [-n 32] [-r 3] [--layers N]

Runs inside the peer's root (peer/run --speed ...). llvmpipe is Mesa's software device, for both engines: a figure about
kernels and overhead, not about a GPU. Prints one line a test: ours, the peer's, the ratio of the medians; the machine's
noise shows in the spread of the single figures.
"""
import argparse, json, os, statistics, subprocess, sys

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN, TREE = os.path.dirname(HERE), os.path.abspath(HERE + '/../../..')
WORK = TREE + '/build/peer'
sys.path.insert(0, GOLDEN)
import cases, mkarch, mkgguf
from compare import quantize, peer_version

TAWNY = os.environ.get('TAWNY', TREE + '/build/host/tawny')


def model_of(shape, kind, layers):
    path = WORK + '/%s%s-%s.gguf' % (shape, '-%d' % layers if layers else '', kind)
    if not os.path.exists(path):
        source = WORK + '/%s%s-f16.gguf' % (shape, '-%d' % layers if layers else '')
        if not os.path.exists(source):
            c = dict(mkgguf.SHAPES.get(shape, {}))
            if layers: c['L'] = layers
            if shape in mkarch.LARGE: mkarch.make_large(source + '.new', shape, cases.corpus())
            else: mkgguf.make(source + '.new', c, 'f16', 1, cases.corpus(), False, 'random-' + shape)
            os.rename(source + '.new', source)
        if kind == 'F16': return source
        quantize(source, path, kind)
    return path


def ours(model, a, test, n):
    flags = ['-p', str(n), '-n', '0'] if test == 'pp' else ['-p', '0', '-n', str(n)]
    r = subprocess.run([TAWNY, 'bench', '-m', model, '--device', a.device, '--json', '-r', '1'] + flags, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if r.returncode: sys.exit('tawny bench: ' + r.stderr.decode(errors='replace')[-500:])
    return json.loads(r.stdout)[0]['avg_ts']


def peer(model, a, test, n):
    env = dict(os.environ, GGML_VK_VISIBLE_DEVICES='' if a.device == 'cpu' else '0')
    flags = ['--device', 'none'] if a.device == 'cpu' else ['-ngl', '99', '-fa', '1']
    flags += ['-p', str(n), '-n', '0'] if test == 'pp' else ['-p', '0', '-n', str(n)]
    r = subprocess.run(['llama-bench', '-m', model, '-r', '1', '-o', 'json'] + flags, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if r.returncode: sys.exit('llama-bench: ' + r.stderr.decode(errors='replace')[-500:])
    return json.loads(r.stdout)[0]['avg_ts']


def main():
    ap = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    ap.add_argument('--device', default='llvmpipe'); ap.add_argument('--models', default='small256'); ap.add_argument('--types', default='Q4_K_M,F16')
    ap.add_argument('-p', type=int, default=128); ap.add_argument('-n', type=int, default=32); ap.add_argument('-r', type=int, default=3)
    ap.add_argument('--layers', type=int, default=0)
    a = ap.parse_args()
    os.makedirs(WORK, exist_ok=True)
    print('peer:', peer_version())
    for shape in a.models.split(','):
        for kind in a.types.split(','):
            model = model_of(shape, kind, a.layers)
            for test, n in (('pp', a.p), ('tg', a.n)):
                if n == 0: continue
                pairs = [(ours(model, a, test, n), peer(model, a, test, n)) for _ in range(a.r)]
                x, y = (statistics.median(p[i] for p in pairs) for i in (0, 1))
                print('%-9s %-7s %-9s %s%-4d ours %8.2f  peer %8.2f  ratio %5.2f   (%s)' % (
                    shape, kind, a.device, test, n, x, y, x / y, '; '.join('%.1f / %.1f' % p for p in pairs)), flush=True)


if __name__ == '__main__':
    main()
