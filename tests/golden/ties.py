"""ties.py - the logits of a qwen35moe GGUF in float64 and what its routers decide, to tell a wrong answer from a tie.

Half floats move what a router reads by about 1e-3. Where the last expert that is chosen and the first that is not are nearer than that,
either choice is right, and answers behind it differ by far more than the error that made them differ: the state of the delta rule
carries them on to all later positions. So a device is compared with float64 that takes the device's side in such ties, found one by one.

Written from the papers (Yang et al. 2024, Shazeer et al. 2017) and the format's description; shares no line with the engine.
"""
import numpy as np
import reference


def silu(x): return x / (1 + np.exp(-x))


def unit(x, eps): return x / np.maximum(np.sqrt((x * x).sum(-1, keepdims=True)), eps)


class Model:
    def __init__(self, path):
        self.g = reference.Gguf(path)
        self.weights = {name: self.g.tensor(name) for name in self.g.tensors}
        self.key = lambda name, default=None: self.g.keys.get('qwen35moe.' + name, default)
        self.eps = self.key('attention.layer_norm_rms_epsilon')

    def norm(self, x, name): return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.eps) * self.weights[name]

    def attention(self, b, x):
        w, T, n, n_kv, d, n_rot = self.weights, len(x), self.key('attention.head_count'), self.key('attention.head_count_kv'), self.key('attention.key_length'), self.key('rope.dimension_count')
        angle = np.arange(T)[:, None] * float(self.key('rope.freq_base')) ** (-2.0 * np.arange(n_rot // 2) / n_rot)
        cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]

        def rotate(x):
            y, a, c = x.copy(), slice(0, n_rot // 2), slice(n_rot // 2, n_rot)
            y[:, :, a], y[:, :, c] = x[:, :, a] * cos - x[:, :, c] * sin, x[:, :, a] * sin + x[:, :, c] * cos
            return y

        both = (x @ w[b + 'attn_q.weight'].T).reshape(T, n, 2 * d)
        q = rotate(self.norm(both[:, :, :d], b + 'attn_q_norm.weight'))
        k = rotate(self.norm((x @ w[b + 'attn_k.weight'].T).reshape(T, n_kv, d), b + 'attn_k_norm.weight')).repeat(n // n_kv, 1)
        v = (x @ w[b + 'attn_v.weight'].T).reshape(T, n_kv, d).repeat(n // n_kv, 1)
        s = np.einsum('thd,shd->hts', q, k) / np.sqrt(d) + np.triu(np.full((T, T), -np.inf), 1)
        s = np.exp(s - s.max(-1, keepdims=True))
        out = np.einsum('hts,shd->thd', s / s.sum(-1, keepdims=True), v) / (1 + np.exp(-both[:, :, d:]))
        return out.reshape(T, n * d) @ w[b + 'attn_output.weight'].T

    def delta(self, b, x):
        w, T, d, n_k, n = self.weights, len(x), self.key('ssm.state_size'), self.key('ssm.group_count'), self.key('ssm.time_step_rank')
        taps = w[b + 'ssm_conv1d.weight']
        padded = np.vstack([np.zeros((taps.shape[1] - 1, taps.shape[0])), x @ w[b + 'attn_qkv.weight'].T])
        mixed = silu(sum(padded[j:j + T] * taps[:, j] for j in range(taps.shape[1])))
        q, k = (unit(mixed[:, at:at + n_k * d].reshape(T, n_k, d), self.eps)[:, np.arange(n) % n_k] for at in (0, n_k * d))
        v = mixed[:, 2 * n_k * d:].reshape(T, n, d)
        decay = np.exp(w[b + 'ssm_a'] * np.logaddexp(0, x @ w[b + 'ssm_alpha.weight'].T + w[b + 'ssm_dt.bias']))
        beta = 1 / (1 + np.exp(-(x @ w[b + 'ssm_beta.weight'].T)))
        state, out = np.zeros((n, d, d)), np.zeros((T, n, d))
        for t in range(T):
            state *= decay[t][:, None, None]
            state += (beta[t][:, None] * (v[t] - np.einsum('hvk,hk->hv', state, k[t])))[:, :, None] * k[t][:, None]
            out[t] = np.einsum('hvk,hk->hv', state, q[t]) / np.sqrt(d)
        z = (x @ w[b + 'attn_gate.weight'].T).reshape(T, n, d)
        return (self.norm(out, b + 'ssm_norm.weight') * silu(z)).reshape(T, n * d) @ w[b + 'ssm_out.weight'].T

    def experts(self, b, x, swaps, margins):
        """swaps: tokens whose last chosen expert gives way to the next; margins: of each token, by how much it leads that"""
        w, n_used = self.weights, self.key('expert_used_count')
        scores = x @ w[b + 'ffn_gate_inp.weight'].T
        order = np.argsort(-scores, 1, kind='stable')
        y = np.zeros_like(x)
        for t, s in enumerate(scores):
            margins.append(s[order[t][n_used - 1]] - s[order[t][n_used]])
            chosen = list(order[t][:n_used - 1]) + [order[t][n_used if t in swaps else n_used - 1]]
            share = np.exp(s[chosen] - s[chosen].max())
            for e, part in zip(chosen, share / share.sum()):
                inner = silu(w[b + 'ffn_gate_exps.weight'][e] @ x[t]) * (w[b + 'ffn_up_exps.weight'][e] @ x[t])
                y[t] += part * (w[b + 'ffn_down_exps.weight'][e] @ inner)
        inner = silu(x @ w[b + 'ffn_gate_shexp.weight'].T) * (x @ w[b + 'ffn_up_shexp.weight'].T)
        gate = 1 / (1 + np.exp(-(x @ w[b + 'ffn_gate_inp_shexp.weight'].reshape(-1))))
        return y + gate[:, None] * (inner @ w[b + 'ffn_down_shexp.weight'].T)

    def logits(self, ids, swaps=()):
        """(logits, margins of the routers [layer][token]); swaps: {(layer, token)}"""
        x, margins = self.weights['token_embd.weight'][ids], []
        for i in range(self.key('block_count')):
            b, of_layer = 'blk.%d.' % i, []
            h = self.norm(x, b + 'attn_norm.weight')
            x = x + (self.attention if b + 'attn_q.weight' in self.weights else self.delta)(b, h)
            x = x + self.experts(b, self.norm(x, b + 'post_attention_norm.weight'), {t for layer, t in swaps if layer == i}, of_layer)
            margins.append(of_layer)
        return self.norm(x, 'output_norm.weight') @ self.weights['output.weight'].T, np.array(margins)
