"""exact_qwen35moe.py - a qwen35moe GGUF in float64 (exact.py). Written from the papers (Yang et al. 2024, Shazeer et al. 2017) and the
format's description; shares no line with the engine.
"""
import numpy as np
import exact
from exact import sigmoid, silu, softmax


class Model(exact.Model):
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
        s = softmax(np.einsum('thd,shd->hts', q, k) / np.sqrt(d) + np.triu(np.full((T, T), -np.inf), 1))
        out = np.einsum('hts,shd->thd', s, v) * sigmoid(both[:, :, d:])
        return out.reshape(T, n * d) @ w[b + 'attn_output.weight'].T

    def delta(self, b, x):
        w, T, d, n_k, n = self.weights, len(x), self.key('ssm.state_size'), self.key('ssm.group_count'), self.key('ssm.time_step_rank')
        taps = w[b + 'ssm_conv1d.weight']
        padded = np.vstack([np.zeros((taps.shape[1] - 1, taps.shape[0])), x @ w[b + 'attn_qkv.weight'].T])
        mixed = silu(sum(padded[j:j + T] * taps[:, j] for j in range(taps.shape[1])))
        l2 = lambda x: x / np.maximum(np.sqrt((x * x).sum(-1, keepdims=True)), self.eps)
        q, k = (l2(mixed[:, at:at + n_k * d].reshape(T, n_k, d))[:, np.arange(n) % n_k] for at in (0, n_k * d))
        v = mixed[:, 2 * n_k * d:].reshape(T, n, d)
        decay = np.exp(w[b + 'ssm_a'] * np.logaddexp(0, x @ w[b + 'ssm_alpha.weight'].T + w[b + 'ssm_dt.bias']))
        beta = sigmoid(x @ w[b + 'ssm_beta.weight'].T)
        state, out = np.zeros((n, d, d)), np.zeros((T, n, d))
        for t in range(T):
            state *= decay[t][:, None, None]
            state += (beta[t][:, None] * (v[t] - np.einsum('hvk,hk->hv', state, k[t])))[:, :, None] * k[t][:, None]
            out[t] = np.einsum('hvk,hk->hv', state, q[t]) / np.sqrt(d)
        z = (x @ w[b + 'attn_gate.weight'].T).reshape(T, n, d)
        return (self.norm(out, b + 'ssm_norm.weight') * silu(z)).reshape(T, n * d) @ w[b + 'ssm_out.weight'].T

    def experts(self, i, b, x, choices):
        w, y = self.weights, np.zeros_like(x)
        for t, s in enumerate(self.linear(x, b + 'ffn_gate_inp.weight')):
            chosen = choices.largest(('experts', i), t, s, self.key('expert_used_count'))
            for e, part in zip(chosen, softmax(s[chosen])): y[t] += part * self.expert(b, e, x[t])
        inner = silu(self.linear(x, b + 'ffn_gate_shexp.weight')) * self.linear(x, b + 'ffn_up_shexp.weight')
        gate = sigmoid(x @ w[b + 'ffn_gate_inp_shexp.weight'].reshape(-1))
        return y + gate[:, None] * self.linear(inner, b + 'ffn_down_shexp.weight')

    def forward(self, ids, choices):
        x = self.weights['token_embd.weight'][ids]
        for i in range(self.key('block_count')):
            b = 'blk.%d.' % i
            h = self.norm(x, b + 'attn_norm.weight')
            x = x + (self.attention if b + 'attn_q.weight' in self.weights else self.delta)(b, h)
            x = x + self.experts(i, b, self.norm(x, b + 'post_attention_norm.weight'), choices)
        return self.linear(self.norm(x, 'output_norm.weight'), 'output.weight')
