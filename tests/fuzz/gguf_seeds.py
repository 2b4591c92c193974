#!/usr/bin/env python3
"""gguf_seeds.py - writes tests/fuzz/gguf/: small model files, good ones and one for each class of malice.

Run it again after changing it; the files are committed (2-6 KB each) so that the replay needs nothing. The classes are those of
published advisories on GGUF parsers: counts and lengths, nesting, duplicate keys, dimensions and their products, type ids,
zero and huge hyper-parameters, alignment, offsets, overlaps, truncation, tokenizer tables, special ids.
"""
import os, random, struct

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'gguf')
U8, I32, U32, F32, BOOL, STR, ARR, U64 = 0, 5, 4, 6, 7, 8, 9, 10
D, FF, H, KV, L = 32, 32, 2, 1, 1
TOKENS = list('abcdefgh!') + ['Ġ', 'Ċ', 'Ã', '¶', 'ab', 'abc', 'Ġa', '<|im_start|>', '<|im_end|>']
MERGES = ['a b', 'ab c', 'Ġ a']
HUGE = 2**64 - 1


def text(s):
    b = s.encode() if isinstance(s, str) else s
    return struct.pack('<Q', len(b)) + b


def key(name, typ, value, count=None):
    head = text(name)
    if typ == ARR:
        item, values = value
        body = b''.join(map(text, values)) if item == STR else struct.pack('<%d%s' % (len(values), {I32: 'i', F32: 'f', U8: 'B'}[item]), *values)
        return head + struct.pack('<IIQ', ARR, item, len(values) if count is None else count) + body
    return head + struct.pack('<I', typ) + (text(value) if typ == STR else struct.pack({U32: '<I', F32: '<f', BOOL: '<?', U64: '<Q', I32: '<i'}[typ], value))


def tensor(name, dims, typ, offset, n_dims=None):
    return text(name) + struct.pack('<I', len(dims) if n_dims is None else n_dims) + struct.pack('<%dQ' % len(dims), *dims) + struct.pack('<IQ', typ, offset)


def keys():
    return {
        'general.architecture': (STR, 'llama'), 'llama.block_count': (U32, L), 'llama.context_length': (U32, 16),
        'llama.embedding_length': (U32, D), 'llama.feed_forward_length': (U32, FF), 'llama.attention.head_count': (U32, H),
        'llama.attention.head_count_kv': (U32, KV), 'llama.attention.layer_norm_rms_epsilon': (F32, 1e-5),
        'llama.rope.freq_base': (F32, 1e4), 'tokenizer.ggml.model': (STR, 'gpt2'), 'tokenizer.ggml.pre': (STR, 'gpt-2'),
        'tokenizer.ggml.tokens': (ARR, (STR, TOKENS)),
        'tokenizer.ggml.token_type': (ARR, (I32, [1] * (len(TOKENS) - 2) + [3, 3])),
        'tokenizer.ggml.merges': (ARR, (STR, MERGES)), 'tokenizer.ggml.bos_token_id': (U32, 0), 'tokenizer.ggml.eos_token_id': (U32, len(TOKENS) - 1)}


def shapes():
    out = {'token_embd.weight': [D, len(TOKENS)], 'output_norm.weight': [D]}
    for i in range(L):
        b = 'blk.%d.' % i
        out.update({b + 'attn_norm.weight': [D], b + 'attn_q.weight': [D, D], b + 'attn_k.weight': [D, D * KV // H],
                    b + 'attn_v.weight': [D, D * KV // H], b + 'attn_output.weight': [D, D], b + 'ffn_norm.weight': [D],
                    b + 'ffn_gate.weight': [D, FF], b + 'ffn_up.weight': [D, FF], b + 'ffn_down.weight': [FF, D]})
    return out


SIZE = {0: (1, 4), 1: (1, 2), 8: (32, 34), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 20: (32, 18), 30: (1, 2), 39: (32, 17)}


def model(k=None, s=None, kind=2, version=3, n_values=None, n_tensors=None, infos=None, more=b'', cut=None, align=32, offsets=None, data=None):
    k, s = k or keys(), s or shapes()
    body = b''.join(key(n, *v) for n, v in k.items()) + more
    offset, table, n_data = 0, b'', 0
    for i, (name, dims) in enumerate(s.items()):
        typ = kind if len(dims) > 1 else 0
        n = 1
        for d in dims: n *= d
        if n > 2**20: n = 0  # a lie: what it announces is not written
        block, size = SIZE.get(typ, (1, 4))
        table += tensor(name, dims, typ, offset if offsets is None else offsets(i, offset))
        offset += (n // block * size + 31) // 32 * 32
    n_data = offset
    table = table if infos is None else infos
    out = struct.pack('<4sIQQ', b'GGUF', version, len(s) if n_tensors is None else n_tensors, len(k) + (1 if more else 0) if n_values is None else n_values)
    out += body + table
    out += b'\0' * (-len(out) % align)
    r = random.Random(3)
    out += bytes(r.choice([0, 1, 17, 60, 44, 0x2c, 200]) for _ in range(n_data)) if data is None else data
    return out if cut is None else out[:cut]


def change(name, *value):
    k = keys()
    k[name] = value
    return model(k)


def without(name):
    k = keys()
    del k[name]
    return model(k)


def reshape(name, dims):
    s = shapes()
    s[name] = dims
    return model(None, s)


def all_seeds():
    out = {'good-%s' % n: model(kind=t) for n, t in (('f32', 0), ('f16', 1), ('q8_0', 8), ('q4_0', 2), ('q4_1', 3), ('q5_0', 6), ('q5_1', 7), ('iq4_nl', 20), ('bf16', 30), ('mxfp4', 39))}
    out['good-v2'] = model(version=2)
    out['good-qwen2-missing-bias'] = model({n.replace('llama.', 'qwen2.'): ((STR, 'qwen2') if n == 'general.architecture' else v) for n, v in keys().items()})
    for n in ('llama-bpe', 'qwen2', 'default', 'nonsense'):
        out['pre-' + n] = change('tokenizer.ggml.pre', STR, n)
    for what, n in (('zero', 0), ('huge', HUGE), ('more', 1000)):
        out['count-values-' + what], out['count-tensors-' + what] = model(n_values=n), model(n_tensors=n)
    for what, n in (('zero', 0), ('huge', 2**62), ('wrap', 2**61 + 1), ('more', 1000)):
        out['count-array-strings-' + what] = model(more=key('x', ARR, (STR, ['a']), n))
        out['count-array-ints-' + what] = model(more=key('x', ARR, (I32, [1]), n))
    out['length-key-huge'] = model(more=struct.pack('<Q', HUGE) + b'x')
    out['length-key-empty'] = model(more=key('', U32, 1))
    out['length-string-huge'] = model(more=text('x') + struct.pack('<IQ', STR, HUGE - 7))
    out['nested-array'] = model(more=text('x') + struct.pack('<IIQ', ARR, ARR, 1) + struct.pack('<IQ', U8, 1) + b'\1')
    out['nested-deep'] = model(more=text('x') + struct.pack('<I', ARR) + struct.pack('<IQ', ARR, 1) * 500)
    out['duplicate-key'] = model(more=key('llama.block_count', U32, 7))
    out['type-value-13'] = model(more=text('x') + struct.pack('<IQ', 13, 1))
    out['type-value-negative'] = model(more=text('x') + struct.pack('<iQ', -1, 1))
    for what, t in (('4', 4), ('99', 99), ('negative', 2**32 - 1), ('q2_k', 10), ('q4_k', 12), ('iq4_xs', 23), ('i32', 26)):
        out['type-tensor-' + what] = model(kind=t)
    for what, n in (('zero', 0), ('5', 5), ('huge', 2**31)):
        out['dims-count-' + what] = model(infos=tensor('token_embd.weight', [D, 18], 0, 0, n), n_tensors=1)
    for what, d in (('zero', [0, 4]), ('negative', [HUGE, 1]), ('product', [2**33, 2**33]), ('bytes', [2**31, 2**31]), ('three', [D, 2, 9]), ('one', [D * 18])):
        out['dims-' + what] = reshape('token_embd.weight', d)
    for n in ('block_count', 'context_length', 'embedding_length', 'feed_forward_length', 'attention.head_count', 'attention.head_count_kv'):
        for what, v in (('zero', 0), ('huge', 2**32 - 1), ('odd', 3), ('double', 64)):
            out['hyper-%s-%s' % (n, what)] = change('llama.' + n, U32, v)
    for what, v in (('nan', float('nan')), ('inf', float('inf')), ('negative', -1.0), ('zero', 0.0)):
        out['hyper-eps-' + what] = change('llama.attention.layer_norm_rms_epsilon', F32, v)
        out['hyper-base-' + what] = change('llama.rope.freq_base', F32, v)
        out['hyper-scale-' + what] = change('llama.rope.scaling.factor', F32, v)
    yarn = {'llama.rope.scaling.type': (STR, 'yarn'), 'llama.rope.scaling.factor': (F32, 4.0)}
    out['yarn-good'] = model(dict(keys(), **yarn, **{'llama.rope.scaling.original_context_length': (U32, 8)}))
    for what, k, v in (('factor-zero', 'factor', 0.0), ('factor-nan', 'factor', float('nan')), ('factor-tiny', 'factor', 1e-30), ('ext', 'yarn_ext_factor', 0.5),
                       ('beta-zero', 'yarn_beta_fast', 0.0), ('beta-inf', 'yarn_beta_slow', float('inf')), ('attn-nan', 'attn_factor', float('nan')), ('log', 'yarn_log_multiplier', 1.0)):
        out['yarn-' + what] = model(dict(keys(), **dict(yarn, **{'llama.rope.scaling.' + k: (F32, v)})))
    out['yarn-base-one'] = model(dict(keys(), **dict(yarn, **{'llama.rope.freq_base': (F32, 1.0)})))
    out['yarn-context-zero'] = model(dict(keys(), **dict(yarn, **{'llama.rope.scaling.original_context_length': (U32, 0)})))
    for what, v in (('zero', 0), ('odd', 3), ('huge', 2**31), ('wide', 64)):
        out['hyper-rot-' + what], out['hyper-key-length-' + what] = change('llama.rope.dimension_count', U32, v), change('llama.attention.key_length', U32, v)
    out['hyper-text'] = change('llama.block_count', STR, 'one')
    out['hyper-array'] = change('llama.attention.head_count', ARR, (I32, [2]))
    for what, v in (('zero', 0), ('one', 1), ('odd', 48), ('huge', 2**31), ('64', 64)):
        out['alignment-' + what] = change('general.alignment', U32, v)
    out['offset-unaligned'] = model(offsets=lambda i, o: o + 4)
    out['offset-huge'] = model(offsets=lambda i, o: HUGE - 31)
    out['offset-end'] = model(offsets=lambda i, o: o + 2**20)
    out['overlap-all'] = model(offsets=lambda i, o: 0)
    out['overlap-one'] = model(offsets=lambda i, o: o - 32 * (i == 3))
    for what, n in (('head', 20), ('keys', 300), ('tensors', 1500), ('data', -1)):
        out['cut-' + what] = model(cut=n)
    out['split'] = change('split.count', U32, 4)
    out['tensor-twice'] = model(infos=tensor('a', [8], 0, 0) + tensor('a', [8], 0, 32), n_tensors=2)
    out['tensor-unknown'] = model(None, dict(shapes(), extra=[D]))
    out['tensor-long-name'] = model(None, dict(shapes(), **{'n' * 65: [D]}))
    for name in ('general.architecture', 'llama.block_count', 'tokenizer.ggml.model', 'tokenizer.ggml.tokens', 'tokenizer.ggml.merges', 'tokenizer.ggml.token_type'):
        out['missing-' + name.split('.')[-1]] = without(name)
    out['tokens-none'] = change('tokenizer.ggml.tokens', ARR, (STR, []))
    out['tokens-empty-text'] = change('tokenizer.ggml.tokens', ARR, (STR, [''] * 3 + TOKENS[3:]))
    out['tokens-duplicate'] = change('tokenizer.ggml.tokens', ARR, (STR, ['a'] * 18))
    out['tokens-bad-utf8'] = change('tokenizer.ggml.tokens', ARR, (STR, [b'\xff', b'\xc4', b'\xe2\x82', b'\xc4\xa0\xc4'] + TOKENS[4:]))
    out['tokens-ints'] = change('tokenizer.ggml.tokens', ARR, (I32, [1] * 18))
    out['types-short'] = change('tokenizer.ggml.token_type', ARR, (I32, [1]))
    out['types-wild'] = change('tokenizer.ggml.token_type', ARR, (I32, [-1, 0, 2, 4, 5, 6, 7, 2**31 - 1, -2**31] * 2))
    out['types-all-user'] = change('tokenizer.ggml.token_type', ARR, (I32, [4] * 18))
    for what, m in (('cycle', ['a b', 'b a', 'ab ab', 'a ba']), ('no-space', ['ab']), ('ends', ['a ']), ('begins', [' a']), ('empty', ['']), ('twice', ['a b', 'a b', 'ab c']),
                    ('foreign', ['日 本', 'a b']), ('unknown-result', ['g h', 'gh g'])):
        out['merges-' + what] = change('tokenizer.ggml.merges', ARR, (STR, m))
    for n in ('bos', 'eos'):
        for what, v in (('range', 18), ('none', 2**32 - 1)):
            out['special-%s-%s' % (n, what)] = change('tokenizer.ggml.%s_token_id' % n, U32, v)
    out['special-add-bos-none'] = model(dict({n: v for n, v in keys().items() if 'bos' not in n}, **{'tokenizer.ggml.add_bos_token': (BOOL, True)}))
    out['data-nan'] = model(kind=0, data=b'\xff' * 60000)
    out['data-inf'] = model(kind=0, data=b'\0\0\x80\x7f' * 15000)
    out['magic'] = b'GGML' + model()[4:]
    out['big-endian'] = model()[:4] + b'\0\0\0\3' + model()[8:]
    out['empty'] = b''
    return out


def main():
    os.makedirs(OUT, exist_ok=True)
    seeds = all_seeds()
    for name, data in seeds.items():
        if len(data) > 20000: data = data[:20000]
        open(os.path.join(OUT, name), 'wb').write(data)
    print('%d files, %d bytes' % (len(seeds), sum(map(len, seeds.values()))))


if __name__ == '__main__':
    main()
