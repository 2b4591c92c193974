"""drafts.py - the block behind the trunk that predicts one token further (MTP), against a float64 computation of it.

The small models of mkarch.DRAFTERS have, weight by weight, the trunk of a model whose log-probabilities are recorded from llama.cpp:
with the block loaded it must give these; its states must give its logits; and from the states, the block's logits are computed here, in
float64 and from the papers' formulas alone. draft.c drives the engine.
"""
import os, subprocess
import numpy as np
import archs, cases, mkarch, reference

SPLIT = 33  # of 40 tokens: the rest of a pass takes the kernels for few rows
# rms of the error, mean KL: as of a layer with its keys and values in F16; states: their product with the output matrix against logits
LIMITS, STATES = (0.006, 2e-5), 1e-3


def sigmoid(x): return 1 / (1 + np.exp(-x))


def silu(x): return x * sigmoid(x)


def block(path, ids, h):
    """(logits, states) of the block at each position, which reads its token and h, a row a position: the trunk's state before it"""
    g = reference.Gguf(path)
    arch = g.keys['general.architecture'].decode()
    key = lambda name, default=None: g.keys.get(arch + '.' + name, default)
    b = 'blk.%d.' % (key('block_count') - key('nextn_predict_layers'))
    w = lambda name: g.tensor(b + name)
    has = lambda name: b + name in g.tensors
    T, eps, n_head, n_kv, hd, n_rot = len(ids), key('attention.layer_norm_rms_epsilon'), *(key('attention.' + k) for k in ('head_count', 'head_count_kv', 'key_length')), key('rope.dimension_count')
    norm = lambda x, weight: x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight
    linear = lambda x, name: x @ w(name + '.weight').T + (w(name + '.bias') if has(name + '.bias') else 0)
    angle = np.arange(T)[:, None, None] * float(key('rope.freq_base')) ** (-2.0 * np.arange(n_rot // 2) / n_rot)

    def rotate(x):
        y, half = x.copy(), n_rot // 2
        y[..., :half] = x[..., :half] * np.cos(angle) - x[..., half:n_rot] * np.sin(angle)
        y[..., half:n_rot] = x[..., :half] * np.sin(angle) + x[..., half:n_rot] * np.cos(angle)
        return y

    embd = w('nextn.embed_tokens.weight') if has('nextn.embed_tokens.weight') else g.tensor('token_embd.weight')
    x = np.concatenate([norm(embd[ids], w('nextn.enorm.weight')), norm(h, w('nextn.hnorm.weight'))], 1) @ w('nextn.eh_proj.weight').T
    # attention; in Qwen3.5 each head's q is followed by its gate
    y, gated = norm(x, w('attn_norm.weight')), arch.startswith('qwen35')
    q = linear(y, 'attn_q').reshape(T, n_head, -1)
    q, gate = q[..., :hd], q[..., hd:].reshape(T, -1)
    k, v = linear(y, 'attn_k').reshape(T, n_kv, hd), linear(y, 'attn_v').reshape(T, n_kv, hd)
    q, k = rotate(norm(q, w('attn_q_norm.weight'))), rotate(norm(k, w('attn_k_norm.weight'))).repeat(n_head // n_kv, 1)
    s = np.einsum('thd,shd->hts', q, k) / np.sqrt(hd) + np.triu(np.full((T, T), -np.inf), 1)
    p = np.exp(s - s.max(-1, keepdims=True))
    att = np.einsum('hts,shd->thd', p / p.sum(-1, keepdims=True), v.repeat(n_head // n_kv, 1)).reshape(T, -1)
    x = x + linear(att * sigmoid(gate) if gated else att, 'attn_output')
    # the network, or experts
    y = norm(x, w('post_attention_norm.weight'))
    network = lambda suffix: linear(silu(linear(y, 'ffn_gate' + suffix)) * linear(y, 'ffn_up' + suffix), 'ffn_down' + suffix)
    if not key('expert_count'):
        x = x + network('')
    else:
        scores = linear(y, 'ffn_gate_inp')
        scores = np.exp(scores) if gated else sigmoid(scores)
        choice = scores if gated else scores + w('exp_probs_b.bias')
        shared = network('_shexp')
        out = shared * sigmoid(y @ w('ffn_gate_inp_shexp.weight').reshape(-1, 1)) if gated else shared
        gates, ups, downs = w('ffn_gate_exps.weight'), w('ffn_up_exps.weight'), w('ffn_down_exps.weight')
        for t in range(T):
            used = np.argsort(-choice[t])[:key('expert_used_count')]
            weights = scores[t, used] / scores[t, used].sum() * key('expert_weights_scale', 1.0)
            for e, weight in zip(used, weights): out[t] += weight * (downs[e] @ (silu(gates[e] @ y[t]) * (ups[e] @ y[t])))
        x = x + out
    x = norm(x, w('nextn.shared_head_norm.weight'))
    return x @ (w('nextn.shared_head_head.weight') if has('nextn.shared_head_head.weight') else g.tensor('output.weight')).T, x


def run(work, tool, check, only, devices):
    known, ids = archs.recorded(), cases.IDS
    for name in mkarch.DRAFTERS:
        if only and not any(w in 'drafts ' + name for w in only): continue
        model, n = work + '/draft.gguf', len(ids)
        cases.make_arch(model, name)
        output = reference.Gguf(model).tensor('output.weight')
        d, vocab = output.shape[1], output.shape[0]
        for column, device in devices:
            for batch in (SPLIT, 1):
                label = 'drafts %s %s %d' % (name, column, batch)
                r = subprocess.run([tool, model, device, str(batch), work + '/draft.f32', ','.join(map(str, ids))], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                if r.returncode != 0:
                    check(label, False, r.stderr.strip()[-300:])
                    continue
                got = np.fromfile(work + '/draft.f32', '<f4').astype('f8')
                trunk, states, head = np.split(got, [n * vocab, n * vocab + n * d])
                trunk, states, head = trunk.reshape(n, vocab), states.reshape(n, d), head.reshape(n + 1, vocab)
                kl, worst, top = archs.compare(trunk, known[name.split()[0]][1])
                check(label + ' trunk', kl <= archs.KL and worst <= archs.WORST, 'KL %.1e, worst log-probability off by %.4f, top-1 %.3f' % (kl, worst, top))
                off = float(np.sqrt(((states @ output.T - trunk) ** 2).mean()))
                check(label + ' states', off <= STATES, 'their logits are off by %.1e rms (limit %g)' % (off, STATES))
                h = np.concatenate([np.zeros((1, d)), states])
                last = block(model, ids, h[:n])[1][-1:]  # what the row behind all reads is the block's own
                want = block(model, ids + ids[:1], np.concatenate([h[:n], last]))[0]
                rms, most, kl, top = reference.compare(head, want)
                check(label + ' block', bool(np.isfinite(head).all()) and rms <= LIMITS[0] and kl <= LIMITS[1],
                      'rms %.4f (limit %g), largest %.4f, KL %.1e (limit %g), top-1 %.3f' % (rms, LIMITS[0], most, kl, LIMITS[1], top))
