"""answers.py - published chat templates say how their models write calls: what Jinja2 makes of an assistant's message is fed to our
parser, and must come back as that message; and where calls have a grammar, it allows what the template wrote. A template that shows no call (or refuses it) is told, not counted."""
import json
import os
import subprocess

import chats

HERE = os.path.dirname(os.path.abspath(__file__))
NESTED = {'city': 'Z\u00fcrich "HB"', 'days': 2, 'opts': {'a': [1, True, None, 'it\'s'], 'b': {}}, 'exact': False}
LINES = {'path': '/tmp/a b.txt', 'text': 'if a < b:\n\tprint("x\\n", \'y\')\n\nend'}
TOOLS = [
    {'type': 'function', 'function': {'name': 'get_weather', 'strict': True, 'description': 'The weather.', 'parameters': {'type': 'object', 'properties': {
        'city': {'type': 'string'}, 'days': {'type': 'integer'}, 'opts': {'type': 'object'}, 'exact': {'type': 'boolean'}}, 'required': ['city']}}},
    {'type': 'function', 'function': {'name': 'write', 'description': 'Writes.', 'parameters': {'type': 'object', 'properties': {
        'path': {'type': 'string'}, 'text': {'type': 'string'}}, 'required': ['path', 'text']}}}]
CASES = {  # content, calls
    'one': ('', [('get_weather', {'city': 'Paris'})]),
    'nested': ('', [('get_weather', NESTED)]),
    'lines': ('', [('write', LINES)]),
    'said': ('I will look.', [('get_weather', {'city': 'Bern', 'days': 1})]),
    'two': ('', [('get_weather', {'city': 'Paris'}), ('write', LINES)]),
}
USER = chats.says('user', 'Please.')
END = 'XYZZY.'


def rendered(template, assistant, add=False):
    variables = chats.variables_of(dict(messages=[USER] + assistant, tools=TOOLS, add_generation_prompt=add))
    return chats.oracle(template, variables)[0]


def message_of(template, content, calls, as_text):
    """(what the model would have written, the prompt before it), or (None, why)"""
    made = [chats.call(n, json.dumps(a) if as_text else a, 'abc45678%d' % i) for i, (n, a) in enumerate(calls)]
    prompt, plain = rendered(template, [], True), rendered(template, [chats.says('assistant', END)])
    whole = rendered(template, [chats.says('assistant', content, tool_calls=made)])
    if None in (prompt, plain, whole): return None, 'refused'
    common = os.path.commonprefix([prompt, plain, whole])
    end = plain[plain.rindex(END) + len(END):] if END in plain else ''
    answer = whole[len(common):]
    if end and answer.endswith(end): answer = answer[:-len(end)]
    if not all(n in answer for n, _ in calls): return None, 'shows no call'
    return answer, common


def wrong_with(program, template, content, calls, name_of_case=''):
    """None, '' (the template does not show it) or what is wrong"""
    for as_text in (False, True):
        answer, prompt = message_of(template, content, calls, as_text)
        if answer is None: continue
        got = program({'template': template, 'tools': TOOLS, 'prompt': prompt, 'answer': answer})
        try: took = [(c['name'], json.loads(c['arguments'])) for c in got['calls']]
        except ValueError: took = got['calls']
        same = took == calls and (got['content'] or '').strip() == (content if content in answer else '')  # some show only the call
        if same and got['refused_at'] in (-1, None): return None
        if same and name_of_case == 'nested' and "'a'" in answer: return None  # a list as Python writes it, where the grammar wants JSON
        if as_text or True in (isinstance(a, str) for _, a in calls): break
    if answer is None: return ''
    return '%r gives %s' % (answer[:300], json.dumps(got)[:300])


class Program:
    def __init__(self, path):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, line):
        self.process.stdin.write(json.dumps(line).encode() + b'\n')
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        return json.loads(line) if line else {'form': 'the program ended', 'content': None, 'calls': []}

    def close(self):
        self.process.stdin.close()
        return self.process.wait()


def run(path, check, skip):
    folder, why = chats.install('templates')
    vocabularies, _ = chats.install('published')
    if not folder:
        skip('answers published', why)
        return
    program, n_messages, silent = Program(path), 0, []
    for name, template in chats.published(folder, vocabularies).items():
        found = {case: wrong_with(program, template, content, calls, case) for case, (content, calls) in CASES.items()}
        if found['one'] == '':
            silent.append(name)
            continue
        n_messages += sum(wrong is None for wrong in found.values())
        wrong = ['%s: %s' % (case, w) for case, w in found.items() if w]
        check('answers published ' + name, not wrong, '; '.join(wrong)[:900])
    check('answers: templates that show calls are found', n_messages >= 60, n_messages)
    check('answers: the program ends cleanly', program.close() == 0, '')
    print('answers: %d messages came back as they were; %d templates show no call' % (n_messages, len(silent)))
