"""exact_deepseek4.py - a deepseek4 GGUF in float64 (exact.py). Written from the papers (DeepSeek-V4 2026; hyper-connections on a
manifold, Xie et al. 2025) and the format's description; shares no line with the engine.

A row stands for a block of 4 or 128 positions: column by column a mean of what they leave, weighted by the softmax of their scores. Rows of 4
read the block before too, of which the first half of the columns is taken, and are chosen by heads of their own over keys made alike.
"""
import numpy as np
import exact
import reference
from exact import sigmoid, softmax

FEW, LEAST = 4, 2.0 ** -14  # positions of a row that is chosen; what shares are divided by


class Model(exact.Model):
    def __init__(self, path):
        super().__init__(path)
        self.n_rot, self.n_stream = self.key('rope.dimension_count'), self.key('hyper_connection.count')
        self.few = self.key('hyper_connection.epsilon')
        clamp = lambda name, other: self.key(name, other)[0] if isinstance(self.key(name, other), list) else self.key(name, other)
        of_experts = clamp('swiglu_clamp_exp', 0.0)
        assert of_experts == clamp('swiglu_clamp_shexp', of_experts)
        self.most = of_experts or np.inf

    def gated(self, gate, up): return exact.silu(np.minimum(gate, self.most)) * np.clip(up, -self.most, self.most)

    def rotate(self, x, positions, ratio, way=1):
        """the last columns of x [len(positions)][heads][width]"""
        base = float(self.key('attention.compress_rope_freq_base' if ratio else 'rope.freq_base'))
        freq = base ** (-2.0 * np.arange(self.n_rot // 2) / self.n_rot)
        if ratio: freq, _ = reference.yarn(freq, self.key('rope.scaling.factor'), self.key('rope.scaling.original_context_length'), base, self.n_rot)
        angle = way * np.asarray(positions)[:, None, None] * freq
        y, u, v = x.copy(), x[:, :, -self.n_rot::2], x[:, :, 1 - self.n_rot::2]
        y[:, :, -self.n_rot::2], y[:, :, 1 - self.n_rot::2] = u * np.cos(angle) - v * np.sin(angle), u * np.sin(angle) + v * np.cos(angle)
        return y

    def rows(self, name, x, ratio):
        """one for each whole block of ratio positions: [n][dim]"""
        place, weight = self.weights[name + '_ape.weight'], self.weights[name + '_norm.weight']
        dim, n = len(weight), len(x) // ratio
        shape = lambda y: y[:n * ratio].reshape(n, ratio, y.shape[-1])
        left, score = shape(self.linear(x, name + '_kv.weight')), shape(self.linear(x, name + '_gate.weight')) + place
        if ratio == FEW:
            none = np.zeros((1, ratio, dim))
            before = lambda y, fill: np.concatenate([none + fill, y[:-1, :, :dim]])[:n]
            left, score = np.hstack([before(left, 0), left[:, :, dim:]]), np.hstack([before(score, -np.inf), score[:, :, dim:]])
        made = self.unit((softmax(score, 1) * left).sum(1)) * weight
        return self.rotate(made[:, None], np.arange(n) * ratio, ratio)[:, 0]

    def seen(self, i, b, x, low, choices):
        """of each position the rows that its attention sees; margins are shares of the largest score, for these have no scale of their own"""
        n_head, most = self.key('attention.indexer.head_count'), self.key('attention.indexer.top_k')
        keys = self.rows(b + 'indexer_compressor', x, FEW)
        q = self.rotate(self.linear(low, b + 'indexer.attn_q_b.weight').reshape(len(x), n_head, -1), np.arange(len(x)), FEW)
        score = np.einsum('thb,th->tb', np.maximum(np.einsum('thd,bd->thb', q, keys), 0), self.linear(x, b + 'indexer.proj.weight'))
        whole = [score[t, :(t + 1) // FEW] for t in range(len(x))]
        return [choices.largest(('rows', i), t, s / max(np.abs(s).max(initial=0), 1e-30), most) for t, s in enumerate(whole)]

    def attention(self, i, b, x, choices):
        T, ratio, window, n_head = len(x), self.key('attention.compress_ratios')[i], self.key('attention.sliding_window'), self.key('attention.head_count')
        low = self.norm(self.linear(x, b + 'attn_q_a.weight'), b + 'attn_q_a_norm.weight')
        q = self.rotate(self.unit(self.linear(low, b + 'attn_q_b.weight').reshape(T, n_head, -1)), np.arange(T), ratio)
        near = self.rotate(self.norm(self.linear(x, b + 'attn_kv.weight'), b + 'attn_kv_a_norm.weight')[:, None], np.arange(T), ratio)[:, 0]
        far = self.rows(b + 'attn_compressor', x, ratio) if ratio else None
        seen = self.seen(i, b, x, low, choices) if ratio == FEW else [np.arange((t + 1) // ratio if ratio else 0) for t in range(T)]
        out = np.zeros_like(q)
        for t in range(T):
            keys = near[max(t + 1 - window, 0):t + 1]
            if ratio: keys = np.vstack([keys, far[seen[t]]])
            s = softmax(np.column_stack([q[t] @ keys.T / np.sqrt(q.shape[-1]), self.weights[b + 'attn_sinks.weight']]))
            out[t] = s[:, :-1] @ keys
        n = self.key('attention.output_group_count')
        groups = self.rotate(out, np.arange(T), ratio, -1).reshape(T, n, -1)
        made = np.einsum('tgi,goi->tgo', groups, self.weights[b + 'attn_output_a.weight'].reshape(n, -1, groups.shape[-1]))
        return self.linear(made.reshape(T, -1), b + 'attn_output_b.weight')

    def experts(self, i, b, x, ids, choices):
        y = np.zeros_like(x)
        for t, logit in enumerate(self.linear(x, b + 'ffn_gate_inp.weight')):
            score = np.sqrt(np.logaddexp(0, logit))
            hashed = self.weights.get(b + 'ffn_gate_tid2eid.weight')
            chosen = hashed[ids[t]].astype(int) if hashed is not None else choices.largest(('experts', i), t, score + self.weights[b + 'exp_probs_b.bias'], self.key('expert_used_count'))
            share = score[chosen] / max(score[chosen].sum(), LEAST) * self.key('expert_weights_scale')
            for e, part in zip(chosen, share): y[t] += part * self.expert(b, e, x[t], self.gated)
        return y + self.linear(self.gated(self.linear(x, b + 'ffn_gate_shexp.weight'), self.linear(x, b + 'ffn_up_shexp.weight')), b + 'ffn_down_shexp.weight')

    def read(self, streams, name):
        """(what a block reads, what each stream gets of what it gives [t][n], how the streams are mixed [t][from][to])"""
        n, (T, _, _) = self.n_stream, streams.shape
        z = self.linear(self.unit(streams.reshape(T, -1)), name + '_fn.weight')
        z = z * self.weights[name + '_scale.weight'].repeat([n, n, n * n][:len(self.weights[name + '_scale.weight'])]) + self.weights[name + '_base.weight']
        x = np.einsum('ts,tsd->td', sigmoid(z[:, :n]) + self.few, streams)
        if z.shape[1] == n: return x, None, None
        m = softmax(z[:, 2 * n:].reshape(T, n, n)) + self.few
        for k in range(2 * self.key('hyper_connection.sinkhorn_iterations') - 1): m = m / (m.sum(1 + k % 2, keepdims=True) + self.few)
        return x, 2 * sigmoid(z[:, n:2 * n]), m

    def forward(self, ids, choices):
        streams = self.weights['token_embd.weight'][ids][:, None].repeat(self.n_stream, 1)
        for i in range(self.key('block_count')):
            b = 'blk.%d.' % i
            for name, norm, block in (('hc_attn', 'attn_norm', lambda x: self.attention(i, b, x, choices)), ('hc_ffn', 'ffn_norm', lambda x: self.experts(i, b, x, ids, choices))):
                x, gets, mixed = self.read(streams, b + name)
                streams = block(self.norm(x, b + norm + '.weight'))[:, None] * gets[:, :, None] + np.einsum('tsd,tsi->tdi', mixed, streams)
        return self.linear(self.norm(self.read(streams, 'output_hc')[0], 'output_norm.weight'), 'output.weight')
