#!/usr/bin/env python3
"""scripted.py OUT.gguf [shell | TOOL ARGUMENTS [CONTEXT]] - a model that always writes the same, for tests of tool calls and thinking.

A llama of one layer, written by hand. A token's embedding is a vector of its own and the output matrix is a table of
successors, so each token has one that follows it. Attention looks at all tokens alike and finds one byte, that of an
umbrella (U+2602), which only the answer of a tool has: then the prompt's last line break is followed by another script.

    FIRST   behind a prompt: a thought, a sentence, two calls (Hermes' form, as the template says)
    THEN    behind a prompt that holds an umbrella: what the weather is
    GAP     behind the mark of a gap: what fills it
    FORCED  behind a space: the arguments of a call whose beginning was forced on the model

With `shell` its first answer calls exec_command, as Codex names the tool that runs a command: one that prints umbrellas, so
many that they count among the 10,000 bytes that such a client says first.

With a tool's name and its arguments (a JSON object) FIRST is the same thought and sentence, and one call of that tool; THEN
wants one umbrella among 100 tokens, and both are as good as certain at any temperature. CONTEXT: what it holds, in tokens; 8192
unless it is given.
"""
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "golden"))
from mkgguf import BOOL, FL32, I32, STR, U32, byte_chars, kv, write_gguf  # noqa: E402

FIRST = ["<think>", "It is", " about", " weather.", "</think>", "\n\n", "I look", ".\n", "<tool", "_call>\n", '{"name": "get_', 'weather", ',
         '"arguments": {"ci', 'ty": "Par', 'is", "days": 2', "}}\n</tool", "_call>\n\n", "<tool_", 'call>{"name": "now", "argu', 'ments": {}}',
         "</tool_", "call> ", "<|im_end|>"]
SHELL = ["I look", ".\n", "<tool", "_call>\n", '{"name": "exec_command", "argu', 'ments": {"cmd": "echo ', "\u2602" * 60, '"}}\n</tool', "_call>",
         "<|im_end|>"]
THEN = ["There are", " 12 degrees", " in Paris.", "<|im_end|>"]
FORCED = ['{"city": "Ro', 'me"}', "}\n</tool_call>", "<|im_end|>"]
GAP = ["return", " 12", "<|im_end|>"]
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]
MARKS = ["<think>", "</think>", "<tool_call>", "</tool_call>"]  # found by their texts, as in Qwen's files
TEMPLATE = """{%- if tools %}{{- '<|im_start|>system\\n# Tools\\n' }}{%- for tool in tools %}{{- tool | tojson }}{%- endfor %}
{{- 'Call one in <tool_call></tool_call>.<|im_end|>\\n' }}{%- endif %}
{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' }}
{%- if message.reasoning_content %}{{- '<think>' + message.reasoning_content + '</think>\\n\\n' }}{%- endif %}{{- message.content }}
{%- for call in message.tool_calls or [] %}{{- '<tool_call>' + (call.function | tojson) + '</tool_call>' }}{%- endfor %}
{{- '<|im_end|>\\n' }}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""
WIDE, SEEN, HIT = 512, 511, 10.0  # rows; the row that says whether there was an umbrella; a successor's weight


def calling(tool, arguments):
    """FIRST, with one call of this tool."""
    return FIRST[:8] + ["<tool", "_call>\n", '{"name": "%s", "argu' % tool, 'ments": %s}\n</tool' % arguments, "_call>", "<|im_end|>"]


def make(path, script=FIRST, n_ctx=8192):
    chars = byte_chars()
    spelled = lambda text: "".join(chars[b] for b in text.encode())
    tokens = [chars[b] for b in sorted(chars)] + CONTROL + MARKS
    types = [1] * 256 + [3] * len(CONTROL) + [4] * len(MARKS)
    index = {"\n": 10, " ": 32}
    index.update({text: 256 + i for i, text in enumerate(CONTROL + MARKS)})

    def add(script):
        """Its ids: those of marks, and for each other text a token that no text is spelled with. One that comes again leads round."""
        ids, known = [], dict(index)
        for text in script:
            ids.append(known.setdefault(text, len(tokens)))
            if ids[-1] == len(tokens):
                tokens.append(spelled(text))
                types.append(1)
        return ids

    first, then, forced = add(script), add(THEN), add(FORCED)
    least = 0.99 if script in (FIRST, SHELL) else 0.8
    gap = add(GAP)
    n = len(tokens)
    assert n < SEEN
    follow = np.zeros((n, WIDE), "f4")
    for script, begin in ((first, 10), (forced, 32), (gap, index["<|fim_middle|>"])):
        for at, to in zip([begin] + script, script):
            follow[to, at] = HIT
    for at, to in zip(then, then[1:]):
        follow[to, at] = HIT
    follow[then[0], 10] = HIT * least  # overtakes FIRST when an umbrella was seen among at most 2000 tokens (100),
    follow[then[0], SEEN] = 200.0  # and no other successor when it was one of 20 or more
    umbrella = "\u2602".encode()[1]

    def fill(name, shape):
        w = np.zeros(shape, "f4")
        if name.endswith("norm.weight"):
            w[:] = 1
        elif name == "token_embd.weight":
            w[np.arange(n), np.arange(n)] = 1
        elif name == "output.weight":
            w[:] = follow
        elif name.endswith("attn_v.weight"):
            w[0, umbrella] = 1 / np.sqrt(WIDE)  # of a normed row: 1 / how many tokens there are
        elif name.endswith("attn_output.weight"):
            w[SEEN, 0] = 1
        return w

    names = [("token_embd.weight", (n, WIDE)), ("output_norm.weight", (WIDE,)), ("output.weight", (n, WIDE)),
             ("blk.0.attn_norm.weight", (WIDE,)), ("blk.0.ffn_norm.weight", (WIDE,))]
    names += [("blk.0.attn_%s.weight" % a, (WIDE, WIDE)) for a in ("q", "k", "v", "output")]
    names += [("blk.0.ffn_%s.weight" % f, shape) for f, shape in (("gate", (64, WIDE)), ("up", (64, WIDE)), ("down", (WIDE, 64)))]
    keys = [kv("general.architecture", STR, "llama"), kv("general.name", STR, "scripted"), kv("llama.block_count", U32, 1),
            kv("llama.context_length", U32, n_ctx), kv("llama.embedding_length", U32, WIDE), kv("llama.feed_forward_length", U32, 64),
            kv("llama.attention.head_count", U32, 8), kv("llama.attention.head_count_kv", U32, 8),
            kv("llama.attention.layer_norm_rms_epsilon", FL32, 1e-5), kv("llama.rope.dimension_count", U32, 64),
            kv("llama.vocab_size", U32, n), kv("tokenizer.ggml.model", STR, "gpt2"), kv("tokenizer.ggml.pre", STR, "gpt-2"),
            kv("tokenizer.ggml.tokens", STR, tokens), kv("tokenizer.ggml.token_type", I32, types),
            kv("tokenizer.ggml.merges", STR, [tokens[0] + " " + tokens[1]]), kv("tokenizer.ggml.eos_token_id", U32, index["<|im_end|>"]),
            kv("tokenizer.ggml.bos_token_id", U32, index["<|endoftext|>"]), kv("tokenizer.ggml.add_bos_token", BOOL, False),
            kv("tokenizer.chat_template", STR, TEMPLATE)]
    write_gguf(path, keys, [(name, shape, "f32") for name, shape in names], fill)


if __name__ == "__main__":
    if sys.argv[2:] == ["shell"]:
        make(sys.argv[1], SHELL, 32768)
    else:
        make(sys.argv[1], calling(*sys.argv[2:4]) if sys.argv[2:] else FIRST, *map(int, sys.argv[4:]))
