"""builtin.py - what the built-in model is trained on, and the file that training writes, without training: the test sets are what
the scripts write; calls fit their tools and their questions; no tool with values, and no three tools, of the test set are trained; the template is read
by our interpreter as by Jinja2; a model file of the same keys gives our tokenizer the same ids that training learns."""
import json
import os
import random
import subprocess
import sys

import jsonschema
import numpy as np

import answers
import chats

HERE = os.path.dirname(os.path.abspath(__file__))
BUILTIN = os.path.abspath(HERE + '/../../engine/builtin')
sys.path.append(BUILTIN)
import bpe
import calls
import corpus
import gguf
import template

N_TRAINED = 1500  # conversations looked at


def same_file(check, name, lines):
    with open(BUILTIN + '/' + name, encoding='utf-8') as f: there = f.read()
    check('builtin %s is what its script writes' % name, there == ''.join(json.dumps(line) + '\n' for line in lines), 'write it anew')


def asked(messages):
    return ' '.join(m['content'] for m in messages if m['role'] == 'user').lower()


def wrong_calls(conversation):
    """calls that do not fit their tool's schema, or say what nobody asked"""
    tools = {t['function']['name']: t['function'] for t in conversation.get('tools', [])}
    for i, m in enumerate(conversation['messages']):
        for c in m.get('tool_calls', []):
            name, arguments = c['function']['name'], c['function']['arguments']
            if name not in tools:
                yield 'no tool ' + name
                continue
            schema = dict(tools[name]['parameters'], additionalProperties=False)
            if not jsonschema.Draft202012Validator(schema).is_valid(arguments): yield '%s %s' % (name, arguments)
            for v in arguments.values():
                if str(v).lower() not in asked(conversation['messages'][:i]): yield '%s: nobody asked for %s' % (name, v)


def called_with(conversation, made):
    """calls as (what the tool is, its values), without those that have no values"""
    says = {t['function']['name']: t['function']['description'].strip('.') for t in conversation['tools']}
    return {(says[c['name']], tuple(map(str, c['arguments'].values()))) for c in made if c['arguments']}


def three_of(conversation):
    return frozenset(t['function']['name'] + t['function']['description'].strip('.') for t in conversation.get('tools') or [])


def run_corpus(check):
    same_file(check, 'heldout.jsonl', [{'skill': s, 'messages': [{'role': 'user', 'content': q}], 'answer': a, 'must': must}
                                       for s, q, a, must in corpus.heldout()])
    tests = calls.heldout()
    same_file(check, 'heldout_calls.jsonl', tests)
    rng = random.Random(5)
    trained = [calls.chat(rng, words=rng.choice([0, 0, 40]))[0] for _ in range(N_TRAINED)]
    wrong = [w for c in trained for w in wrong_calls(c)]
    check('builtin: calls fit their tools and questions', not wrong, '; '.join(wrong[:5]))
    seen = set().union(*(called_with(c, [t['function'] for m in c['messages'] for t in m.get('tool_calls', [])]) for c in trained if 'tools' in c))
    held = set().union(*(called_with(t, t['calls']) for t in tests if 'calls' in t))
    check('builtin: no tool is tested with values that it is trained with', len(held) > 50 and len(seen) > 2000 and not held & seen, '%d held out, %d trained, both: %s' % (len(held), len(seen), sorted(held & seen)[:9]))
    threes = {three_of(t) for t in tests if t['tools']}
    both = threes & {three_of(c) for c in trained}
    check('builtin: no three tools of the test set are trained', {len(t) for t in threes} == {3} and not both, [sorted(t) for t in both][:3])
    long_ones = [sum(len(m['content'].split()) for m in calls.lengthen(t)) for t in tests if t['skill'] == 'long']
    check('builtin: long ones are as long as they say', len(long_ones) == 2 * len(calls.LENGTHS) and max(long_ones) >= max(calls.LENGTHS), long_ones)


def small_model(path):
    """the file that training writes, of one layer and without training: (vocabulary, what it has learnt)"""
    rng = random.Random(6)
    texts = [template.render(calls.chat(rng)[0]) for _ in range(60)]
    voc = bpe.Bpe(bpe.train(texts, 200))
    n, n_embd, n_ff = len(voc.tokens), 64, 64
    hp = dict(n_layer=1, n_embd=n_embd, n_head=1, n_kv=1, head_dim=64, n_ff=n_ff, n_ctx=4096, rope_base=2e6, eps=1e-5)
    shapes = {'token_embd': (n, n_embd), 'output': (n, n_embd), 'output_norm': (n_embd,), 'blk.0.attn_norm': (n_embd,), 'blk.0.ffn_norm': (n_embd,),
              'blk.0.attn_q': (64, n_embd), 'blk.0.attn_k': (64, n_embd), 'blk.0.attn_v': (64, n_embd), 'blk.0.attn_output': (n_embd, 64),
              'blk.0.ffn_gate': (n_ff, n_embd), 'blk.0.ffn_up': (n_ff, n_embd), 'blk.0.ffn_down': (n_embd, n_ff)}
    learnt = list(corpus.SKILLS + calls.KINDS)
    gguf.write(path, hp, voc, [(k + '.weight', np.ones(v, np.float32)) for k, v in shapes.items()], learnt)
    return voc, learnt


def run_file(tawny, work, check):
    path = work + '/small.gguf'
    voc, learnt = small_model(path)
    check('builtin: the file says what was learnt', gguf.learnt(path) == learnt, gguf.learnt(path))
    check('builtin: the committed file says nothing of calls or all of it', gguf.learnt(BUILTIN + '/builtin.gguf') in ([], list(corpus.SKILLS) + ['qa', 'unknown', 'limits'] + list(calls.KINDS)), '')
    rng, wrong = random.Random(7), []
    for _ in range(8):
        text = template.render(calls.chat(rng, words=20)[0])
        ids, learn, ends = voc.chat(text)
        r = subprocess.run([tawny, 'tokenize', '-m', path, '--no-bos', '-f', '-'], input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if [int(i) for i in r.stdout.split()] != ids: wrong.append(r.stderr.decode()[-200:] or text[:100])
        if voc.decode(ids) != text: wrong.append('it does not come back')
        taught = ''.join(voc.decode([i]) for i, l in zip(ids, learn) if l)
        if taught != ''.join(p.split('<|im_end|>')[0] + '<|im_end|>' for p in text.split('<|im_start|>assistant\n')[1:]): wrong.append('taught: ' + taught[:100])
    check('builtin: ids of training are ours', not wrong, '; '.join(wrong[:3]))


def run_template(programs, tawny, check):
    with open(gguf.TEMPLATE, encoding='utf-8') as f: source = f.read()
    render, took = chats.Render(programs[0]), answers.Program(programs[1])
    tally = {'same': 0, 'refused': {}, 'sandbox': 0}
    conversations = {name: chats.variables_of(c) for name, c in chats.CONVERSATIONS.items()}
    for i, t in enumerate(calls.heldout()[:60]): conversations['heldout%d' % i] = chats.variables_of(dict(messages=t['messages'], tools=t['tools']))
    wrong = [d for name, v in conversations.items() for d in [chats.compare(render, 'builtin ' + name, source, v, tally)] if d]
    check('builtin template: as Jinja2 renders it', not wrong and tally['same'] == len(conversations), '; '.join(wrong[:3]) or tally)
    wrong = ['%s: %s' % (name, d) for name, (content, made) in answers.CASES.items() for d in [answers.wrong_with(took, source, content, made)] if d is not None]
    check('builtin template: calls come back as they were', not wrong, '; '.join(wrong)[:600])
    trained = template.render(dict(chats.CONVERSATIONS['parallel']), True)
    check('builtin template: training renders the same', trained == chats.oracle(source, chats.variables_of(chats.CONVERSATIONS['parallel']))[0], trained[-300:])
    for program in (render, took): program.close()
    lost = []
    for which in chats.PLACES:
        text, why = chats.run_request(tawny, ('--template', gguf.TEMPLATE), chats.CONVERSATIONS[which])
        lost += ['%s: %s' % (which, why)] if text is None else [w for w in chats.wanted_of(chats.CONVERSATIONS[which]) if not any(s in text for s in (w, json.dumps(w)[1:-1], json.dumps(w, ensure_ascii=False)[1:-1]))]
    check('builtin template: nothing of a request is lost', not lost, lost)


def run(programs, tawny, work, check):
    run_corpus(check)
    run_file(tawny, work, check)
    run_template(programs, tawny, check)
