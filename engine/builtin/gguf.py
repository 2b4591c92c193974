"""gguf.py - writes a llama model as GGUF version 3, matrices in Q8_0.

File: "GGUF", u32 version, u64 tensors, u64 keys, the keys, the tensor descriptions (name, dims with
the row length first, type, offset), zeros up to a multiple of 32, the data, every tensor padded to
32 bytes.  A Q8_0 block is 32 weights in 34 bytes: an f16 scale d = max|w| / 127, then 32 signed
bytes round(w / d).
"""
import os
import struct

import numpy as np

import bpe

U32, F32, BOOL, STR, ARR, I32 = 4, 6, 7, 8, 9, 5        # value types
T_F32, T_Q8_0 = 0, 8                                    # tensor types
LEARNT = 'tawny.learnt'         # our own key: what kinds of examples the model was trained on
TEMPLATE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'template.jinja')


def string(s):
    b = s.encode()
    return struct.pack('<Q', len(b)) + b


def value(typ, v):
    return {U32: lambda: struct.pack('<I', v), F32: lambda: struct.pack('<f', v),
            I32: lambda: struct.pack('<i', v),
            BOOL: lambda: struct.pack('<?', v), STR: lambda: string(v)}[typ]()


def key(name, typ, v):
    if isinstance(v, list):
        return string(name) + struct.pack('<IIQ', ARR, typ,
                                          len(v)) + b''.join(value(typ, x) for x in v)
    return string(name) + struct.pack('<I', typ) + value(typ, v)


def q8_0(w):
    b = np.asarray(w, np.float32).reshape(-1, 32)
    d = (np.abs(b).max(1, keepdims=True) / 127).astype(np.float16)
    inv = np.where(d > 0, 1 / np.maximum(d.astype(np.float32), 1e-12), 0)
    q = np.clip(np.rint(b * inv), -127, 127).astype(np.int8)
    return np.concatenate([d.view(np.uint8), q.view(np.uint8)], 1).tobytes()


def write(path, hp, voc, tensors, learnt):
    with open(TEMPLATE) as f:
        template = f.read()
    A, n = 'llama.', len(voc.tokens)
    keys = [('general.architecture', STR, 'llama'), ('general.name', STR, 'tawny-builtin'),
            ('general.type', STR, 'model'),
            ('general.license', STR, 'mit'), ('general.file_type', U32, 7),
            ('general.quantization_version', U32, 2),
            (A + 'block_count', U32, hp['n_layer']), (A + 'context_length', U32, hp['n_ctx']),
            (A + 'embedding_length', U32, hp['n_embd']),
            (A + 'feed_forward_length', U32, hp['n_ff']),
            (A + 'attention.head_count', U32, hp['n_head']),
            (A + 'attention.head_count_kv', U32, hp['n_kv']),
            (A + 'attention.layer_norm_rms_epsilon', F32, hp['eps']),
            (A + 'rope.freq_base', F32, hp['rope_base']),
            (A + 'rope.dimension_count', U32, hp['head_dim']), (A + 'vocab_size', U32, n),
            ('tokenizer.ggml.model', STR, 'gpt2'), ('tokenizer.ggml.pre', STR, 'qwen2'),
            ('tokenizer.ggml.tokens', STR, voc.tokens),
            ('tokenizer.ggml.token_type', I32,
             [3 if t in bpe.SPECIALS else 4 if t in bpe.MARKS else 1 for t in voc.tokens]),
            ('tokenizer.ggml.merges', STR, ['%s %s' % m for m in voc.merges]),
            ('tokenizer.ggml.bos_token_id', U32, voc.eot),
            ('tokenizer.ggml.eos_token_id', U32, voc.im_end),
            ('tokenizer.ggml.padding_token_id', U32, voc.eot),
            ('tokenizer.ggml.add_bos_token', BOOL, False),
            ('tokenizer.chat_template', STR, template), (LEARNT, STR, learnt)]
    infos, data = b'', b''
    for name, w in tensors:
        typ = T_Q8_0 if w.ndim == 2 else T_F32
        infos += string(name) + struct.pack('<I%dQ' % w.ndim, w.ndim,
                                            *w.shape[::-1]) + struct.pack('<IQ', typ, len(data))
        data += q8_0(w) if typ == T_Q8_0 else np.asarray(w, '<f4').tobytes()
        data += bytes(-len(data) % 32)
    head = struct.pack('<4sIQQ', b'GGUF', 3, len(tensors),
                       len(keys)) + b''.join(key(*k) for k in keys) + infos
    with open(path, 'wb') as f:
        f.write(head + bytes(-len(head) % 32) + data)


def read(path):
    """({key: value}, {name: tensor as float32}) of a file; tensors in F32 or Q8_0 alone"""
    scalars = {0: 'B', 1: 'b', 2: 'H', 3: 'h', U32: 'I', I32: 'i', F32: 'f', BOOL: '?', 10: 'Q',
               11: 'q', 12: 'd'}
    with open(path, 'rb') as f:
        def take(form):
            return struct.unpack('<' + form, f.read(struct.calcsize('<' + form)))

        def item(typ):
            if typ == STR:
                return f.read(take('Q')[0]).decode(errors='replace')
            if typ == ARR:
                of, n = take('IQ')
                return [item(of) for _ in range(n)]
            return take(scalars[typ])[0]
        _, _, n_tensors, n_keys = take('4sIQQ')
        keys, infos, tensors = {}, [], {}
        for _ in range(n_keys):
            name = item(STR)
            keys[name] = item(take('I')[0])
        for _ in range(n_tensors):
            name = item(STR)
            dims = take('%dQ' % take('I')[0])
            infos.append((name, dims) + take('IQ'))
        start = f.tell() + -f.tell() % 32
        for name, dims, typ, offset in infos:
            n = int(np.prod(dims))
            f.seek(start + offset)
            if typ == T_F32:
                w = np.frombuffer(f.read(4 * n), '<f4')
            elif typ == T_Q8_0:
                b = np.frombuffer(f.read(n // 32 * 34), np.uint8).reshape(-1, 34)
                w = b[:, :2].copy().view('<f2').astype(np.float32) * b[:, 2:].view(np.int8)
            else:
                raise ValueError('%s: %s is of type %d; F32 or Q8_0 was expected' % (path, name, typ))
            tensors[name] = w.reshape(dims[::-1])
    return keys, tensors


def learnt(path):
    """the kinds that the model of a file was trained on; none where the file has no such key"""
    return read(path)[0].get(LEARNT, [])
