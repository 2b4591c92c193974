#!/usr/bin/env python3
"""compare.py - our logits and token ids against llama.cpp's, live. Runs inside its root (peer/run).

  compare.py [--models small,small256,qwen3b,builtin] [--types F32,F16,...] [--devices cpu,llvmpipe] [--tokens-only | --logits-only] [--record | --record-tokens]

Logits: each shape is written once (mkgguf.py, F32), then stored in every format by llama-quantize. The exact reference of a
file is the same file requantised to F32 and run by llama.cpp with an F32 KV cache. Ours and the engine's own
CPU path (F16 KV cache, as shipped) are both measured against it; ours must not be further away: rms and mean KL at most the
engine's. Ours runs on every device named, all tokens in one pass (the kernels for prompts) and one by one (those for
generation). qwen3b has 2 layers.
Tokens: every file under tests/golden/tokens with every pre-tokenizer and kind of tokenizer, with published vocabularies where
VOCABULARIES names them (published/install), and random texts on top.
--record rewrites tests/golden/peer/vectors.txt and tests/golden/tokens/{ids,hashes}.txt, what the golden tier replays.
"""
import argparse, hashlib, os, random, subprocess, sys
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN, TREE = os.path.dirname(HERE), os.path.abspath(HERE + '/../../..')
WORK = TREE + '/build/peer'
sys.path.insert(0, GOLDEN)
import cases, mkarch, mkgguf, reference, vocabulary

TAWNY = os.environ.get('TAWNY', TREE + '/build/host/tawny')
PEERLOGITS = WORK + '/peerlogits'
TYPES = 'F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q2_K Q3_K_M Q4_K_M Q5_K_M Q6_K Q4_K Q5_K IQ4_NL IQ4_XS MXFP4'.split()
N_TOKENS = 48
failed = 0


def sh(*argv):
    r = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if r.returncode != 0:
        raise SystemExit('%s: exit %d\n%s' % (' '.join(map(str, argv))[:300], r.returncode, r.stderr.decode(errors='replace')[-2000:]))
    return r.stdout


def quantize(source, out, kind):
    """Q4_K and Q5_K: every matrix in that format; MXFP4: every matrix of the layers; else the mix llama-quantize makes"""
    if kind in ('F32', 'F16', 'BF16'):
        sh('llama-quantize', '--allow-requantize', source, out, kind)
    elif kind in ('Q4_K', 'Q5_K'):
        sh('llama-quantize', '--allow-requantize', '--pure', source, out, kind + '_M')
    elif kind == 'MXFP4':
        sh('llama-quantize', '--allow-requantize', '--tensor-type', 'attn=mxfp4', '--tensor-type', 'ffn=mxfp4', source, out, 'Q8_0')
    else:
        sh('llama-quantize', '--allow-requantize', source, out, kind)


def peer_logits(model, ids, kv):
    sh(PEERLOGITS, model, WORK + '/peer.f32', kv, ','.join(map(str, ids)))
    return np.fromfile(WORK + '/peer.f32', '<f4').reshape(len(ids), -1)


def our_logits(model, ids, device, batch):
    sh(TAWNY, 'logits', '-m', model, '--device', device, '--batch', batch, '--tokens', ','.join(map(str, ids)), '--out', WORK + '/our.f32')
    return np.fromfile(WORK + '/our.f32', '<f4').reshape(len(ids), -1)


def source_of(shape):
    if shape == 'builtin':
        return TREE + '/engine/builtin/builtin.gguf'
    path = WORK + '/%s.gguf' % shape
    if not os.path.exists(path):
        c = dict(mkgguf.SHAPES[shape])
        if shape == 'qwen3b': c['L'] = 2
        mkgguf.make(path + '.new', c, 'f32', 1, cases.corpus(), False, 'random-' + shape)
        os.rename(path + '.new', path)
    return path


def compare_logits(shape, types, devices):
    global failed
    source = source_of(shape)
    n_vocab = len(reference.Gguf(source).keys['tokenizer.ggml.tokens'])
    r = random.Random(5)
    ids = [r.randrange(min(n_vocab, 100000) - 3) for _ in range(N_TOKENS)]
    print('%-9s %-7s %-14s | %9s %9s %9s %6s | %9s %9s %9s %6s |' % (shape, 'format', 'device, pass', 'rms', 'max', 'KL', 'top-1', 'peer rms', 'max', 'KL', 'top-1'))
    for kind in types:
        model, exact = WORK + '/model.gguf', WORK + '/exact.gguf'
        if shape == 'builtin' and kind == 'as is': model = source
        else: quantize(source, model, kind)
        quantize(model, exact, 'F32')
        want = peer_logits(exact, ids, 'f32')
        peer = reference.compare(peer_logits(model, ids, 'f16'), want)
        for device in devices:
            for batch in (N_TOKENS, 1):
                label = '%-9s %-7s %-14s |' % (shape, kind, '%s %d' % (device, batch))
                try: got = our_logits(model, ids, device, batch)
                except SystemExit as e:
                    failed += 1
                    print(label, 'FAILED: %s' % str(e).strip().split('\n')[-1], flush=True)
                    continue
                ours = reference.compare(got, want)
                good = ours[0] <= peer[0] * 1.02 and ours[2] <= peer[2] * 1.05 + 1e-9
                failed += not good
                print(label, '%9.6f %9.5f %9.2e %6.3f | %9.6f %9.5f %9.2e %6.3f | %s' % (*ours, *peer, 'ok' if good else 'ABOVE THE PEER'), flush=True)
    for f in ('model.gguf', 'exact.gguf'):
        if os.path.exists(WORK + '/' + f): os.remove(WORK + '/' + f)


# ---- tokens ----------------------------------------------------------------------------------------------
def peer_ids(model, text_file):
    out = sh('llama-tokenize', '-m', model, '-f', text_file, '--ids', '--no-escape', '--log-disable').decode()
    return [int(i) for i in out.strip().strip('[]').split(',') if i.strip()]


def our_ids(model, text_file):
    return [int(i) for i in sh(TAWNY, 'tokenize', '-m', model, '--file', text_file).split()]


def random_text(seed):
    r = random.Random(seed)
    out = []
    for _ in range(3000):
        kind = r.randrange(8)
        if kind == 0: out.append(chr(r.choice([r.randrange(0x80), r.randrange(0x80, 0x3100), r.randrange(0x3100, 0xd800), r.randrange(0x10000, 0x1fb00)])).encode())
        elif kind == 1: out.append(bytes([r.randrange(256) for _ in range(r.randrange(1, 4))]))
        elif kind == 2: out.append(r.choice([b' ', b'  ', b'\n', b'\r\n', b'\t', b'\n\n', '\u00a0'.encode(), '\u3000'.encode()]) * r.randrange(1, 4))
        elif kind == 3: out.append(str(r.randrange(10 ** r.randrange(1, 9))).encode())
        elif kind == 4: out.append(r.choice([b"'s", b"'RE", b"'ll", b'<|im_end|>', b'<|im_', b'|>', b"'", b'!?', b'...']))
        else: out.append(r.choice(cases.WORDS).encode())
    return b''.join(out)


def compare_tokens(record):
    global failed
    lines = []
    for pre in cases.FAMILIES:
        model = WORK + '/vocab.gguf'
        cases.make_vocab_file(model, pre)
        files = [(n, os.path.join(cases.TOKENS, n)) for n in cases.token_files()]
        for seed in range(0 if record else 8):
            path = WORK + '/random-%d.txt' % seed
            open(path, 'wb').write(random_text(seed))
            files.append((os.path.basename(path), path))
        for name, path in files:
            want, got = peer_ids(model, path), our_ids(model, path)
            lines.append('%s %s %s' % (pre, name, ' '.join(map(str, want))))
            if want != got:
                failed += 1
                at = next((i for i, (a, b) in enumerate(zip(want, got)) if a != b), min(len(want), len(got)))
                print('%-10s %-18s DIFFERENT at token %d: peer %s, ours %s' % (pre, name, at, want[at:at + 8], got[at:at + 8]))
            else:
                print('%-10s %-18s %6d tokens, the same' % (pre, name, len(want)), flush=True)
    if record:
        head = ['# token ids by llama-tokenize of %s' % peer_version(),
                '# raw command: llama-tokenize -m VOCAB.gguf -f FILE --ids --no-escape --log-disable',
                '# vocabulary: tests/golden/cases.py make_vocab_file(PRE), sha256 of the one for gpt-2: ' + cases.vocab_hash(),
                '# PRE FILE IDS...']
        open(cases.TOKENS + '/ids.txt', 'w').write('\n'.join(head + lines) + '\n')


WORDS = os.environ.get('WORDS', TREE + '/build/host/words')
PEERTOKENS = WORK + '/peertokens'


def compare_vocabularies(record):
    """ids of every vocabulary, ours and llama.cpp's; returns the lines of hashes.txt"""
    global failed
    published, model, lines, equal = os.environ.get('VOCABULARIES'), WORK + '/vocab.gguf', [], 0
    for name in vocabulary.names(published):
        files = vocabulary.texts(name)
        vocabulary.make(model, name, published)
        theirs, got = vocabulary.ask(PEERTOKENS, model, 'ids', files), vocabulary.ask(WORDS, model, 'ids', files)
        hashes = vocabulary.ask(WORDS if name in vocabulary.OWN else PEERTOKENS, model, 'hash', files)
        if isinstance(theirs, str) or isinstance(got, str) or isinstance(hashes, str):
            failed += 1
            print('%-34s FAILED: peer %s, ours %s' % (name, str(theirs)[:200], str(got)[:200]), flush=True)
            continue
        lines += ['%s %s %s' % (name, n, ' '.join(w)) for n, w in hashes.items()]
        if name in vocabulary.OWN: continue
        bad = [n for n in theirs if theirs[n] != got.get(n)]
        failed += bool(bad)
        equal += not bad
        total = sum(int(w[0]) for w in theirs.values())
        print('%-34s %7d ids in %d texts, %s' % (name, total, len(theirs), 'the same' if not bad else 'DIFFERENT in ' + ' '.join(bad)), flush=True)
        for n in bad[:2]:
            a, b = theirs[n][1:], got[n][1:]
            at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
            print('    %s at %d: peer %s, ours %s' % (n, at, a[at:at + 8], b[at:at + 8]))
    print('%d vocabularies the same' % equal)
    return lines


def record_hashes(lines):
    head = ['# token ids by %s: number and FNV-1a hash (tests/golden/peer/peertokens.c MODEL hash FILE...)' % peer_version(),
            '# vocabularies: tests/golden/vocabulary.py; those that it names OWN by our own program', '# VOCABULARY FILE IDS HASH']
    open(cases.TOKENS + '/hashes.txt', 'w').write('\n'.join(head + lines) + '\n')


def peer_version():
    out = subprocess.run(['dpkg-query', '-W', '-f', '${Package} ${Version}', 'llama.cpp-tools'], stdout=subprocess.PIPE).stdout.decode()
    return out or 'unknown'


# ---- the compact form ------------------------------------------------------------------------------------
def record_vectors():
    """top log-probabilities of the tiny models, by llama.cpp on the exact (F32) form of each file"""
    lines = ['# top-%d log-probabilities of each position by %s' % (cases.TOP, peer_version()),
             '# raw commands: llama-quantize --allow-requantize MODEL.gguf exact.gguf F32; peerlogits exact.gguf OUT.f32 f32 IDS',
             '# models: tests/golden/cases.py (MODELS); CASE sha256, then POSITION id:logprob ...']
    for name in cases.MODELS:
        model, exact = WORK + '/model.gguf', WORK + '/exact.gguf'
        cases.make_model(model, name)
        quantize(model, exact, 'F32')
        z = peer_logits(exact, cases.IDS, 'f32').astype('f8')
        z -= z.max(1, keepdims=True)
        z -= np.log(np.exp(z).sum(1, keepdims=True))
        lines.append('%s %s' % (name, hashlib.sha256(open(model, 'rb').read()).hexdigest()))
        for i, row in enumerate(z):
            best = np.argsort(-row)[:cases.TOP]
            lines.append('%d %s' % (i, ' '.join('%d:%.5f' % (t, row[t]) for t in best)))
        print('recorded', name, flush=True)
    open(HERE + '/vectors.txt', 'w').write('\n'.join(lines) + '\n')


def record_archs(words):
    """top log-probabilities of a model of every architecture (mkarch.py); words: only these, the other lines stay"""
    path, blocks = HERE + '/archs.txt', {}
    for line in open(path) if os.path.exists(path) else []:
        if line[0] == '#': continue
        if line.startswith('= '): name = line[2:].split('  ')[0]; blocks[name] = []
        blocks[name].append(line.rstrip('\n'))
    for name in mkarch.MODELS:
        if words and not any(w in name for w in words): continue
        model = WORK + '/model.gguf'
        cases.make_arch(model, name)
        try: z = peer_logits(model, cases.ARCH_IDS.get(name, cases.IDS), 'f32').astype('f8')[-len(cases.IDS):]
        except SystemExit as e:
            print('NOT recorded', name, str(e)[-700:], flush=True)
            continue
        z -= z.max(1, keepdims=True)
        z -= np.log(np.exp(z).sum(1, keepdims=True))
        blocks[name] = ['= %s  %s' % (name, hashlib.sha256(open(model, 'rb').read()).hexdigest())]
        for row in z:
            best = np.argsort(-row)[:cases.ARCH_TOP]
            blocks[name].append(' '.join('%d:%.4f' % (t, -row[t]) for t in best))
        print('recorded %-24s entropy %.2f' % (name, -(np.exp(z) * z).sum(1).mean()), flush=True)
    head = ['# negated top-%d log-probabilities of each position by %s' % (cases.ARCH_TOP, peer_version()),
            '# raw command: peerlogits MODEL.gguf OUT.f32 f32 IDS (the last %d positions)' % len(cases.IDS), '# models: tests/golden/mkarch.py; "= NAME  sha256", then a line a position: id:-logprob ...']
    open(path, 'w').write('\n'.join(head + [line for name in mkarch.MODELS for line in blocks.get(name, [])]) + '\n')


def record_embeddings(words):
    """vectors of models that embed (mkarch.EMBEDDERS), of the first n of cases.IDS; words: only these, the other lines stay"""
    path, lines = HERE + '/embeddings.txt', {}
    for line in open(path) if os.path.exists(path) else []:
        if line[0] != '#': lines[line.split('  ')[0]] = line.rstrip('\n')
    for name in mkarch.EMBEDDERS:
        if words and not any(w in name for w in words): continue
        model = WORK + '/model.gguf'
        cases.make_arch(model, name)
        digest = hashlib.sha256(open(model, 'rb').read()).hexdigest()
        for n in cases.LENGTHS:
            try: sh(PEERLOGITS, model, WORK + '/peer.f32', 'vector', ','.join(map(str, cases.IDS[:n])))
            except SystemExit as e:
                print('NOT recorded', name, str(e)[-700:], flush=True)
                break
            v = np.fromfile(WORK + '/peer.f32', '<f4')
            lines['%s/%d' % (name, n)] = '%s/%d  %s  %s' % (name, n, digest, ' '.join('%.5g' % x for x in v))
        print('recorded %-24s %d numbers, of length %.3f' % (name, len(v), np.linalg.norm(v)), flush=True)
    head = ['# vectors, and scores of rerankers, by %s' % peer_version(), '# raw command: peerlogits MODEL.gguf OUT.f32 vector IDS',
            '# models: tests/golden/mkarch.py EMBEDDERS; "NAME/TOKENS  sha256  numbers", not normalised']
    open(path, 'w').write('\n'.join(head + [lines['%s/%d' % (name, n)] for name in mkarch.EMBEDDERS for n in cases.LENGTHS if '%s/%d' % (name, n) in lines]) + '\n')


def main():
    ap = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    ap.add_argument('--models', default='small,small256,qwen3b'); ap.add_argument('--types', default=','.join(TYPES))
    ap.add_argument('--devices', default='cpu,llvmpipe')
    ap.add_argument('--tokens-only', action='store_true'); ap.add_argument('--logits-only', action='store_true')
    ap.add_argument('--record', action='store_true'); ap.add_argument('--record-tokens', action='store_true')
    ap.add_argument('--record-archs', nargs='*', metavar='WORD', help='records tests/golden/peer/archs.txt alone')
    ap.add_argument('--record-embeddings', nargs='*', metavar='WORD', help='records tests/golden/peer/embeddings.txt alone')
    a = ap.parse_args()
    if not os.access(TAWNY, os.X_OK):
        sys.exit('%s is not there: make host, or name the binary in TAWNY' % TAWNY)
    os.makedirs(WORK, exist_ok=True)
    print('peer:', peer_version())
    sh('gcc', '-O2', HERE + '/peerlogits.c', '-o', PEERLOGITS, '-lllama', '-lggml', '-lggml-base', '-lm')
    if a.record_archs is not None:
        return record_archs(a.record_archs)
    if a.record_embeddings is not None:
        return record_embeddings(a.record_embeddings)
    if a.record:
        record_vectors()
        record_archs([])
        record_embeddings([])
    if not a.logits_only:
        sh('gcc', '-O2', HERE + '/peertokens.c', '-o', PEERTOKENS, '-lllama')
        lines = compare_vocabularies(a.record)
        if a.record or a.record_tokens: record_hashes(lines)
        compare_tokens(a.record)
    for shape in a.models.split(',') if not a.tokens_only and not a.record else []:
        compare_logits(shape, ['as is'] if shape == 'builtin' else a.types.split(','), a.devices.split(','))
    print('peer: %d comparisons failed' % failed)
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
