"""cases.py - what the golden tier runs and peer/compare.py records: models, token ids, corpus."""
import hashlib, os
import mkarch, mkgguf

HERE = os.path.dirname(os.path.abspath(__file__))
TOKENS = HERE + '/tokens'
TOP, ARCH_TOP = 8, 12
LENGTHS = (1, 7, 40)  # of IDS: texts that become vectors
def ids(n): return [(i * i * 37 + i * 11 + 5) % 500 for i in range(n)]
IDS = ids(40)
ARCH_IDS = {'deepseek4 far': ids(300)}  # else IDS; the last 40 positions are compared
WORDS = 'the quick Brown fox naïve Größe тест 中文 日本語 한국어 שלום مرحبا हिन्दी return int foo_bar HTTPServer  indented\tx 😀 👩‍💻'.split(' ')
FAMILIES = ['gpt-2', 'llama-bpe', 'qwen2', 'default']  # values of tokenizer.ggml.pre; without the key it is default
WHOLE = [' quick', 'HTTPServerError', ' übermut', ' 中文', '12345', '日', '\n\n\n']  # tokens that merges never reach

TINY, QWEN2 = mkgguf.SHAPES['tiny'], mkgguf.SHAPES['tiny-qwen2']
# A row is no multiple of 256: K-quantised files hold Q5_0, Q5_1 and IQ4_NL there.
ODD = dict(TINY, d=96, h=3, hkv=1, hd=32, ffn=160)
KINDS = ['f32', 'f16', 'bf16', 'q8_0', 'q4_0', 'q4_k', 'q5_k', 'q6_k']
MODELS = {'llama-' + k: (TINY, k) for k in KINDS}
MODELS.update({'qwen2-' + k: (QWEN2, k) for k in KINDS})
MODELS.update({
    'llama-rope-factors': (dict(TINY, rope_factors=True), 'f32'),
    'llama-linear': (dict(TINY, linear=4.0), 'f32'),
    'llama-yarn': (dict(TINY, yarn=(4.0, 64, {})), 'f32'),
    'qwen2-yarn': (dict(QWEN2, yarn=(8.0, 32, {'attn_factor': 0.9})), 'f32'),
    'llama-tied': (dict(TINY, tied=True), 'f32'),
    'llama-wide-heads': (dict(TINY, h=4, hkv=1, hd=128), 'f32'),  # head_dim is not n_embd / n_head
    'llama-mha': (dict(TINY, h=4, hkv=4), 'f16'),
    'llama-q4_1': (TINY, 'q4_1'),
    'llama-q5_0': (ODD, 'q5_0'),
    'llama-q5_1': (ODD, 'q5_1'),
    'llama-odd-rows': (ODD, 'q8_0'),
    'llama-q2_k': (TINY, 'q2_k'),
    'llama-q3_k': (TINY, 'q3_k'),
    'llama-iq4_nl': (ODD, 'iq4_nl'),
    'llama-iq4_xs': (TINY, 'iq4_xs'),
    'llama-mxfp4': (ODD, 'mxfp4'),
    'qwen2-untied': (dict(QWEN2, tied=False), 'f32'),
})
# Formats with codebooks: their weights are noise (mkgguf.py), the vectors of llama.cpp are in tests/unit/formats_recorded.h.
CODEBOOKS = {'llama-' + k: (TINY, k) for k in ['iq1_s', 'iq1_m', 'iq2_xxs', 'iq2_xs', 'iq2_s', 'iq3_xxs', 'iq3_s']}


def token_files():
    return sorted(n for n in os.listdir(TOKENS) if n not in ('ids.txt', 'hashes.txt', 'javascript.txt') and os.path.isfile(TOKENS + '/' + n))


def corpus():
    return ''.join(open(os.path.join(TOKENS, n), encoding='utf-8', errors='replace', newline='').read() for n in token_files())


def make_model(path, name):
    shape, kind = (MODELS.get(name) or CODEBOOKS[name])
    mkgguf.make(path, shape, kind, 1, corpus(), False, name)


def make_arch(path, name, ctx=None):
    mkarch.make(path, name, corpus(), ctx)


def make_steps(path, name):
    mkarch.make_steps(path, name, corpus())


def make_vocab_file(path, pre):
    """a vocabulary whose merges come from the corpus itself, so that they reach into every script"""
    mkgguf.make(path, dict(mkgguf.SHAPES['tiny'], V=3000, pre=pre), 'f32', 1, corpus(), True, 'vocabulary', WHOLE)


def vocab_hash():
    path = os.path.join(os.environ.get('TMPDIR', '/tmp'), 'vocab-%d.gguf' % os.getpid())
    make_vocab_file(path, 'gpt-2')
    h = hashlib.sha256(open(path, 'rb').read()).hexdigest()
    os.remove(path)
    return h
