"""mkarch.py - a small random model of every architecture, true to the real files' keys and tensor names.

One function a family; each call of it is a line in MODELS: NAME -> Shape. To add an architecture: a function and a line. Numbers are
chosen so that what is particular shows within the 40 tokens of cases.IDS: windows of 12, several layers of each kind, head widths that
are not n_embd / n_head. All tensors are F32: the comparison is of the computation, not of formats. How weights are set: mkgguf.py.
"""
import re
import numpy as np
import mkgguf
from mkgguf import ARR, BOOL, FL32, I32, STR, U32, U64, kv

VOCAB = 512


class Shape:
    def __init__(self, arch, L=2, d=128, h=4, hkv=2, hd=32, ffn=192, ctx=256, base=1e4, eps=1e-5, n_rot=None, tied=False, eps_key='layer_norm_rms_epsilon'):
        self.arch, self.L, self.d, self.h, self.hkv, self.hd, self.ffn = arch, L, d, h, hkv, hd, ffn
        self.keys, self.tensors, self.tied, self.fills = [], [], tied, {}
        self.pre, self.kind, self.format = 'gpt-2', 'gpt2', None
        for name, val in (('block_count', L), ('context_length', ctx), ('embedding_length', d), ('feed_forward_length', ffn),
                          ('attention.head_count', h), ('attention.head_count_kv', hkv)):
            if val is not None: self.u32(name, val)
        self.f32('attention.' + eps_key, eps)
        if base: self.f32('rope.freq_base', base)
        if n_rot is not None: self.u32('rope.dimension_count', n_rot)
        if hd: self.u32('attention.key_length', hd); self.u32('attention.value_length', hd)
        self.t('token_embd.weight', VOCAB, d)
        self.t('output_norm.weight', d)
        if not tied: self.t('output.weight', VOCAB, d)

    # keys
    def key(self, name, typ, val): self.keys.append(kv('%s.%s' % (self.arch, name), typ, val))
    def u32(self, name, val): self.key(name, I32 if isinstance(val, list) else U32, val)
    def f32(self, name, val): self.key(name, FL32, val)
    def bool(self, name, val): self.key(name, BOOL, val)
    def str(self, name, val): self.key(name, STR, val)

    # tensors; shapes as numpy (rows, cols)
    def t(self, name, *shape): self.tensors.append((name, shape, 'f32'))
    def per_layer(self, add, layers=None):
        for i in range(self.L) if layers is None else layers:
            add(lambda name, *shape: self.t('blk.%d.%s' % (i, name), *shape))
        return self

    # what most layers have
    def attention(self, t, norm=True, head_norm=False, bias=False, out_bias=False):
        dq, dk, d = self.h * self.hd, self.hkv * self.hd, self.d
        if norm: t('attn_norm.weight', d)
        t('attn_q.weight', dq, d); t('attn_k.weight', dk, d); t('attn_v.weight', dk, d); t('attn_output.weight', d, dq)
        if head_norm: t('attn_q_norm.weight', self.hd); t('attn_k_norm.weight', self.hd)
        if bias: t('attn_q.bias', dq); t('attn_k.bias', dk); t('attn_v.bias', dk)
        if out_bias: t('attn_output.bias', d)

    def dense(self, t, norm='ffn_norm', ffn=None):
        ffn = ffn or self.ffn
        if norm: t(norm + '.weight', self.d)
        t('ffn_gate.weight', ffn, self.d); t('ffn_up.weight', ffn, self.d); t('ffn_down.weight', self.d, ffn)

    def experts(self, t, n, ff, norm='ffn_norm', bias=False, shared=0):
        d = self.d
        if norm: t(norm + '.weight', d)
        t('ffn_gate_inp.weight', n, d)
        t('ffn_gate_exps.weight', n, ff, d); t('ffn_up_exps.weight', n, ff, d); t('ffn_down_exps.weight', n, d, ff)
        if bias: t('exp_probs_b.bias', n)
        if shared: t('ffn_gate_shexp.weight', shared, d); t('ffn_up_shexp.weight', shared, d); t('ffn_down_shexp.weight', d, shared)

    def expert_keys(self, n, used, ff=None, shared=None):
        self.u32('expert_count', n); self.u32('expert_used_count', used)
        if ff: self.u32('expert_feed_forward_length', ff)
        if shared: self.u32('expert_shared_feed_forward_length', shared)

    def yarn(self, factor, original, **more):
        self.str('rope.scaling.type', 'yarn'); self.f32('rope.scaling.factor', factor)
        self.u32('rope.scaling.original_context_length', original)
        for name, val in more.items(): self.f32('rope.scaling.' + name, val)


def fill(s, tensor, shape, normal=mkgguf.exact_normal):
    name = tensor.split('.', 2)[2] if tensor.startswith('blk.') else tensor
    w = normal(1, tensor, shape)
    if name in s.fills: return s.fills[name](w).astype('f4')
    if 'norm' in name and name.endswith('.weight'): return 1 + np.float32(0.1) * w
    if name.endswith('.bias') or len(shape) == 1: return np.float32(0.1) * w
    if name == 'attn_sinks.weight': return w
    if name == 'token_embd.weight' and not s.tied: return w
    g = 4.0 if name in ('output.weight', 'token_embd.weight') else 1.7 if 'attn_q' in name or 'attn_k' in name else 1.0
    return w * np.float32(g / np.sqrt(shape[-1]))


# ---- the families ----------------------------------------------------------------------------------------
def plain(arch, **more):
    """attention and a gated network, both normed at their input"""
    s = Shape(arch, **{k: v for k, v in more.items() if k in ('L', 'h', 'hkv', 'hd', 'tied', 'base', 'ffn', 'n_rot')})
    s.per_layer(lambda t: (s.attention(t, head_norm=more.get('head_norm', False), bias=more.get('bias', False), out_bias=more.get('out_bias', False)),
                           s.dense(t, more.get('ffn_norm', 'ffn_norm'))))
    return s


def llama3():
    s = plain('llama', base=5e5, n_rot=32)
    s.t('rope_freqs.weight', 16)
    s.fills['rope_freqs.weight'] = lambda w: np.where(np.arange(16) < 6, 1, np.where(np.arange(16) < 10, np.arange(16) - 4, 8))
    return s


def mixtral():
    s = Shape('llama', L=2, n_rot=32)
    s.expert_keys(8, 3)
    return s.per_layer(lambda t: (s.attention(t), s.experts(t, 8, s.ffn)))


def qwen_moe(arch, n=8, used=3, ff=64, **more):
    s = Shape(arch, base=1e6, eps=1e-6, **more)
    shared = 96 if arch == 'qwen2moe' else 0
    s.expert_keys(n, used, ff, shared)
    s.per_layer(lambda t: (s.attention(t, head_norm=arch == 'qwen3moe', bias=arch == 'qwen2moe'), s.experts(t, n, ff, shared=shared)))
    if shared: s.per_layer(lambda t: t('ffn_gate_inp_shexp.weight', s.d))
    s.fills['ffn_gate_inp_shexp.weight'] = lambda w: w * np.float32(1 / np.sqrt(s.d))
    return s


def gpt_oss():
    s = Shape('gpt-oss', L=4, hd=32, h=8, hkv=2, base=150000.0, ffn=64)
    s.expert_keys(8, 3, 64)
    s.u32('attention.sliding_window', 12)
    s.yarn(32.0, 16)
    def layer(t):
        s.attention(t, bias=True, out_bias=True)
        t('attn_sinks.weight', s.h)
        s.experts(t, 8, 64, 'post_attention_norm')
        t('ffn_gate_inp.bias', 8); t('ffn_gate_exps.bias', 8, 64); t('ffn_up_exps.bias', 8, 64); t('ffn_down_exps.bias', 8, s.d)
    s.fills['attn_sinks.weight'] = lambda w: w
    return s.per_layer(layer)


def gemma(arch, L):
    s = Shape(arch, L=L, hd=64, h=4, hkv=2, tied=True, base=1e6 if arch == 'gemma3' else 1e4, eps=1e-6)
    s.u32('attention.sliding_window', 12)
    s.fills['token_embd.weight'] = lambda w: w * np.float32(0.04)  # small next to what the layers add, or the input is repeated
    s.fills['output_norm.weight'] = lambda w: 8 + np.float32(0.8) * w
    if arch == 'gemma2': s.f32('attn_logit_softcapping', 50.0); s.f32('final_logit_softcapping', 30.0)
    if arch == 'gemma3': s.str('rope.scaling.type', 'linear'); s.f32('rope.scaling.factor', 8.0)
    def layer(t):
        s.attention(t, head_norm=arch == 'gemma3')
        t('post_attention_norm.weight', s.d)
        s.dense(t)
        t('post_ffw_norm.weight', s.d)
    return s.per_layer(layer)


def granite(arch):
    s = Shape(arch, n_rot=32)
    for k, v in (('embedding_scale', 6.0), ('residual_scale', 0.3), ('attention.scale', 0.2), ('logit_scale', 1.25)): s.f32(k, v)
    if arch == 'granite': return s.per_layer(lambda t: (s.attention(t), s.dense(t)))
    s.expert_keys(8, 3, None, 96)
    return s.per_layer(lambda t: (s.attention(t), s.experts(t, 8, s.ffn, shared=96)))


def phi3(long):
    s = Shape('phi3', h=4, hkv=2, hd=None, ctx=256 if not long else 4096, n_rot=24)
    s.hd = 32
    s.u32('rope.scaling.original_context_length', 256 if not long else 16)
    s.f32('rope.scaling.attn_factor', 1.19 if long else 1.0)
    def layer(t):
        t('attn_norm.weight', s.d); t('attn_qkv.weight', (s.h + 2 * s.hkv) * 32, s.d); t('attn_output.weight', s.d, s.h * 32)
        t('ffn_norm.weight', s.d); t('ffn_up.weight', 2 * s.ffn, s.d); t('ffn_down.weight', s.d, s.ffn)
    s.t('rope_factors_long.weight', 12); s.t('rope_factors_short.weight', 12)
    s.fills['rope_factors_long.weight'] = lambda w: 1 + np.arange(12) * 0.7
    s.fills['rope_factors_short.weight'] = lambda w: 1 + np.arange(12) * 0.05
    return s.per_layer(layer)


def olmo2(window):
    s = Shape('olmo2', L=4, h=4, hkv=2 if window else 4, base=5e5)
    if window: s.u32('attention.sliding_window', 12); s.yarn(8.0, 64)
    def layer(t):
        s.attention(t, norm=False)
        t('attn_q_norm.weight', s.h * s.hd); t('attn_k_norm.weight', s.hkv * s.hd); t('post_attention_norm.weight', s.d)
        s.dense(t, None); t('post_ffw_norm.weight', s.d)
    return s.per_layer(layer)


def deepseek4(top_k):
    """windows beside rows that stand for 4 or 128 positions; the middle layers' SwiGLU is cut off at 10"""
    L, d, h, hd, n_rot, low, groups, o_low, hc, heads, index, used = 7, 64, 4, 64, 16, 32, 2, 32, 4, 4, 128, 3  # llama.cpp fails where hd is index
    ratios = [0, 4, 128, 4, 0, 128, 4]
    s = Shape('deepseek4', L=L, d=d, h=h, hkv=1, hd=hd, ffn=None, ctx=1024, eps=1e-6, n_rot=n_rot)
    s.yarn(4.0, 64, yarn_beta_fast=32.0, yarn_beta_slow=1.0)
    s.u32('attention.sliding_window', 12); s.u32('attention.q_lora_rank', low)
    s.u32('attention.output_group_count', groups); s.u32('attention.output_lora_rank', o_low)
    s.u32('attention.compress_ratios', ratios); s.f32('attention.compress_rope_freq_base', 160000.0)
    s.u32('attention.indexer.head_count', heads); s.u32('attention.indexer.key_length', index); s.u32('attention.indexer.top_k', top_k)
    s.u32('hyper_connection.count', hc); s.u32('hyper_connection.sinkhorn_iterations', 20); s.f32('hyper_connection.epsilon', 1e-6)
    s.expert_keys(8, used, 64); s.u32('expert_shared_count', 1); s.u32('hash_layer_count', 2)
    s.u32('expert_gating_func', 4); s.f32('expert_weights_scale', 1.5); s.bool('expert_weights_norm', True)
    s.key('swiglu_clamp_exp', FL32, [10.0] * L)
    def hyper(name, n, scales):
        s.t(name + '_fn.weight', n, hc * d); s.t(name + '_scale.weight', scales); s.t(name + '_base.weight', n)
    def compressor(t, name, ratio, dim):
        n = dim * (2 if ratio == 4 else 1)
        t(name + '_kv.weight', n, d); t(name + '_gate.weight', n, d); t(name + '_ape.weight', ratio, n); t(name + '_norm.weight', dim)
    hyper('output_hc', hc, 1)
    for i in range(L):
        t = lambda name, *shape: s.t('blk.%d.%s' % (i, name), *shape)
        t('attn_norm.weight', d); t('attn_sinks.weight', h); t('attn_q_a.weight', low, d); t('attn_q_a_norm.weight', low); t('attn_q_b.weight', h * hd, low)
        t('attn_kv.weight', hd, d); t('attn_kv_a_norm.weight', hd)
        t('attn_output_a.weight', o_low * groups, h * hd // groups); t('attn_output_b.weight', d, o_low * groups)
        for name in ('hc_attn', 'hc_ffn'): hyper('blk.%d.%s' % (i, name), hc * (hc + 2), 3)
        if ratios[i]: compressor(t, 'attn_compressor', ratios[i], hd)
        if ratios[i] == 4:
            t('indexer.proj.weight', heads, d); t('indexer.attn_q_b.weight', heads * index, low)
            compressor(t, 'indexer_compressor', 4, index)
        s.experts(t, 8, 64, shared=64)
        if i < 2: s.tensors.append(('blk.%d.ffn_gate_tid2eid.weight' % i, (VOCAB, used), 'i32'))
        else: t('exp_probs_b.bias', 8)
    row = np.arange(VOCAB)[:, None]
    s.fills['ffn_gate_tid2eid.weight'] = lambda w: (row * 5 + row // 8 + np.array([0, 3, 5])) % 8
    for name in ('attn', 'ffn'):
        s.fills['hc_%s_scale.weight' % name] = lambda w: 1 + np.float32(0.2) * w
        s.fills['hc_%s_base.weight' % name] = lambda w: w
    s.fills['output_hc_scale.weight'] = lambda w: 1 + np.float32(0.2) * w
    for name in ('attn', 'indexer'): s.fills[name + '_compressor_ape.weight'] = lambda w: w
    for name in ('gate_exps', 'up_exps', 'gate_shexp', 'up_shexp'): s.fills['ffn_%s.weight' % name] = lambda w: w * np.float32(6 / np.sqrt(d))
    s.fills['ffn_gate_inp.weight'] = lambda w: w * np.float32(6 / np.sqrt(d))  # experts that are no ties
    for name in ('down_exps', 'down_shexp'): s.fills['ffn_%s.weight' % name] = lambda w: w * np.float32(0.05 / np.sqrt(64))
    return s


def ernie_moe():
    s = Shape('ernie4_5-moe', L=3, base=5e5)
    s.expert_keys(8, 3, 64, 96)
    s.u32('interleave_moe_layer_step', 1); s.u32('leading_dense_block_count', 1); s.u32('expert_shared_count', 2)
    s.per_layer(lambda t: (s.attention(t), s.dense(t)), [0])
    return s.per_layer(lambda t: (s.attention(t), s.experts(t, 8, 64, bias=True, shared=96)), [1, 2])


def hunyuan(arch):
    s = Shape(arch, ffn=64 if arch == 'hunyuan-moe' else 192)
    if arch == 'hunyuan-dense': return s.per_layer(lambda t: (s.attention(t, head_norm=True), s.dense(t)))
    s.expert_keys(8, 3, 64, 96)
    return s.per_layer(lambda t: (s.attention(t, head_norm=True), s.experts(t, 8, 64, shared=96)))


def glm4():
    s = Shape('glm4', n_rot=16)
    def layer(t):
        s.attention(t, bias=True); t('post_attention_norm.weight', s.d); t('ffn_norm.weight', s.d)
        t('ffn_up.weight', 2 * s.ffn, s.d); t('ffn_down.weight', s.d, s.ffn); t('post_ffw_norm.weight', s.d)
    return s.per_layer(layer)


def glm4moe():
    s = Shape('glm4moe', L=3, n_rot=16)
    s.expert_keys(8, 3, 64); s.u32('expert_shared_count', 1); s.u32('leading_dense_block_count', 1)
    s.u32('expert_gating_func', 2); s.bool('expert_weights_norm', True); s.f32('expert_weights_scale', 1.5)
    s.per_layer(lambda t: (s.attention(t, bias=True, head_norm=True), s.dense(t, 'post_attention_norm')), [0])
    return s.per_layer(lambda t: (s.attention(t, bias=True, head_norm=True), s.experts(t, 8, 64, 'post_attention_norm', True, 64)), [1, 2])


def minimax():
    s = Shape('minimax-m2', L=2, n_rot=16, ffn=64)
    s.expert_keys(8, 3, 64); s.u32('expert_gating_func', 2)
    return s.per_layer(lambda t: (s.attention(t), t('attn_q_norm.weight', s.h * s.hd), t('attn_k_norm.weight', s.hkv * s.hd), s.experts(t, 8, 64, bias=True)))


def mistral3():
    s = plain('mistral3', L=3, n_rot=32, base=1e6)
    s.yarn(16.0, 12, yarn_beta_fast=32.0, yarn_beta_slow=1.0, yarn_log_multiplier=1.0)
    s.f32('attention.temperature_scale', 0.7)
    return s


def muse_glimmer():
    s = Shape('muse-glimmer', L=5, hd=32)
    s.u32('attention.sliding_window', 12); s.f32('logit_scale', 0.5); s.f32('final_logit_softcapping', 30.0)
    s.key('attention.sliding_window_pattern', BOOL, [True, True, True, False, True])
    def layer(t):
        s.attention(t, head_norm=True); t('attn_gate.weight', s.h * s.hd, s.d); t('post_attention_norm.weight', s.d)
        s.dense(t); t('post_ffw_norm.weight', s.d)
    s.fills['output.weight'] = lambda w: w * np.float32(8 / np.sqrt(s.d))
    return s.per_layer(layer)


def gemma4(kind):
    L, moe, small = 6, kind == 'experts', kind == 'small'
    swa = [True, True, True, False, True, False]
    hkv = [2, 2, 2, 1, 2, 1]
    ffn = [192, 192, 192, 192, 256, 256] if small else 192
    s = Shape('gemma4', L=L, h=4, hkv=hkv, hd=64, ffn=ffn, tied=True, base=1e6, eps=1e-6, n_rot=64)
    s.u32('attention.key_length_swa', 32); s.u32('attention.value_length_swa', 32); s.u32('rope.dimension_count_swa', 32); s.f32('rope.freq_base_swa', 1e4)
    s.u32('attention.sliding_window', 12); s.key('attention.sliding_window_pattern', BOOL, swa)
    s.u32('attention.shared_kv_layers', 2 if small else 0); s.u32('embedding_length_per_layer_input', 32 if small else 0)
    s.f32('final_logit_softcapping', 30.0)
    s.fills['token_embd.weight'] = lambda w: w * np.float32(0.04)
    s.fills['per_layer_token_embd.weight'] = lambda w: w * np.float32(0.3)
    s.fills['output_norm.weight'] = lambda w: 8 + np.float32(0.8) * w
    s.fills['rope_freqs.weight'] = lambda w: np.where(np.arange(32) < 8, 1, 1e30)
    s.fills['layer_output_scale.weight'] = lambda w: 0.8 + 0 * w
    s.fills['attn_q_norm.weight'] = lambda w: np.float32(0.3) + np.float32(0.03) * w  # the scale of scores is 1
    s.t('rope_freqs.weight', 32)
    if small:
        s.t('per_layer_token_embd.weight', VOCAB, 32 * L); s.t('per_layer_model_proj.weight', 32 * L, s.d); s.t('per_layer_proj_norm.weight', 32)
    if moe: s.expert_keys(4, 2, 64)
    for i in range(L):
        hd, own, f = 32 if swa[i] else 64, not small or i < 4, ffn[i] if small else ffn
        t = lambda name, *shape: s.t('blk.%d.%s' % (i, name), *shape)
        t('attn_norm.weight', s.d); t('attn_q.weight', 4 * hd, s.d); t('attn_q_norm.weight', hd); t('attn_output.weight', s.d, 4 * hd)
        if own: t('attn_k.weight', hkv[i] * hd, s.d); t('attn_k_norm.weight', hd)
        if own and (swa[i] or small): t('attn_v.weight', hkv[i] * hd, s.d)
        t('post_attention_norm.weight', s.d); s.dense(t, ffn=f); t('post_ffw_norm.weight', s.d); t('layer_output_scale.weight', 1)
        if small: t('inp_gate.weight', 32, s.d); t('proj.weight', s.d, 32); t('post_norm.weight', s.d)
        if moe:
            t('ffn_gate_inp.weight', 4, s.d); t('ffn_gate_inp.scale', s.d); t('ffn_gate_up_exps.weight', 4, 128, s.d)
            t('ffn_down_exps.weight', 4, s.d, 64); t('ffn_down_exps.scale', 4)
            t('post_ffw_norm_1.weight', s.d); t('pre_ffw_norm_2.weight', s.d); t('post_ffw_norm_2.weight', s.d)
    s.fills['ffn_gate_inp.scale'] = lambda w: np.float32(11) + w
    s.fills['ffn_down_exps.scale'] = lambda w: 1 + np.float32(0.2) * w
    return s


def mla(arch, lora_q, sigmoid=False, yarn=None):
    h, nope, rot, v, kv = 4, 32, 16, 24, 64
    lite = not lora_q  # which files have no attn_q_a is told from the number of layers
    s = Shape(arch, L=26 if lite else 3, d=64 if lite else 128, ffn=64 if lite else 192, h=h, hkv=1, hd=None, n_rot=rot, ctx=1024)
    for name, val in (('attention.key_length', kv + rot), ('attention.value_length', kv), ('attention.key_length_mla', nope + rot),
                      ('attention.value_length_mla', v), ('attention.kv_lora_rank', kv)): s.u32(name, val)
    if lora_q: s.u32('attention.q_lora_rank', lora_q)
    s.expert_keys(8, 3, 64); s.u32('expert_shared_count', 2); s.u32('leading_dense_block_count', s.L - 2)
    s.f32('expert_weights_scale', 1.3); s.bool('expert_weights_norm', sigmoid); s.u32('expert_gating_func', 2 if sigmoid else 1)
    if sigmoid: s.u32('expert_group_count', 4); s.u32('expert_group_used_count', 2)
    if yarn: s.yarn(40.0, 64, yarn_log_multiplier=yarn)
    if arch == 'mistral4': s.f32('attention.temperature_scale', 0.7); s.u32('attention.temperature_length', 9)
    def layer(t, i):
        t('attn_norm.weight', s.d)
        if lora_q: t('attn_q_a.weight', lora_q, s.d); t('attn_q_a_norm.weight', lora_q); t('attn_q_b.weight', h * (nope + rot), lora_q)
        else: t('attn_q.weight', h * (nope + rot), s.d)
        t('attn_kv_a_mqa.weight', kv + rot, s.d); t('attn_kv_a_norm.weight', kv)
        t('attn_k_b.weight', h, kv, nope); t('attn_v_b.weight', h, v, kv); t('attn_output.weight', s.d, h * v)
        if i < s.L - 2: s.dense(t)
        else: s.experts(t, 8, 64, bias=sigmoid, shared=128)
    for i in range(s.L): layer(lambda name, *shape: s.t('blk.%d.%s' % (i, name), *shape), i)
    return s


def ssm_keys(s, conv, inner, state, heads, groups):
    for name, val in (('conv_kernel', conv), ('inner_size', inner), ('state_size', state), ('time_step_rank', heads), ('group_count', groups)): s.u32('ssm.' + name, val)
    s.fills['ssm_a'] = lambda w: -np.exp(np.float32(0.5) * w - 1)
    s.fills['ssm_d'] = lambda w: 1 + np.float32(0.1) * w
    s.fills['ssm_dt.bias'] = lambda w: w
    s.fills['ssm_conv1d.weight'] = lambda w: np.float32(0.5) * w


def qwen35(arch, L=None, d=128, h=4, hkv=2, hd=32, ffn=192, kh=2, vh=4, state=32, n_rot=8):
    moe, following = arch != 'qwen35', arch == 'qwen3next'
    L = L or (8 if arch == 'qwen35' else 5)
    s = Shape(arch, L=L, d=d, h=h, hkv=hkv, hd=hd, ffn=ffn, base=1e7, eps=1e-6, n_rot=n_rot)
    if not following: s.u32('rope.dimension_sections', [n_rot // 4, n_rot // 8, n_rot // 8, 0])
    ssm_keys(s, 4, vh * state, state, vh, kh)
    s.u32('full_attention_interval', 4)
    if moe: s.expert_keys(8, 3, 64, 96)
    conv = 2 * kh * state + vh * state
    for i in range(L):
        t = lambda name, *shape: s.t('blk.%d.%s' % (i, name), *shape)
        t('attn_norm.weight', s.d); t('post_attention_norm.weight', s.d)
        if (i + 1) % 4 == 0:
            t('attn_q.weight', 2 * h * hd, s.d); t('attn_k.weight', hkv * hd, s.d); t('attn_v.weight', hkv * hd, s.d); t('attn_output.weight', s.d, h * hd)
            t('attn_q_norm.weight', hd); t('attn_k_norm.weight', hd)
        else:
            t('attn_qkv.weight', conv, s.d); t('attn_gate.weight', vh * state, s.d); t('ssm_conv1d.weight', conv, 4)
            t('ssm_dt.bias', vh); t('ssm_a', vh); t('ssm_norm.weight', state); t('ssm_out.weight', s.d, vh * state)
            if following: t('ssm_ba.weight', 2 * vh, s.d)
            else: t('ssm_beta.weight', vh, s.d); t('ssm_alpha.weight', vh, s.d)
        if moe: s.experts(t, 8, 64, None, shared=96); t('ffn_gate_inp_shexp.weight', s.d)
        else: s.dense(t, None)
    s.fills['ffn_gate_inp_shexp.weight'] = lambda w: w * np.float32(1 / np.sqrt(s.d))
    return s


def qwen4exp():
    L, d, h, hkv, hd, kh, vh, state, hc, low, n_rot, index, heads = 8, 64, 4, 2, 32, 2, 4, 32, 4, 32, 8, 32, 4
    s = Shape('qwen4exp', L=L, d=d, h=h, hkv=hkv, hd=hd, ffn=96, base=1e7, eps=1e-6, n_rot=n_rot)
    s.tensors = [t for t in s.tensors if t[0] != 'output_norm.weight']  # the last mix of streams norms
    s.u32('rope.dimension_sections', [n_rot // 4, n_rot // 8, n_rot // 8, 0])
    ssm_keys(s, 4, vh * state, state, vh, kh)
    s.u32('full_attention_interval', 4)
    s.expert_keys(8, 3, 64, 96)
    s.u32('hyper_connection.count', hc); s.u32('hyper_connection.low_rank', low)
    s.u32('attention.indexer.head_count', heads); s.u32('attention.indexer.key_length', index); s.u32('attention.indexer.top_k', 8)
    s.u32('attention.compress_ratios', [4 if (i + 1) % 4 == 0 else 0 for i in range(L)])
    sizes = [61, 67, 71, 73]  # of the table's parts: two heads for pairs of tokens, two for triples
    s.u32('ple.layers', [1]); s.u32('ple.ngram_size', 3); s.u32('ple.heads_per_ngram', 2); s.u32('ple.conv_kernel', 4); s.u32('ple.eos_token_id', 25)
    s.u32('embedding_length_per_layer_input', d // 4)
    s.keys += [kv('qwen4exp.ple.' + name, U64, val) for name, val in
               (('layer_multipliers', [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9]), ('head_offsets', [0, 61, 128, 199]), ('head_vocab_sizes', sizes))]
    s.t('per_layer_token_embd.weight', sum(sizes) + 4, d // 4)
    def mix(name, inject=True):
        s.t(name + '_norm.weight', hc * d); s.t(name + '_down.weight', low, hc * d); s.t(name + '_up.weight', hc * d, low)
        if inject: s.t(name + '_inject.weight', hc, hc * d)
    mix('output_hc', False)
    conv = 2 * kh * state + vh * state
    for i in range(L):
        t = lambda name, *shape: s.t('blk.%d.%s' % (i, name), *shape)
        mix('blk.%d.hc_attn' % i); mix('blk.%d.hc_ffn' % i)
        if (i + 1) % 4 == 0:
            t('attn_q.weight', 2 * h * hd, d); t('attn_k.weight', hkv * hd, d); t('attn_v.weight', hkv * hd, d); t('attn_output.weight', d, h * hd)
            t('attn_q_norm.weight', hd); t('attn_k_norm.weight', hd)
            t('indexer.q_proj.weight', heads * index, d); t('indexer.k_proj.weight', index, d); t('indexer.q_norm.weight', index); t('indexer.k_norm.weight', index)
        else:
            t('attn_qkv.weight', conv, d); t('attn_gate.weight', vh * state, d); t('ssm_conv1d.weight', conv, 4)
            t('ssm_dt.bias', vh); t('ssm_a', vh); t('ssm_norm.weight', state); t('ssm_out.weight', d, vh * state)
            t('ssm_beta.weight', vh, d); t('ssm_alpha.weight', vh, d)
        if i == 1:
            t('ple_key.weight', hc * d, d); t('ple_value.weight', d, d); t('ple_conv1d.weight', hc * d, 4)
            for name in ('key', 'query', 'conv'): t('ple_norm_%s.weight' % name, hc * d)
        s.experts(t, 8, 64, None, shared=96); t('ffn_gate_inp_shexp.weight', d)
    s.fills['ffn_gate_inp_shexp.weight'] = lambda w: w * np.float32(1 / np.sqrt(d))
    s.fills['per_layer_token_embd.weight'] = lambda w: w
    s.fills['output.weight'] = lambda w: w * np.float32(14 / np.sqrt(d))  # a mixture of streams is small
    s.fills['ple_conv1d.weight'] = lambda w: np.float32(0.5) * w
    return s


def mamba(s, t, inner, state, heads, groups):
    conv = inner + 2 * groups * state
    t('ssm_in.weight', inner + conv + heads, s.d); t('ssm_conv1d.weight', conv, 4); t('ssm_conv1d.bias', conv); t('ssm_dt.bias', heads)
    t('ssm_a', heads, 1); t('ssm_d', heads, 1); t('ssm_norm.weight', groups, inner // groups); t('ssm_out.weight', s.d, inner)


def granite_hybrid():
    s = Shape('granitehybrid', L=5, hkv=[0, 0, 2, 0, 0], n_rot=32, ffn=64)
    for k, v in (('embedding_scale', 6.0), ('residual_scale', 0.3), ('attention.scale', 0.2), ('logit_scale', 1.25)): s.f32(k, v)
    s.bool('rope.scaling.finetuned', False)
    ssm_keys(s, 4, 256, 32, 8, 1)
    s.expert_keys(8, 3, None, 96)
    for i in range(5):
        t = lambda name, *shape: s.t('blk.%d.%s' % (i, name), *shape)
        t('attn_norm.weight', s.d)
        if i == 2: s.hkv = 2; s.attention(t, norm=False)
        else: mamba(s, t, 256, 32, 8, 1)
        s.experts(t, 8, 64, shared=96)
    return s


def nemotron_h(arch):
    kinds = 'm-m*-m-'  # Mamba, network, attention
    moe = arch == 'nemotron_h_moe'
    s = Shape(arch, L=len(kinds), h=4, hkv=[2 if k == '*' else 0 for k in kinds], ffn=[192 if k == '-' else 0 for k in kinds], n_rot=32)
    s.f32('attention.layer_norm_epsilon', 1e-5)  # real files have both
    ssm_keys(s, 4, 256, 32, 8, 2)
    if moe:
        s.expert_keys(8, 3, 64, 96); s.u32('expert_shared_count', 1); s.f32('expert_weights_scale', 1.5); s.bool('expert_weights_norm', True); s.u32('expert_gating_func', 2)
    for i, k in enumerate(kinds):
        t = lambda name, *shape: s.t('blk.%d.%s' % (i, name), *shape)
        t('attn_norm.weight', s.d)
        if k == 'm': mamba(s, t, 256, 32, 8, 2)
        elif k == '*': s.hkv = 2; s.attention(t, norm=False)
        elif not moe: t('ffn_up.weight', 192, s.d); t('ffn_down.weight', s.d, 192)
        else:
            t('ffn_gate_inp.weight', 8, s.d); t('exp_probs_b.bias', 8); t('ffn_up_exps.weight', 8, 64, s.d); t('ffn_down_exps.weight', 8, s.d, 64)
            t('ffn_up_shexp.weight', 96, s.d); t('ffn_down_shexp.weight', s.d, 96)
    return s


def lfm2(arch):
    moe = arch == 'lfm2moe'
    s = Shape(arch, L=5, hkv=[0, 0, 2, 0, 2], tied=True, base=1e6)
    s.tensors[1] = ('token_embd_norm.weight', (s.d,), 'f32')
    s.u32('shortconv.l_cache', 3)
    if moe: s.expert_keys(8, 3, 64); s.u32('leading_dense_block_count', 2); s.u32('expert_gating_func', 2)
    for i in range(5):
        t = lambda name, *shape: s.t('blk.%d.%s' % (i, name), *shape)
        t('attn_norm.weight', s.d)
        if i in (2, 4): s.hkv = 2; s.attention(t, norm=False, head_norm=True)
        else: t('shortconv.conv.weight', s.d, 3); t('shortconv.in_proj.weight', 3 * s.d, s.d); t('shortconv.out_proj.weight', s.d, s.d)
        if moe and i >= 2: s.experts(t, 8, 64, bias=True)
        else: s.dense(t)
    s.fills['shortconv.conv.weight'] = lambda w: np.float32(0.7) * w
    return s


# ---- with a block behind the trunk that predicts a further token -----------------------------------------
def drafting(s, layer, shared=False):
    """the same trunk, weight by weight, and the block; shared: with embeddings and an output of its own"""
    count = s.arch + '.block_count'
    s.keys = [kv(count, U32, s.L + 1) if count.encode() in k else k for k in s.keys]
    s.u32('nextn_predict_layers', 1)
    t = lambda name, *shape: s.t('blk.%d.%s' % (s.L, name), *shape)
    layer(t)
    t('nextn.eh_proj.weight', s.d, 2 * s.d); t('nextn.enorm.weight', s.d); t('nextn.hnorm.weight', s.d); t('nextn.shared_head_norm.weight', s.d)
    if shared: t('nextn.embed_tokens.weight', VOCAB, s.d); t('nextn.shared_head_head.weight', VOCAB, s.d)
    s.fills['nextn.shared_head_head.weight'] = lambda w: w * np.float32(4 / np.sqrt(s.d))
    return s


def qwen35_draft(arch):
    s = qwen35(arch)
    def layer(t):
        t('attn_norm.weight', s.d); t('post_attention_norm.weight', s.d)
        t('attn_q.weight', 2 * 128, s.d); t('attn_k.weight', 64, s.d); t('attn_v.weight', 64, s.d); t('attn_output.weight', s.d, 128)
        t('attn_q_norm.weight', 32); t('attn_k_norm.weight', 32)
        if arch == 'qwen35moe': s.experts(t, 8, 64, None, shared=96); t('ffn_gate_inp_shexp.weight', s.d)
        else: s.dense(t, None)
    return drafting(s, layer)


def glm4moe_draft():
    s = glm4moe()
    return drafting(s, lambda t: (s.attention(t, bias=True, head_norm=True), s.experts(t, 8, 64, 'post_attention_norm', True, 64)), shared=True)


DRAFTERS = {  # as MODELS; the trunk is that of the model of the first word
    'qwen35 draft': lambda: qwen35_draft('qwen35'),
    'qwen35moe draft': lambda: qwen35_draft('qwen35moe'),
    'glm4moe draft': glm4moe_draft,
}


# ---- those that embed ------------------------------------------------------------------------------------
POOLING = {'mean': 1, 'first': 2, 'last': 3, 'rank': 4}


def encoder(arch, pooling, scores=1, heads=4, gate=True, norms=False):
    """a post-norm encoder; rank: with the classification head of a cross-encoder; jina: gate as a tensor of its own or in ffn_up, more norms"""
    s = Shape(arch, L=3, d=32 * heads, h=heads, hkv=None, hd=None, ctx=128, base=1000.0 if arch.startswith('nomic') else None, eps=1e-12, eps_key='layer_norm_epsilon', tied=True)
    s.hd, s.hkv, s.kind = 32, heads, 'bert'
    s.bool('attention.causal', False); s.u32('pooling_type', POOLING[pooling])
    s.tensors = [t for t in s.tensors if t[0] != 'output_norm.weight']
    def norm(t, name): t(name + '.weight', s.d); t(name + '.bias', s.d)
    norm(s.t, 'token_embd_norm'); s.t('token_types.weight', 2, s.d)
    if arch == 'bert': s.t('position_embd.weight', 128, s.d)
    moe = arch == 'nomic-bert-moe'
    if moe: s.expert_keys(8, 2); s.u32('moe_every_n_layers', 2)
    def layer(t, experts=False):
        if moe: t('attn_qkv.weight', 3 * s.d, s.d); t('attn_qkv.bias', 3 * s.d); t('attn_output.weight', s.d, s.d); t('attn_output.bias', s.d)
        elif arch == 'nomic-bert': t('attn_qkv.weight', 3 * s.d, s.d); t('attn_output.weight', s.d, s.d); t('ffn_gate.weight', s.ffn, s.d)
        else: s.attention(t, norm=False, bias=True, out_bias=True); t('ffn_down.bias', s.d)
        if arch == 'bert': t('ffn_up.bias', s.ffn)
        jina = arch == 'jina-bert-v2'
        if jina and gate: t('ffn_gate.weight', s.ffn, s.d)
        if jina and norms:
            for name in ('attn_q_norm', 'attn_k_norm', 'attn_norm_2'): norm(t, name)
        if experts: t('ffn_gate_inp.weight', 8, s.d); t('ffn_up_exps.weight', 8, s.ffn, s.d); t('ffn_down_exps.weight', 8, s.d, s.ffn)
        elif moe: t('ffn_up.bias', s.ffn); t('ffn_down.bias', s.d)
        if not experts: t('ffn_up.weight', (2 if jina and not gate else 1) * s.ffn, s.d); t('ffn_down.weight', s.d, s.ffn)
        norm(t, 'attn_output_norm'); norm(t, 'layer_output_norm')
    if pooling == 'rank' and arch == 'jina-bert-v2': s.t('cls.weight', 1, s.d); s.t('cls.bias', 1)
    elif pooling == 'rank':
        if scores > 1: s.key('classifier.output_labels', STR, ['label %d' % i for i in range(scores)])
        s.t('cls.weight', s.d, s.d); s.t('cls.bias', s.d); s.t('cls.output.weight', scores, s.d); s.t('cls.output.bias', scores)
    for name in ('token_embd.weight', 'token_types.weight', 'position_embd.weight'): s.fills[name] = lambda w: w
    if moe: s.per_layer(layer, [0, 2]); return s.per_layer(lambda t: layer(t, True), [1])
    return s.per_layer(layer)


def qwen3_embedding(pooling):
    s = plain('qwen3', head_norm=True, tied=True)
    s.u32('pooling_type', POOLING[pooling])
    if pooling == 'rank':
        s.key('classifier.output_labels', STR, ['yes', 'no']); s.t('cls.output.weight', 2, s.d)
        s.format = '<|im_start|>judge\n<Query>: {query}\n<Document>: {document}<|im_end|>\n'
    return s


def modern_bert(pooling):
    s = Shape('modern-bert', L=4, h=4, hkv=None, hd=None, ctx=128, base=160000.0, eps_key='layer_norm_epsilon', tied=True)
    s.u32('attention.sliding_window', 12); s.f32('rope.freq_base_swa', 1e4); s.bool('attention.causal', False); s.u32('pooling_type', POOLING[pooling])
    s.t('token_embd_norm.weight', s.d)
    s.fills['token_embd.weight'] = lambda w: w
    if pooling == 'rank': s.t('cls.weight', s.d, s.d); s.t('cls.norm.weight', s.d); s.t('cls.output.weight', 1, s.d); s.t('cls.output.bias', 1)
    def layer(t):
        t('attn_qkv.weight', 3 * s.d, s.d); t('attn_output.weight', s.d, s.d)
        t('ffn_norm.weight', s.d); t('ffn_up.weight', 2 * s.ffn, s.d); t('ffn_down.weight', s.d, s.ffn)
    s.per_layer(lambda t: t('attn_norm.weight', s.d), range(1, 4))
    return s.per_layer(layer)


def gemma_embedding(dense):
    s = Shape('gemma-embedding', L=7, hd=64, h=3, hkv=1, tied=True, base=1e6, eps=1e-6)
    s.u32('attention.sliding_window', 12); s.u32('pooling_type', 1)  # real files say nothing of attention.causal
    if dense:
        s.bool('attention.causal', False)
        s.u32('dense_2_feat_in', s.d); s.u32('dense_2_feat_out', 192); s.u32('dense_3_feat_in', 192); s.u32('dense_3_feat_out', s.d)
        s.t('dense_2.weight', 192, s.d); s.t('dense_3.weight', s.d, 192)
    s.fills['token_embd.weight'] = lambda w: w * np.float32(0.2)
    return s.per_layer(lambda t: (s.attention(t, head_norm=True), t('post_attention_norm.weight', s.d), s.dense(t), t('post_ffw_norm.weight', s.d)))


EMBEDDERS = {  # as MODELS, compared by vectors: peer/embeddings.txt
    'bert': lambda: encoder('bert', 'mean'),
    'bert first': lambda: encoder('bert', 'first'),
    'bert rank': lambda: encoder('bert', 'rank', 3),
    'bert score': lambda: encoder('bert', 'rank'),
    'nomic-bert': lambda: encoder('nomic-bert', 'mean'),
    'jina-bert-v2': lambda: encoder('jina-bert-v2', 'mean', heads=6),
    'jina-bert-v2 norms': lambda: encoder('jina-bert-v2', 'mean', gate=False, norms=True),
    'jina-bert-v2 rank': lambda: encoder('jina-bert-v2', 'rank'),
    'nomic-bert-moe': lambda: encoder('nomic-bert-moe', 'mean'),
    'modern-bert': lambda: modern_bert('first'),
    'modern-bert rank': lambda: modern_bert('rank'),
    'gemma-embedding': lambda: gemma_embedding(False),
    'gemma-embedding dense': lambda: gemma_embedding(True),
    'qwen3 embedding': lambda: qwen3_embedding('last'),
    'qwen3 mean': lambda: qwen3_embedding('mean'),
    'qwen3 rank': lambda: qwen3_embedding('rank'),
}


MODELS = {  # the first word, up to a blank, is the architecture
    'llama rope_freqs': llama3,
    'llama experts': mixtral,
    'qwen2': lambda: plain('qwen2', bias=True),
    'qwen3': lambda: plain('qwen3', head_norm=True, tied=True),
    'qwen3moe': lambda: qwen_moe('qwen3moe'),
    'qwen2moe': lambda: qwen_moe('qwen2moe'),
    'gpt-oss': gpt_oss,
    'gemma2': lambda: gemma('gemma2', 3),
    'gemma3': lambda: gemma('gemma3', 7),
    'phi3 short': lambda: phi3(False),
    'phi3 long': lambda: phi3(True),
    'granite': lambda: granite('granite'),
    'granitemoe': lambda: granite('granitemoe'),
    'olmo2': lambda: olmo2(False),
    'olmo2 window': lambda: olmo2(True),
    'smollm3': lambda: plain('smollm3', L=5, n_rot=32),
    'seed_oss': lambda: plain('seed_oss', bias=True, ffn_norm='post_attention_norm'),
    'ernie4_5': lambda: plain('ernie4_5', L=3),
    'ernie4_5-moe': ernie_moe,
    'hunyuan-dense': lambda: hunyuan('hunyuan-dense'),
    'hunyuan-moe': lambda: hunyuan('hunyuan-moe'),
    'glm4': glm4,
    'glm4moe': glm4moe,
    'minimax-m2': minimax,
    'mistral3': mistral3,
    'muse-glimmer': muse_glimmer,
    'gemma4': lambda: gemma4('dense'),
    'gemma4 experts': lambda: gemma4('experts'),
    'gemma4 small': lambda: gemma4('small'),
    'deepseek2': lambda: mla('deepseek2', 0),
    'deepseek2 v3': lambda: mla('deepseek2', 48, True, 0.1),
    'deepseek4': lambda: deepseek4(5),
    'deepseek4 far': lambda: deepseek4(80),  # behind 256 positions: cases.ARCH_IDS
    'qwen35': lambda: qwen35('qwen35'),
    'qwen35moe': lambda: qwen35('qwen35moe'),
    'qwen3next': lambda: qwen35('qwen3next'),
    'qwen4exp': qwen4exp,
    'granitehybrid': granite_hybrid,
    'nemotron_h': lambda: nemotron_h('nemotron_h'),
    'nemotron_h_moe': lambda: nemotron_h('nemotron_h_moe'),
    'lfm2': lambda: lfm2('lfm2'),
    'lfm2moe': lambda: lfm2('lfm2moe'),
    'mistral4': lambda: mla('mistral4', 48, False, 0.1),
}


def wordpieces(corpus):
    """the keys of a WordPiece vocabulary of VOCAB tokens from the corpus: [CLS], [SEP], words, their ends, characters"""
    words = list(dict.fromkeys(re.findall(r'[a-z0-9]+|[^\w\s]', corpus.lower())))
    tokens = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'] + ['\u2581' + c for c in 'abcdefghijklmnopqrstuvwxyz0123456789'] + list('abcdefghijklmnopqrstuvwxyz0123456789')
    tokens = list(dict.fromkeys(tokens + ['\u2581' + w for w in words]))[:VOCAB]
    assert len(tokens) == VOCAB
    return [kv('tokenizer.ggml.model', STR, 'bert'), kv('tokenizer.ggml.pre', STR, 'jina-v2-en'), kv('tokenizer.ggml.tokens', STR, tokens),
            kv('tokenizer.ggml.token_type', I32, [3] * 5 + [1] * (VOCAB - 5)), kv('tokenizer.ggml.token_type_count', U32, 2),
            kv('tokenizer.ggml.bos_token_id', U32, 2), kv('tokenizer.ggml.seperator_token_id', U32, 3), kv('tokenizer.ggml.unknown_token_id', U32, 1),
            kv('tokenizer.ggml.padding_token_id', U32, 0), kv('tokenizer.ggml.mask_token_id', U32, 4)]


def bpe(s, corpus):
    tokens, types, merges = mkgguf.make_vocab(VOCAB, ['<|endoftext|>', '<|im_start|>', '<|im_end|>'], corpus)
    eot, ime = tokens.index('<|endoftext|>'), tokens.index('<|im_end|>')
    return [kv('tokenizer.ggml.model', STR, 'gpt2'), kv('tokenizer.ggml.pre', STR, s.pre),
            kv('tokenizer.ggml.tokens', STR, tokens), kv('tokenizer.ggml.token_type', I32, types), kv('tokenizer.ggml.merges', STR, merges),
            kv('tokenizer.ggml.bos_token_id', U32, eot), kv('tokenizer.ggml.eos_token_id', U32, ime), kv('tokenizer.ggml.add_bos_token', BOOL, False)]


def write(path, s, corpus, values):
    keys = [kv('general.architecture', STR, s.arch), kv('general.name', STR, 'random'), kv('general.file_type', U32, 0)] + s.keys + [
        kv(s.arch + '.vocab_size', U32, VOCAB)] + (wordpieces(corpus) if s.kind == 'bert' else bpe(s, corpus))
    if s.format: keys.append(kv('tokenizer.chat_template.rerank', STR, s.format))
    mkgguf.write_gguf(path, keys, s.tensors, values)


def make(path, name, corpus, ctx=None):
    """ctx: positions that it was trained for, where the shape's own are too few"""
    s = (MODELS.get(name) or EMBEDDERS.get(name) or DRAFTERS[name])()
    if ctx:
        length = s.arch + '.context_length'
        s.keys = [kv(length, U32, ctx) if length.encode() in k else k for k in s.keys]
    write(path, s, corpus, lambda tensor, shape: fill(s, tensor, shape))


LARGE = {  # whose speed is compared (peer/speed.py): wide enough that the time goes into weights
    'qwen3moe': lambda: qwen_moe('qwen3moe', 64, 8, 384, L=8, d=1024, h=16, hkv=4, hd=128, ctx=4096),
    'qwen35': lambda: qwen35('qwen35', 8, 1024, 8, 2, 256, 3072, 8, 16, 128, 64),
}


def matrices(s):
    """in F16"""
    small = re.compile(r'(ffn_gate_inp|ssm_conv1d|norm)\b')
    s.tensors = [(tensor, shape, 'f16' if len(shape) > 1 and not small.search(tensor) else t) for tensor, shape, t in s.tensors]


def make_large(path, name, corpus):
    """matrices in F16, of numbers that are made quickly"""
    s = LARGE[name]()
    matrices(s)
    write(path, s, corpus, lambda tensor, shape: fill(s, tensor, shape, mkgguf.numpy_normal))


# ---- whose next token follows from the last one alone -----------------------------------------------------
# Layers add nothing and cost all the same; the token of the next row of the output matrix is that of the present embedding, `jump` further
# in the vocabulary: a text that never repeats itself within it, which a second model or a block knows when its jump is the same.
def attending(L, jump, d=512):
    s = Shape('qwen3', L=L, d=d, h=8, hkv=4, hd=64, ffn=3 * d, ctx=2048)
    return s.per_layer(lambda t: (s.attention(t, head_norm=True), s.dense(t))), jump


def predicting(jump, own):
    """with states, and a block that is right when its own jump is that of the trunk"""
    s = qwen35('qwen35', 8, 512, 8, 2, 64, 1536, 4, 8, 64, 16)
    s.keys = [kv('qwen35.context_length', U32, 2048) if b'context_length' in k else k for k in s.keys]

    def layer(t):
        t('attn_norm.weight', s.d); t('post_attention_norm.weight', s.d)
        t('attn_q.weight', 2 * s.h * s.hd, s.d); t('attn_k.weight', s.hkv * s.hd, s.d); t('attn_v.weight', s.hkv * s.hd, s.d)
        t('attn_output.weight', s.d, s.h * s.hd); t('attn_q_norm.weight', s.hd); t('attn_k_norm.weight', s.hd)
        s.dense(t, None)
    drafting(s, layer)
    s.fills['nextn.eh_proj.weight'] = lambda w: np.hstack([np.eye(s.d), np.zeros((s.d, s.d))]) * (1 if own == jump else -1)
    return s, jump


STEPS = {
    'steps': lambda: attending(8, 7), 'steps small': lambda: attending(1, 7, 128), 'steps same': lambda: attending(8, 7), 'steps wrong': lambda: attending(1, 11, 128),
    'steps mtp': lambda: predicting(7, 7), 'steps mtp wrong': lambda: predicting(7, 11),
}


def make_steps(path, name, corpus):
    s, jump = STEPS[name]()
    matrices(s)
    for out in ('attn_output.weight', 'ffn_down.weight', 'ssm_out.weight'): s.fills[out] = np.zeros_like
    n = 400  # of the vocabulary's beginning: bytes, and merges that the corpus has

    def values(tensor, shape):
        if tensor != 'output.weight': return fill(s, tensor, shape, mkgguf.numpy_normal)
        rows = fill(s, 'token_embd.weight', shape, mkgguf.numpy_normal)
        return rows[[(i - jump) % n if i < n else i for i in range(VOCAB)]] * np.float32(4 / np.sqrt(s.d))
    write(path, s, corpus, values)
