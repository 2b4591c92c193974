"""headers.py - files of models that people run, as far as their heads: true keys, true shapes, no weights.

Nobody can keep the files themselves in a test. But their loaders' logs are public, and say every key with its type and value,
how many tensors are stored in which format, and how many bytes they are. headers/NAME.txt holds these facts:

  file NAME.gguf            what the file is called and who made it; seen: where its log stands
  size 20.70                GiB of all tensors, as the loader says (two decimals)
  key KEY TYPE = VALUE      as logged; a list has its length in the type, arr[i32,30], and its items are repeated until there are
                            so many: "5*8 2" is 8 8 8 8 8 2 8 8 ...; texts and numbers of a vocabulary are made up (...)
  params 30.70              billions of numbers in all tensors, as the loader or the publisher says
  tensors 733               all of them
  count q8_0 312            tensors of a format
  store q5_K PATTERN [N]    how the tensors that match (a regular expression; the first N of them) are stored, where no earlier
                            line says so; what no line is about is F32
  named NAME OTHER          tensors called otherwise than usual
  refused TEXT              what is said of the file, which does not open
  tensor NAME COLS ROWS     one of those that text does without
What a log does not say has no line. Of some files no log was to be had: their first line says so, and what they are made from.

Which tensors there are follows from the keys by TENSORS below, written from the models' papers and the names in llama.cpp's
converter, not from the engine's rules. That the table is right, is checked by the log: as many tensors of every format, and
bytes within 1 % (which layers a quantiser gives more bits is not logged, so that `store` may name others).

The engine reads the head alone (`tawny plan`), and a second file that has the vocabulary alone (`tawny tokenize`).
"""
import glob, itertools, json, math, os, re, struct, subprocess
import mkgguf

HERE = os.path.dirname(os.path.abspath(__file__))
GIB = 1 << 30
SCALARS = {'u8': (0, 'B'), 'i8': (1, 'b'), 'u16': (2, 'H'), 'i16': (3, 'h'), 'u32': (4, 'I'), 'i32': (5, 'i'), 'f32': (6, 'f'),
           'bool': (7, '?'), 'u64': (10, 'Q'), 'i64': (11, 'q'), 'f64': (12, 'd')}
STR, ARR = 8, 9
FORMATS = dict(mkgguf.TYPES, iq2_xxs=(16, 256, 66), iq2_xs=(17, 256, 74), iq3_xxs=(18, 256, 98), iq1_s=(19, 256, 50), iq3_s=(21, 256, 110),
               iq2_s=(22, 256, 82), iq1_m=(29, 256, 56), tq1_0=(34, 256, 54), tq2_0=(35, 256, 66))


# ---- the facts -------------------------------------------------------------------------------------------
def literal(text, kind):
    return text if kind == 'str' else text == 'true' if kind == 'bool' else float(text) if kind[0] == 'f' else int(text)


def items(text, kind):
    """'5*8 2' -> [8, 8, 8, 8, 8, 2]"""
    out = []
    for word in text.split():
        n, star, one = word.partition('*')
        out += [literal(one, kind)] * int(n) if star else [literal(word, kind)]
    return out


class Header:
    def __init__(self, path):
        self.name = os.path.basename(path)[:-4]
        self.keys, self.types, self.counts, self.stores, self.more, self.names = {}, {}, {}, [], [], {}
        self.bytes, self.n_params, self.n_tensors, self.refused = None, None, None, None
        for line in open(path, encoding='utf-8'):
            word, _, rest = line.strip().partition(' ')
            if word == 'size': self.bytes = float(rest) * GIB
            elif word == 'params': self.n_params = float(rest) * 1e9
            elif word == 'tensors': self.n_tensors = int(rest)
            elif word == 'refused': self.refused = rest
            elif word == 'named': self.names.update([rest.split()])
            elif word == 'tensor': self.more.append((rest.split()[0], tuple(map(int, rest.split()[1:]))))
            elif word == 'count': self.counts[rest.split()[0]] = int(rest.split()[1])
            elif word == 'store': self.stores.append((rest.split() + [None])[:3])
            elif word == 'key': self.add_key(*re.fullmatch(r'(\S+) (\S+) = ?(.*)', rest).groups())
        self.arch = self.keys['general.architecture']

    def add_key(self, key, kind, value):
        array = re.fullmatch(r'arr\[(\w+),(\d+)\]', kind)
        self.types[key] = kind
        if not array:
            self.keys[key] = literal(value, kind)
        elif value.startswith('...'):
            self.keys[key] = int(array[2])  # made up when it is written
        else:
            self.keys[key] = list(itertools.islice(itertools.cycle(items(value, array[1])), int(array[2])))

    def get(self, name, layer=0, default=0):
        """of the architecture; what a list says of a layer"""
        value = self.keys.get(self.arch + '.' + name, default)
        return value[layer] if isinstance(value, list) else value


# ---- which tensors there are -----------------------------------------------------------------------------
# [(name, dimensions)], the row length first. d: width of the model; E: experts.
def biased(name, cols, rows):
    return [(name + '.weight', (cols, rows)), (name + '.bias', (rows,))]


def attention(h, i, bias=False, q_rows=1, out_bias=False):
    d, n, (k, v) = h.get('embedding_length'), h.get('attention.head_count', i), widths(h, i)
    nk = h.get('attention.head_count_kv', i, n)
    out = []
    for name, rows in (('attn_q', q_rows * n * k), ('attn_k', nk * k), ('attn_v', nk * v)):
        out += biased(name, d, rows) if bias else [(name + '.weight', (d, rows))]
    return out + (biased('attn_output', n * v, d) if out_bias else [('attn_output.weight', (n * v, d))])


def widths(h, i):
    """of a head's keys and values"""
    whole = h.get('embedding_length') // max(h.get('attention.head_count', i), 1)
    return h.get('attention.key_length', i, whole), h.get('attention.value_length', i, whole)


def vectors(h, *names, width=None):
    return [(name + '.weight', (width or h.get('embedding_length'),)) for name in names]


def head_norms(h, i):
    return vectors(h, 'attn_q_norm', 'attn_k_norm', width=widths(h, i)[0])


def dense(h, i, names=('ffn_gate', 'ffn_up'), suffix='', ff=None):
    d, ff = h.get('embedding_length'), ff or h.get('feed_forward_length', i)
    return [(name + suffix + '.weight', (d, ff)) for name in names] + [('ffn_down' + suffix + '.weight', (ff, d))]


def experts(h, names=('ffn_gate', 'ffn_up'), router_bias=False):
    d, E, ff = h.get('embedding_length'), h.get('expert_count'), h.get('expert_feed_forward_length', default=h.get('feed_forward_length'))
    out = [('ffn_gate_inp.weight', (d, E))] + ([('exp_probs_b.bias', (E,))] if router_bias else [])
    return out + [(name + '_exps.weight', (d, ff, E)) for name in names] + [('ffn_down_exps.weight', (ff, d, E))]


def is_dense(h, i):
    return i < h.get('leading_dense_block_count') or not h.get('expert_count')


def qwen35(h, i, n_trunk):
    d, inner, heads = h.get('embedding_length'), h.get('ssm.inner_size'), h.get('ssm.time_step_rank')
    channels = inner + 2 * h.get('ssm.group_count') * h.get('ssm.state_size')
    out = vectors(h, 'attn_norm', 'post_attention_norm')
    if (i + 1) % h.get('full_attention_interval', default=4) == 0 or i >= n_trunk:
        out += attention(h, i, q_rows=2) + head_norms(h, i)
    else:
        packed = h.arch == 'qwen3next' and not h.get('full_attention_interval')  # as first converters wrote it: of each key head its q, k, values and gates
        out += [('ssm_in.weight', (d, channels + inner))] if packed else [('attn_qkv.weight', (d, channels)), ('attn_gate.weight', (d, inner))]
        out += [('ssm_conv1d.weight', (h.get('ssm.conv_kernel'), channels)),
                ('ssm_dt.bias', (heads,)), ('ssm_a', (heads,)), ('ssm_norm.weight', (inner // heads,)), ('ssm_out.weight', (inner, d))]
        out += [('ssm_ba.weight', (d, 2 * heads))] if h.arch == 'qwen3next' else [('ssm_alpha.weight', (d, heads)), ('ssm_beta.weight', (d, heads))]
    if not h.get('expert_count'):
        out += dense(h, i)
    else:
        out += experts(h) + dense(h, i, suffix='_shexp', ff=h.get('expert_shared_feed_forward_length')) + [('ffn_gate_inp_shexp.weight', (d,))]
    return out + (nextn(h) if i >= n_trunk else [])


def nextn(h, shared=False):
    """a block that predicts the token after the next; some have a copy of the embeddings and of the output"""
    d, vocab = h.get('embedding_length'), h.keys['tokenizer.ggml.tokens']
    out = [('nextn.eh_proj.weight', (2 * d, d))] + vectors(h, 'nextn.enorm', 'nextn.hnorm', 'nextn.shared_head_norm')
    return out + ([('nextn.embed_tokens.weight', (d, vocab)), ('nextn.shared_head_head.weight', (d, vocab))] if shared else [])


def gpt_oss(h, i, n_trunk):
    d, E, ff = h.get('embedding_length'), h.get('expert_count'), h.get('expert_feed_forward_length')
    return (vectors(h, 'attn_norm', 'post_attention_norm') + attention(h, i, bias=True, out_bias=True) + [('attn_sinks.weight', (h.get('attention.head_count'),))] +
            experts(h) + [('ffn_gate_inp.bias', (E,)), ('ffn_gate_exps.bias', (ff, E)), ('ffn_up_exps.bias', (ff, E)), ('ffn_down_exps.bias', (d, E))])


def gemma4(h, i, n_trunk):
    """files have keys and values of their own in layers that read those of earlier ones too; nothing reads them"""
    d, n, nk, windowed = h.get('embedding_length'), h.get('attention.head_count', i), h.get('attention.head_count_kv', i), h.get('attention.sliding_window_pattern', i)
    width = h.get('attention.key_length_swa' if windowed else 'attention.key_length')
    E, ff, own = h.get('expert_count'), h.get('expert_feed_forward_length'), h.get('embedding_length_per_layer_input')
    small = own > 0 or not h.get('attention.k_eq_v', default=True)
    out = vectors(h, 'attn_norm', 'post_attention_norm', 'ffn_norm', 'post_ffw_norm') + vectors(h, 'attn_q_norm', 'attn_k_norm', width=width)
    out += [('attn_q.weight', (d, n * width)), ('attn_k.weight', (d, nk * width)), ('attn_output.weight', (n * width, d)), ('layer_output_scale.weight', (1,))]
    if windowed or small: out.append(('attn_v.weight', (d, nk * width)))
    out += dense(h, i)
    if E:
        out += [('ffn_gate_inp.weight', (d, E)), ('ffn_gate_inp.scale', (d,)), ('ffn_gate_up_exps.weight', (d, 2 * ff, E)), ('ffn_down_exps.weight', (ff, d, E)),
                ('ffn_down_exps.scale', (E,))] + vectors(h, 'post_ffw_norm_1', 'pre_ffw_norm_2', 'post_ffw_norm_2')
    if own:
        out += [('inp_gate.weight', (d, own)), ('proj.weight', (own, d))] + vectors(h, 'post_norm')
    return out


def gemma4_model(h):
    own, n = h.get('embedding_length_per_layer_input'), h.get('block_count')
    out = outer(h, tied=True) + [('rope_freqs.weight', (h.get('attention.key_length') // 2,))]
    if own:
        out += [('per_layer_token_embd.weight', (own * n, h.keys['tokenizer.ggml.tokens'])), ('per_layer_model_proj.weight', (h.get('embedding_length'), own * n)),
                ('per_layer_proj_norm.weight', (own,))]
    return out


def glm4moe(h, i, n_trunk):
    out = vectors(h, 'attn_norm', 'post_attention_norm') + attention(h, i, bias=True)
    out += dense(h, i) if is_dense(h, i) else experts(h, router_bias=True) + shared(h, i)
    return out + (nextn(h, shared=True) if i >= n_trunk else [])


def shared(h, i):
    return dense(h, i, suffix='_shexp', ff=h.get('expert_shared_count') * h.get('expert_feed_forward_length'))


def minimax(h, i, n_trunk):
    n, nk, (k, _) = h.get('attention.head_count'), h.get('attention.head_count_kv'), widths(h, i)
    return (vectors(h, 'attn_norm', 'ffn_norm') + attention(h, i) + vectors(h, 'attn_q_norm', width=n * k) + vectors(h, 'attn_k_norm', width=nk * k) +
            experts(h, router_bias=True))


def bert(h, i, n_trunk):
    d, ff = h.get('embedding_length'), h.get('feed_forward_length')
    out = attention(h, i, bias=True, out_bias=True) + biased('ffn_up', d, ff) + biased('ffn_down', ff, d)
    for name in ('attn_output_norm', 'layer_output_norm'): out += [(name + '.weight', (d,)), (name + '.bias', (d,))]
    return out


def bert_model(h):
    d, vocab = h.get('embedding_length'), h.keys['tokenizer.ggml.tokens']
    return [('token_embd.weight', (d, vocab)), ('token_types.weight', (d, h.keys['tokenizer.ggml.token_type_count'])), ('position_embd.weight', (d, h.get('context_length'))),
            ('token_embd_norm.weight', (d,)), ('token_embd_norm.bias', (d,))]


def outer(h, tied=False, norm='output_norm'):
    d, vocab = h.get('embedding_length'), h.keys['tokenizer.ggml.tokens']
    return [('token_embd.weight', (d, vocab)), (norm + '.weight', (d,))] + ([] if tied else [('output.weight', (d, vocab))])


def decoder(h, i, n_trunk):
    """the plain one; with norms of the heads of q and k, with experts, with biases where an architecture has them"""
    out = vectors(h, 'attn_norm', 'ffn_norm') + attention(h, i) + (head_norms(h, i) if h.arch.startswith('qwen3') else [])
    return out + (dense(h, i) if is_dense(h, i) else experts(h))


def decoder_model(h):
    """what embeds gives no tokens"""
    return outer(h, tied=h.get('pooling_type') > 0)


def llama_model(h):
    return outer(h) + [('rope_freqs.weight', (h.get('rope.dimension_count') // 2,))]


def phi3(h, i, n_trunk):
    d, n, nk, (k, v), ff = h.get('embedding_length'), h.get('attention.head_count'), h.get('attention.head_count_kv'), widths(h, i), h.get('feed_forward_length')
    return vectors(h, 'attn_norm', 'ffn_norm') + [('attn_qkv.weight', (d, (n + nk) * k + nk * v)), ('attn_output.weight', (n * v, d)),
                                                  ('ffn_up.weight', (d, 2 * ff)), ('ffn_down.weight', (ff, d))]


def phi3_model(h):
    """the small ones have factors for long contexts, and no output of their own"""
    small, n = 'phi3.rope.scaling.attn_factor' in h.keys, h.get('rope.dimension_count') // 2
    return outer(h, tied=small) + ([('rope_factors_long.weight', (n,)), ('rope_factors_short.weight', (n,))] if small else [])


def gemma3(h, i, n_trunk):
    return vectors(h, 'attn_norm', 'post_attention_norm', 'ffn_norm', 'post_ffw_norm') + attention(h, i) + head_norms(h, i) + dense(h, i)


def muse(h, i, n_trunk):
    d, (k, v), n = h.get('embedding_length'), widths(h, i), h.get('attention.head_count')
    return gemma3(h, i, n_trunk) + [('attn_gate.weight', (d, n * v))]


def deepseek2(h, i, n_trunk):
    d, n, q, kv = h.get('embedding_length'), h.get('attention.head_count'), h.get('attention.q_lora_rank'), h.get('attention.kv_lora_rank')
    k, v, rot = h.get('attention.key_length_mla'), h.get('attention.value_length_mla'), h.get('rope.dimension_count')
    apart = k > 0  # else of before 2025-04: key_length is that of a head, and its keys and values are one tensor
    if not apart: k, v = widths(h, i)
    out = vectors(h, 'attn_norm', 'ffn_norm') + vectors(h, 'attn_kv_a_norm', width=kv) + [('attn_kv_a_mqa.weight', (d, kv + rot)), ('attn_output.weight', (n * v, d))]
    out += vectors(h, 'attn_q_a_norm', width=q) + [('attn_q_a.weight', (d, q)), ('attn_q_b.weight', (q, n * k))] if q else [('attn_q.weight', (d, n * k))]
    out += [('attn_k_b.weight', (k - rot, kv, n)), ('attn_v_b.weight', (kv, v, n))] if apart else [('attn_kv_b.weight', (kv, n * (k - rot + v)))]
    return out + (dense(h, i) if is_dense(h, i) else experts(h, router_bias=h.get('expert_gating_func') == 2) + shared(h, i))


def mamba(h):
    d, inner, heads, group = h.get('embedding_length'), h.get('ssm.inner_size'), h.get('ssm.time_step_rank'), h.get('ssm.group_count')
    channels = inner + 2 * group * h.get('ssm.state_size')
    return [('ssm_in.weight', (d, inner + channels + heads)), ('ssm_conv1d.weight', (h.get('ssm.conv_kernel'), channels)), ('ssm_conv1d.bias', (channels,)), ('ssm_dt.bias', (heads,)), ('ssm_a', (1, heads)),
            ('ssm_d', (1, heads)), ('ssm_norm.weight', (inner // group, group)), ('ssm_out.weight', (inner, d))]


def granite(h, i, n_trunk):
    mixer = attention(h, i) if h.get('attention.head_count_kv', i) else mamba(h)
    return vectors(h, 'attn_norm', 'ffn_norm') + mixer + experts(h) + dense(h, i, suffix='_shexp', ff=h.get('expert_shared_feed_forward_length'))


def nemotron(h, i, n_trunk):
    if h.get('feed_forward_length', i):
        return vectors(h, 'attn_norm') + experts(h, names=('ffn_up',), router_bias=True) + dense(h, i, names=('ffn_up',), suffix='_shexp', ff=h.get('expert_shared_feed_forward_length'))
    return vectors(h, 'attn_norm') + (attention(h, i) if h.get('attention.head_count_kv', i) else mamba(h))


def lfm2(h, i, n_trunk):
    d = h.get('embedding_length')
    conv = [('shortconv.conv.weight', (h.get('shortconv.l_cache'), d)), ('shortconv.in_proj.weight', (d, 3 * d)), ('shortconv.out_proj.weight', (d, d))]
    out = vectors(h, 'attn_norm', 'ffn_norm') + (attention(h, i) + head_norms(h, i) if h.get('attention.head_count_kv', i) else conv)
    return out + (dense(h, i) if is_dense(h, i) else experts(h, router_bias=True))


def lfm2_model(h):
    return outer(h, tied=True, norm='token_embd_norm')


def nomic(h, i, n_trunk):
    d = h.get('embedding_length')
    norms = [(name + end, (d,)) for name in ('attn_output_norm', 'layer_output_norm') for end in ('.weight', '.bias')]
    return [('attn_qkv.weight', (d, 3 * d)), ('attn_output.weight', (d, d))] + norms + dense(h, i)


def nomic_model(h):
    return [t for t in bert_model(h) if t[0] != 'position_embd.weight']


def gemma2(h, i, n_trunk):
    return vectors(h, 'attn_norm', 'post_attention_norm', 'ffn_norm', 'post_ffw_norm') + attention(h, i) + dense(h, i)


def olmo2(h, i, n_trunk):
    n, nk, (k, _) = h.get('attention.head_count'), h.get('attention.head_count_kv'), widths(h, i)
    return (attention(h, i) + vectors(h, 'attn_q_norm', width=n * k) + vectors(h, 'attn_k_norm', width=nk * k) + vectors(h, 'post_attention_norm', 'post_ffw_norm') + dense(h, i))


def seed(h, i, n_trunk):
    return vectors(h, 'attn_norm', 'post_attention_norm') + attention(h, i, bias=True) + dense(h, i)


def ernie(h, i, n_trunk):
    out = vectors(h, 'attn_norm', 'ffn_norm') + attention(h, i)
    return out + (dense(h, i) if is_dense(h, i) else experts(h, router_bias=True) + dense(h, i, suffix='_shexp', ff=h.get('expert_shared_feed_forward_length')))


def hunyuan(h, i, n_trunk):
    out = vectors(h, 'attn_norm', 'ffn_norm') + attention(h, i) + head_norms(h, i)
    return out + (dense(h, i) if is_dense(h, i) else experts(h) + dense(h, i, suffix='_shexp', ff=h.get('expert_shared_feed_forward_length')))


def tied(h):
    return outer(h, tied=True)


TENSORS = {  # architecture: (of the model, of layer i)
    'qwen35': (outer, qwen35), 'qwen35moe': (outer, qwen35), 'qwen3next': (outer, qwen35), 'gpt-oss': (outer, gpt_oss), 'gemma4': (gemma4_model, gemma4),
    'glm4moe': (outer, glm4moe), 'minimax-m2': (outer, minimax), 'bert': (bert_model, bert), 'nomic-bert': (nomic_model, nomic),
    'llama': (llama_model, decoder), 'phi3': (phi3_model, phi3), 'smollm3': (tied, decoder), 'gemma-embedding': (tied, gemma3),
    'qwen3': (decoder_model, decoder), 'qwen3moe': (outer, decoder), 'mistral3': (tied, decoder), 'gemma3': (tied, gemma3), 'muse-glimmer': (outer, muse), 'deepseek2': (outer, deepseek2),
    'mistral4': (outer, deepseek2), 'gemma2': (tied, gemma2), 'olmo2': (outer, olmo2), 'seed_oss': (outer, seed), 'ernie4_5': (tied, decoder), 'ernie4_5-moe': (tied, ernie),
    'hunyuan-dense': (tied, hunyuan), 'hunyuan-moe': (tied, hunyuan), 'granitehybrid': (tied, granite), 'nemotron_h_moe': (outer, nemotron), 'lfm2': (lfm2_model, lfm2), 'lfm2moe': (lfm2_model, lfm2),
}


def tensors(h):
    """[(name, dimensions, format)]"""
    of_model, of_layer = TENSORS[h.arch]
    out = of_model(h)
    n = h.get('block_count')
    for i in range(n):
        out += [('blk.%d.%s' % (i, h.names.get(name, name)), dims) for name, dims in of_layer(h, i, n - h.get('nextn_predict_layers'))]
    out += h.more
    formats = {}
    for form, pattern, most in h.stores:
        names = [name for name, _ in out if name not in formats and re.search(pattern, name)]
        formats.update({name: form for name in names[:int(most) if most else None]})
    return [(name, dims, formats.get(name, 'f32').lower()) for name, dims in out]


def elements(dims):
    n = 1
    for dim in dims: n *= dim
    return n


def tensor_bytes(dims, form):
    _, block, size = FORMATS[form]
    return elements(dims) // block * size


# ---- a file of them --------------------------------------------------------------------------------------
TEMPLATE = mkgguf.CHATML


def made_up(h, key, n, what):
    """a list whose items the log does not say; a tokenizer takes no merge twice"""
    base = [mkgguf.byte_chars()[b] for b in range(256)]
    if key.endswith('.tokens'):
        return [c if i < 256 and h.keys['tokenizer.ggml.model'] == 'gpt2' else '<0x%02X>' % i if i < 256 else '[%d]' % i for i, c in zip(range(n), base + [''] * n)]
    if key.endswith('.merges'):
        return [base[97] + ' ' + base[98]] * (n if what == 'head' else 0)
    if key.endswith('.token_type'):
        return [1 if h.keys['tokenizer.ggml.model'] == 'gpt2' or i > 255 else 6 for i in range(n)]
    return [0] * n


def pack(h, key, kind, value, what):
    array = re.fullmatch(r'arr\[(\w+),(\d+)\]', kind)
    head = mkgguf.s_(key)
    if kind == 'str':
        return head + struct.pack('<I', STR) + mkgguf.s_(TEMPLATE if key.startswith('tokenizer.chat_template') else value)
    if not array:
        return head + struct.pack('<I' + SCALARS[kind][1], SCALARS[kind][0], value)
    values = value if isinstance(value, list) else made_up(h, key, value, what)
    if array[1] == 'str':
        body = b''.join(map(mkgguf.s_, values))
        return head + struct.pack('<IIQ', ARR, STR, len(values)) + body
    number, code = SCALARS[array[1]]
    return head + struct.pack('<IIQ', ARR, number, len(values)) + struct.pack('<%d%s' % (len(values), code), *values)


def write(path, h, what):
    """head: the head of the file; vocabulary: without its tensors, a whole file; whole: with room for its numbers, all zeros, which no disk is written with"""
    keys = [pack(h, key, h.types[key], value, what) for key, value in h.keys.items() if not key.startswith('split.')]
    infos, offset, ones = [], 0, []
    for name, dims, form in [] if what == 'vocabulary' else tensors(h):
        infos.append(mkgguf.s_(name) + struct.pack('<I%dQIQ' % len(dims), len(dims), *dims, FORMATS[form][0], offset))
        if name == 'rope_freqs.weight': ones.append((offset, dims[0]))  # what frequencies are divided by
        offset += -(-tensor_bytes(dims, form) // mkgguf.ALIGN) * mkgguf.ALIGN
    head = struct.pack('<4sIQQ', b'GGUF', 3, len(infos), len(keys)) + b''.join(keys) + b''.join(infos)
    with open(path, 'wb') as f:
        f.write(head + bytes(-len(head) % mkgguf.ALIGN))
        if what == 'whole':
            start = f.tell()
            f.truncate(start + offset)
            for at, n in ones:
                f.seek(start + at)
                f.write(struct.pack('<%df' % n, *[1] * n))


# ---- what the engine makes of them -----------------------------------------------------------------------
IGNORED = {  # keys outside the architecture's own that the engine does not read, and why not
    r'general\.(type|basename|finetune|version|size_label|quantized_by|organization|author|description|languages|tags|datasets|license.*|repo_url|url|source\..*|'
    r'base_model\..*|dataset\..*)': 'says where the file comes from',
    r'general\.(quantization_version|parameter_count)': 'every tensor says its format and its shape itself',
    r'general\.sampling\..*': 'how to sample is said by the request, else by the defaults that the README names',
    r'quantize\..*|mradermacher\..*': 'how the quantiser came to its choices',
    r'tokenizer\.ggml\.(padding|mask)_token_id': 'nothing is padded or masked',
    r'tokenizer\.ggml\.cls_token_id': 'BERT names it bos_token_id too, or has it at 101',
    r'tokenizer\.ggml\.suppress_tokens': 'the marks that end an image or a sound (Gemma 4): control tokens, of which no text comes',
    r'tokenizer\.ggml\.add_sep_token': 'WordPiece always adds it, the others never do',
    r'split\.count|split\.no|split\.tensors\.count': 'of files, not of the model; parts are tested where there are parts (tests/unit/model_parts.c)',
    r'tokenizer\.ggml\.add_(padding|mask|unknown)_token': 'no text is padded or masked; unknown ones are added where a text has them',
    r'tokenizer\.ggml\.(fim_\w+|prefix|suffix|middle)_token_id': 'the marks of a gap are found by their texts',
}


def tokens_of(h):
    return h.keys['tokenizer.ggml.tokens']


def left_out(h, name):
    """of towers, of blocks that predict further tokens, and of layers that read the keys of earlier ones"""
    layer = re.match(r'blk\.(\d+)\.(.*)', name)
    if not layer: return name.startswith(('v.', 'a.', 'mm.', 'mtp.'))
    n_trunk = h.get('block_count') - h.get('nextn_predict_layers')
    shares = int(layer[1]) >= n_trunk - h.get('attention.shared_kv_layers')
    return int(layer[1]) >= n_trunk or (shares and re.match(r'attn_(k|v|k_norm)\.', layer[2]) is not None)


def is_draft(h, name):
    """of a block that predicts further tokens"""
    layer = re.match(r'blk\.(\d+)\.', name)
    return layer is not None and int(layer[1]) >= h.get('block_count') - h.get('nextn_predict_layers')


def kept(h):
    """[(window, numbers kept of a token)] of the layers that keep keys and values; window 0: all"""
    out = []
    for i in range(h.get('block_count') - h.get('nextn_predict_layers') - h.get('attention.shared_kv_layers')):
        nk, (k, v), window = h.get('attention.head_count_kv', i, h.get('attention.head_count', i)), widths(h, i), h.get('attention.sliding_window')
        pattern = h.get('attention.sliding_window_pattern', i, PERIODS.get(h.arch, 1))
        windowed = window > 0 and (pattern if isinstance(pattern, bool) else i % pattern < pattern - 1)
        if windowed and h.get('attention.key_length_swa'): k, v = h.get('attention.key_length_swa'), h.get('attention.value_length_swa')
        if h.get('attention.kv_lora_rank'): nk, k, v = 1, h.get('attention.kv_lora_rank') + h.get('rope.dimension_count'), 0
        if h.arch in DELTA: nk = nk if (i + 1) % h.get('full_attention_interval', default=4) == 0 else 0
        if h.arch in ONE_PASS and i > 0: nk = 0  # layers write over each other's
        if nk: out.append((window if windowed else 0, nk * (k + v)))
    return out


DELTA, ONE_PASS = ('qwen35', 'qwen35moe', 'qwen3next'), ('bert', 'nomic-bert', 'gemma-embedding')
PERIODS = {'gpt-oss': 2, 'gemma2': 2, 'gemma3': 6, 'gemma4': 6, 'muse-glimmer': 4, 'olmo2': 4}  # where the file does not say
PAGE, SEQS, HELD = 256, 4, 32  # rows a page, conversations at once, earlier texts that are held


def batch(h):
    """tokens a pass: where tokens see all of a text, one"""
    return h.get('context_length') if h.arch in ONE_PASS else 512


def state_bytes(h):
    """of all recurrent layers, for one conversation"""
    n = 0
    for i in range(h.get('block_count') - h.get('nextn_predict_layers')):
        channels = h.get('ssm.inner_size') + 2 * h.get('ssm.group_count') * h.get('ssm.state_size')
        if h.get('shortconv.l_cache'):
            n += (h.get('shortconv.l_cache') - 1) * h.get('embedding_length') if h.get('attention.head_count_kv', i) == 0 else 0
        elif h.get('ssm.inner_size'):
            attends = (i + 1) % h.get('full_attention_interval', default=4) == 0 if h.arch in DELTA else h.get('attention.head_count_kv', i) > 0 or (
                h.arch.startswith('nemotron') and h.get('feed_forward_length', i) > 0)
            n += 0 if attends else (h.get('ssm.conv_kernel') - 1) * channels + h.get('ssm.inner_size') * h.get('ssm.state_size')
    return 4 * n


def states(h, memory):
    """one for each conversation, and up to 32 of earlier texts in a sixteenth of the memory, 4 GiB at most; 4 at least"""
    return (SEQS + max(4, min(32, min(memory // 16, 4 * GIB) // state_bytes(h)))) * state_bytes(h) if state_bytes(h) else 0


def cache_bytes(h, n):
    """one conversation of n tokens and a quarter for each further one; where there is a window, what it sees, and as much for earlier texts"""
    whole, layers = -(-n // PAGE), kept(h)
    if h.arch in ONE_PASS: return sum(2 * PAGE * numbers for _, numbers in layers) * (-(-batch(h) // PAGE) + SEQS + HELD + 1)  # each text begins a page; one is for the disk
    pages = whole + (SEQS - 1) * -(-whole // 4) + (-(-batch(h) // PAGE) if h.get('pooling_type') else 0)
    seen = {w: 2 * SEQS * (whole if w >= n else min((w + batch(h)) // PAGE + 2, whole)) for w, _ in layers if w}
    return sum(2 * PAGE * numbers * min(pages, seen.get(w, pages)) for w, numbers in layers)


def context(h, size, memory):
    """what ctx = auto gives, by what the plan says that weights and scratch take: (tokens, fits)"""
    usable = memory - min(memory // 16, 4 * GIB)
    train = h.get('context_length')

    def fits(n): return size['weights'] + size['scratch'] + states(h, memory) + cache_bytes(h, n) <= usable
    most = train if fits(train) else max((n for n in range(0, train, PAGE) if fits(n)), default=0)
    least = min(train, 1024)
    return (least, False) if most < least else (min(most, 131072), True)


def plan(tawny, path, *more):
    r = subprocess.run([tawny, 'plan', '-m', path, '--device', 'cpu', '--json', '--speculation', 'off', '--state', os.path.dirname(path), *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return json.loads(r.stdout) if r.stdout else None, r.stderr.strip()


def total_bytes(h):
    return sum(tensor_bytes(dims, form) for _, dims, form in tensors(h))


def check_table(h, check):
    counts = {}
    for _, _, form in tensors(h): counts[form] = counts.get(form, 0) + 1
    n, logged, params = total_bytes(h), h.bytes or total_bytes(h), sum(elements(dims) for _, dims, _ in tensors(h))
    check('headers %s as logged' % h.name, (counts == h.counts or not h.counts) and h.n_tensors in (None, sum(counts.values())) and abs(n / logged - 1) < 0.01 and
          abs(params / (h.n_params or params) - 1) < 0.01,
          '%d tensors, logged %s; formats %s, logged %s; %.3f GiB, logged %.3f; %.2f billion numbers, logged %.2f' % (
              sum(counts.values()), h.n_tensors, counts, h.counts, n / GIB, logged / GIB, params / 1e9, (h.n_params or params) / 1e9))


def check_plan(tawny, path, h, check):
    got, said = plan(tawny, path)
    if h.refused: return check('headers %s is refused' % h.name, not got and h.refused in said, said[-300:])
    if not got: return check('headers %s opens' % h.name, False, said[-300:])
    check('headers %s opens' % h.name, 'means nothing' not in said, said[-300:])
    size = got['bytes']
    want = sum(tensor_bytes(dims, form) for name, dims, form in tensors(h) if not left_out(h, name))
    want += (h.bytes or total_bytes(h)) - total_bytes(h)  # the log's number, not the table's
    block = sum(tensor_bytes(dims, form) for name, dims, form in tensors(h) if is_draft(h, name))
    check('headers %s draft' % h.name, got['draft_block_bytes'] == block, '%d bytes of a block that predicts further tokens, computed %d' % (got['draft_block_bytes'], block))
    check('headers %s weights' % h.name, abs(size['weights'] / want - 1) < 0.01, '%.3f GiB, logged %.3f' % (size['weights'] / GIB, want / GIB))
    halves = plan(tawny, path, '--kv-type', 'q8_0')[0]['bytes']['one_token']
    numbers = sum(n for _, n in kept(h))
    check('headers %s token' % h.name, (size['one_token'], halves) == (2 * numbers, numbers * 34 / 32), '%d bytes, as Q8_0 %d; computed %d, %d' % (
        size['one_token'], halves, 2 * numbers, numbers * 34 / 32))
    for memory in (32, 64, 128):
        got, _ = plan(tawny, path, '--memory', str(memory * GIB))
        want = context(h, got['bytes'], memory * GIB)
        check('headers %s in %d GiB' % (h.name, memory), (got['context'], got['fits']) == want and got['bytes']['keys_and_values'] == cache_bytes(h, want[0]) and
              got['bytes']['states'] == states(h, memory * GIB), '%d tokens, fits: %s; computed %d, %s; %s' % (got['context'], got['fits'], *want, got['bytes']))


CATALOGUE = {'qwen3.6-35b-a3b-mtp': 'Qwen3.6-35B-A3B', 'qwen3.5-27b': 'Qwen3.6-27B', 'qwen3.5-9b-ollama': 'Qwen3.5-9B', 'gpt-oss-20b': 'gpt-oss-20b',
             'gpt-oss-120b': 'gpt-oss-120b', 'gemma-4-26b-a4b': 'gemma-4-26B-A4B-it', 'glm-4.7-flash': 'GLM-4.7-Flash',
             'qwen3-coder-30b-a3b': 'Qwen3-Coder-30B-A3B-Instruct', 'embeddinggemma-300m': 'embeddinggemma-300M'}


def check_catalogue(tree, heads, check):
    """what GET /v1/catalogue plans with, in the engine's table, beside the heads of these models"""
    text = open(os.path.join(tree, 'engine/api/catalogue.c')).read()
    rows = re.findall(r'\{"hf\.co/[^/]+/([^":]+?)-GGUF[^"]*",\s*"([^"]+)",([0-9*,\s]+),\s*"', text)
    table = {name: (arch, [math.prod(int(n) for n in one.split('*')) for one in numbers.split(',')]) for name, arch, numbers in rows}
    check('headers: the catalogue', len(table) >= 12 and set(CATALOGUE.values()) <= set(table), sorted(table))
    for h in heads:
        if h.name not in CATALOGUE: continue
        arch, (_, trained, numbers, in_window, window, state) = table.get(CATALOGUE[h.name], ('', [0] * 6))
        layers = [(w if w < h.get('context_length') and h.arch not in ONE_PASS else 0, n) for w, n in kept(h)]
        want = [h.arch, h.get('context_length') // 1024, sum(n for w, n in layers if not w), sum(n for w, n in layers if w), max(w for w, _ in layers), state_bytes(h) // 1024]
        check('headers %s in the catalogue' % h.name, [arch, trained, numbers, in_window, window, state] == want, '%s, by its head %s' % (
            [arch, trained, numbers, in_window, window, state], want))


def check_keys(tree, h, check):
    """each key is read, which means that it stands in the engine's text, or left alone with a reason; those of the architecture are named when they mean nothing"""
    source = ''.join(open(f, encoding='utf-8').read() for f in glob.glob(tree + '/engine/**/*.c', recursive=True))
    bad = [key for key in h.keys if not key.startswith(h.arch + '.') and '"%s"' % key not in source and not any(re.fullmatch(p, key) for p in IGNORED)]
    check('headers %s keys' % h.name, not bad, 'neither read nor left alone for a reason: %s' % ' '.join(bad))


def check_vocabulary(tawny, path, h, check):
    r = subprocess.run([tawny, 'tokenize', '-m', path, '--text', 'hello'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    check('headers %s vocabulary' % h.name, r.returncode == 0 and len(r.stdout.split()) > 0, (r.stdout + r.stderr).strip()[-300:])


TAKEN = {'ministral-3-3b': 32, 'lfm2.5-8b-a1b': 32, 'gpt-oss-20b': 32, 'qwen3.5-35b-a3b': 64, 'gpt-oss-120b': 128}  # 3B to 120B, in so many GiB


def check_taken(takes, path, h, check):
    """of a whole file whose numbers are zeros: the address space that really grows, on the processor, which maps the weights"""
    write(path, h, 'whole')
    r = subprocess.run([takes, 'cpu', str(TAKEN[h.name]), path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if r.returncode: return check('headers %s taken' % h.name, False, r.stderr.strip()[-300:])
    _, n_ctx, planned, taken = r.stdout.split()
    check('headers %s taken' % h.name, abs(int(planned) / int(taken) - 1) < 0.05, '%s tokens in %d GiB: %.3f GiB planned, %.3f taken: %+.1f %%' % (
        n_ctx, TAKEN[h.name], int(planned) / GIB, int(taken) / GIB, 100 * (int(planned) / int(taken) - 1)))


def run(work, tawny, takes, tree, check, only):
    for path in sorted(glob.glob(HERE + '/headers/*.txt')):
        h, head = Header(path), work + '/head.gguf'
        if only and not any(w in 'headers ' + h.name for w in only): continue
        check_table(h, check)
        check_keys(tree, h, check)
        write(head, h, 'head')
        check_plan(tawny, head, h, check)
        write(head, h, 'vocabulary')
        check_vocabulary(tawny, head, h, check)
        if h.name in TAKEN: check_taken(takes, head, h, check)
    if not only or any(w in 'headers catalogue' for w in only):
        check_catalogue(tree, [Header(path) for path in sorted(glob.glob(HERE + '/headers/*.txt'))], check)


if __name__ == '__main__':  # how a header stands against its log
    def say(name, good, detail): print('%s %-44s %s' % ('ok    ' if good else 'FAILED', name, detail))
    for path in sorted(glob.glob(HERE + '/headers/*.txt')): check_table(Header(path), say)
