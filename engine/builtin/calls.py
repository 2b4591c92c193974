"""calls.py - conversations with tools, and with long system texts, for the built-in model.

A conversation is {'messages': [...], 'tools': [...]} in OpenAI's shape (arguments are objects).
chat() draws one: one to five tools of world.py, then turns of these kinds, each of which a program
can check:
  call      one call, with the name of the fitting tool and arguments copied from the question
  calls     two or three calls in one answer: a tool for several values, or two tools
  result    a call, what the tool answered, and a sentence with its values:
            {"sky": "clear", "wind": 7} -> "The sky is clear and the wind is 7."
  decline   no tool fits -> NO_TOOL
  find      no tool: a line of a long system text is asked for
and, between them, the skills of corpus.py, which it must not forget while tools are there.

Training, validation and test are disjoint by combination (crc32 % 8: 0 test, 1 validation): a tool
of world.py together with the values asked for, a set of three tools, a person together with the
secret that is asked for. The tools, their names, the single values and the ways to ask are the same
in all three: what is tested is whether it finds the right tool among three that never stood together,
for values that were never asked of that tool. An eighth of the tools trained (none of those tested)
is put together from a verb and a noun, so that it also learns to choose by the words alone.

distraction() writes system text of any length that says nothing of what is asked.
"""
import itertools
import json
import random
import re
import zlib

import corpus
import world
from corpus import TEST, TRAIN, VALID

SALT = 14                # with it no tool's values are all trained
KINDS = ('call', 'calls', 'result', 'decline', 'find')
NO_TOOL = 'None of my tools can do that.'
PROSE = sorted({w for f in corpus.facts.FACTS for q in f[2]
                for w in re.findall(r'(?<![$A-Z])[a-z]{2,}', q)})
# ordinary skills that stay what they are while tools are there: none that a tool may do as well
BESIDE = ('copy', 'reverse', 'count', 'capital', 'upper', 'json', 'qa')


# ---- splits and values -------------------------------------------------------------------------
def split_of(*parts):
    key = '|'.join(map(str, (SALT,) + parts))
    return {0: TEST, 1: VALID}.get(zlib.crc32(key.encode()) % 8, TRAIN)


def draw(rng, split, make, *parts):
    """a value that, with `parts`, belongs to the split"""
    while True:
        v = make()
        if split_of(*parts, v) == split:
            return v


def value(rng, kind):
    return world.VALUES[kind](rng) if kind in world.VALUES else rng.choice(kind.split('|'))


# ---- tools -------------------------------------------------------------------------------------
VERBS = 'paint wash move sell rent fix hide check count load park store weigh wrap'.split()


def made_up_domain(rng):
    verb, noun = rng.choice(VERBS), rng.choice(world.THINGS)
    kinds = rng.sample(['place', 'person', 'room', 'number', 'date', 'time', 'code'],
                       rng.choice([1, 1, 2]))
    keys = [rng.choice([k, more]) for k, more in zip(kinds, rng.sample(['value', 'input', 'with'], 2))]
    asks = ['%s the %s {0}' % (verb, noun), '%s a %s: {0}' % (verb, noun),
            'I want to %s the %s {0}' % (verb, noun)]
    if len(kinds) == 2:
        asks = [a + rng.choice([' with {1}', ', {1}']) for a in asks]
    return ('%s %s' % (verb, noun), rng.choice(['%s_%s', '%s_a_%s', '%s_the_%s']) % (verb, noun),
            rng.choice(['%ss a %s', 'Can %s any %s', '%s the %s']) % (verb.capitalize(), noun),
            [(k, kind) for k, kind in zip(keys, kinds)], asks, [(noun, 'state')])


class Tool:
    """one reading of a domain: .schema is what the model sees, .ask() a question for it"""

    def __init__(self, rng, domain, split, renamed=False):
        """renamed: its name, and often those of its arguments, say nothing"""
        self.domain, self.split, said, self.asks = domain, split, domain[3], domain[4]
        if not all('{%d}' % (len(said) - 1) in a for a in self.asks) and said and rng.random() < 0.5:
            said = said[:-1]                # without what is optional
            self.asks = [a for a in self.asks if '{%d}' % len(said) not in a]
        self.name = rng.choice(corpus.WORDS if renamed else domain[1].split('|'))
        self.keys = []
        while len(set(self.keys)) != len(said) or not self.keys and said:
            i = rng.randrange(12)             # names that go together stand at the same place
            self.keys = [names.split('|')[i % len(names.split('|'))] for names, _ in said]
            if renamed and i < 5:
                self.keys = [rng.choice(corpus.WORDS) for _ in said]
        properties, text = {}, rng.choice(domain[2].split('|'))
        for key, (_, kind) in zip(self.keys, said):
            number = kind in world.NUMBERS
            p = {'type': rng.choice(['integer', 'integer', 'number']) if number else 'string'}
            if '|' in kind:
                p['enum'] = kind.split('|')
            properties[key] = p
        required = [k for i, k in enumerate(self.keys)
                    if all('{%d}' % i in a for a in self.asks)]
        parameters = {'type': 'object', 'properties': properties, 'required': required}
        if rng.random() < 0.15:
            text += '.'
        self.schema = {'name': self.name, 'description': text, 'parameters': parameters}

    def ask(self, rng, n=1):
        """-> (question, [call]): n calls (fewer where the split has fewer values) for
        n values of the only argument that is asked for"""
        for tries in itertools.count(1):
            n -= n > 1 and tries % 200 == 0           # the split has no so many values
            ask = corpus.expand(rng, rng.choice(self.asks))
            used = [i for i in range(len(self.keys)) if '{%d}' % i in ask]
            drawn = [[value(rng, self.domain[3][i][1]) for i in used] for _ in range(n)]
            if n > 1 and (len(used) != 1 or len(set(map(str, drawn))) < n):
                continue
            if len(used) > 1 and len(set(map(str, drawn[0]))) < len(used):
                continue
            if not used or all(split_of(self.domain[0], *d) == self.split for d in drawn):
                break
        made = [call(self.name, {self.keys[i]: v for i, v in zip(used, d)}) for d in drawn]
        for k, i in enumerate(used):
            vs = [str(d[k]) for d in drawn]
            ask = ask.replace('{%d}' % i, ' and '.join([', '.join(vs[:-1])] * (n > 1) + vs[-1:]))
        return ask, made

    def answer(self, rng):
        """what the tool says, and the sentence that the model makes of it"""
        if rng.random() < 0.1:
            text = 'no such ' + rng.choice(world.THINGS)
            return dumped(rng, {'error': text}), 'The tool says: %s.' % text
        got = {k: value(rng, kind) for k, kind in self.domain[5]}
        if len(got) == 1 and rng.random() < 0.25:
            text = str(list(got.values())[0])
            return text, 'The tool says: %s.' % text
        said = ' and '.join('the %s is %s' % (k, v) for k, v in got.items())
        return dumped(rng, got), said[0].upper() + said[1:] + '.'


def dumped(rng, value):
    """as Python writes it, or as JavaScript does"""
    return json.dumps(value, separators=None if rng.random() < 0.6 else (',', ':'))


def call(name, arguments):
    return {'type': 'function', 'function': {'name': name, 'arguments': arguments}}


def tools_for(rng, split, n, renamed=False):
    """n tools that nobody takes for each other; three are a set of the split"""
    while True:
        domains = [made_up_domain(rng) if split == TRAIN and rng.random() < 0.125 else d
                   for d in rng.sample(world.DOMAINS, n)]
        ids = sorted(d[0] for d in domains)
        if any(world.clash(a, b) for i, a in enumerate(ids) for b in ids[:i]):
            continue
        if n == 3 and split_of(*ids) != split:
            continue
        tools = [Tool(rng, d, split, renamed) for d in domains]
        if len({t.name for t in tools}) == n:
            return tools


# ---- turns: -> (messages, must) ----------------------------------------------------------------
def said(rng, question, open_end=False):
    """the user's message; open_end: it ends in free text, where nothing may be added"""
    if not open_end:
        question = corpus.dress(rng, question)
    elif rng.random() < 0.55:
        question = question[0].upper() + question[1:]
    return {'role': 'user', 'content': question}


def takes_words(tool):
    return any(kind in world.FREE for _, kind in tool.domain[3])


def takes_one(tool):
    """it can be asked for several values of its only argument"""
    return any('{0}' in a and '{1}' not in a for a in tool.domain[4])


def assistant(calls):
    return {'role': 'assistant', 'content': '', 'tool_calls': calls}


def turn_call(rng, tools, split):
    tool = rng.choice(tools)
    q, calls = tool.ask(rng)
    return [said(rng, q, takes_words(tool)), assistant(calls)]


def turn_calls(rng, tools, split):
    clear = [t for t in tools if not takes_words(t)]     # where its values end can be seen
    one = [t for t in clear if takes_one(t)]
    if one and (rng.random() < 0.6 or len(tools) == 1):
        b = rng.choice(one)
        q, calls = b.ask(rng, rng.choice([2, 2, 3]))
    elif clear and len(tools) > 1:
        a = rng.choice(clear)
        b = rng.choice([t for t in tools if t is not a])
        (qa, ca), (qb, cb) = a.ask(rng), b.ask(rng)
        q = rng.choice(['%s and %s', '%s, then %s', '%s? And %s', '%s. Also: %s']) % (qa, qb)
        calls = ca + cb
    else:
        return turn_call(rng, tools, split)
    return [said(rng, q, takes_words(b)), assistant(calls)]


def turn_result(rng, tools, split):
    turn = (turn_calls if rng.random() < 0.25 else turn_call)(rng, tools, split)
    by_name, sentences = {t.name: t for t in tools}, []
    for i, c in enumerate(turn[1]['tool_calls']):
        text, sentence = by_name[c['function']['name']].answer(rng)
        c['id'] = 'call_%d' % i
        turn.append({'role': 'tool', 'tool_call_id': c['id'], 'content': text})
        sentences.append(sentence)
    return turn + [{'role': 'assistant', 'content': ' '.join(sentences)}]


def turn_decline(rng, tools, split):
    present = [t.domain[0] for t in tools]
    absent = [d for d in world.DOMAINS if not any(world.clash(d[0], p) for p in present)]
    if rng.random() < 0.15 and 'search' not in present:
        q = corpus.trained_question(rng, corpus.facts.OUT[:6])
        q = q.replace('$TOPIC', rng.choice(corpus.facts.TOPICS))
    else:
        q = Tool(rng, rng.choice(absent), split).ask(rng)[0]
    return [said(rng, q, True), {'role': 'assistant', 'content': NO_TOOL}]


def turn_beside(rng, tools, split):
    _, q, a, _ = corpus.example(rng, rng.choice(BESIDE), split)
    return [{'role': 'user', 'content': q}, {'role': 'assistant', 'content': a}]


TURNS = {'call': turn_call, 'calls': turn_calls, 'result': turn_result, 'decline': turn_decline,
         'beside': turn_beside}
RENAMED = {'call': 4.0, 'calls': 3.5, 'decline': 3.5}     # weights, where tools are renamed
WEIGHTS = {'call': 3.0, 'calls': 3.0, 'result': 2.5, 'decline': 2.5, 'beside': 1.0}


# ---- long texts --------------------------------------------------------------------------------
def prose(rng):
    """a line as the instructions of agents have them, made of the words of facts.py's questions"""
    def some(lo, hi):
        return ' '.join(rng.choice(PROSE) for _ in range(rng.randint(lo, hi)))
    return rng.choice([
        lambda: '#' * rng.randint(1, 3) + ' ' + some(1, 4).capitalize(),
        lambda: '- %s: %s.' % (some(1, 2), some(3, 12)),
        lambda: '%d. %s, %s.' % (rng.randint(1, 20), some(2, 8).capitalize(), some(2, 8)),
        lambda: 'You %s %s. %s.' % (rng.choice(['must', 'never', 'always', 'should', 'can']),
                                    some(3, 12), some(4, 14).capitalize()),
        lambda: 'IMPORTANT: %s "%s" %s' % (some(2, 8), some(1, 3), some(1, 6)),
        lambda: '%s=%s' % (some(1, 1).upper(), some(1, 1)),
        lambda: '`%s_%s` %s (%s).' % (some(1, 1), some(1, 1), some(3, 8), some(1, 3)),
        lambda: '{"%s": "%s", "%s": %d}' % (some(1, 1), some(1, 2), some(1, 1), rng.randint(0, 999)),
        lambda: '%s. %s? %s.' % (some(5, 16).capitalize(), some(3, 8).capitalize(), some(5, 16)),
    ])()


def distraction(rng, n_words):
    """lines of n_words words or a few more: people, places, things, numbers, and between them what
    the instructions of agents look like"""
    lines, n, share = [], 0, rng.choice([0.0, 0.3, 0.3, 0.9])
    who, where, what = (lambda: rng.choice(corpus.NAMES), lambda: rng.choice(world.PLACES),
                        lambda: rng.choice(corpus.WORDS))
    while n < n_words:
        line = prose(rng) if rng.random() < share else ' '.join(rng.choice([
            '%s keeps a %s and %d %s in %s.' % (who(), what(), rng.randint(2, 99), what(), where()),
            'The %s of %s stands beside the %s.' % (what(), who(), what()),
            'In %s the %s was %s, says %s.' % (where(), what(), rng.choice(world.STATES), who()),
            'Nobody in %s has seen %s since %s.' % (where(), who(), value(rng, 'date')),
            '%s and %s met at %s near the %s.' % (who(), who(), value(rng, 'time'), what()),
            'Rule %d: the %s is never %s.' % (rng.randint(2, 99), what(), rng.choice(world.STATES)),
        ]) for _ in range(rng.randint(1, 4)))
        lines.append(line)
        n += len(line.split())
    return '\n'.join(lines)


SECRET_KINDS = ('number', 'code', 'item', 'place')
SECRETS = ('code', 'key', 'number', 'password', 'locker')


def needles(rng, split):
    """-> (lines, question, answer): the same secret of several people; one of them is asked for"""
    what = rng.choice(SECRETS)
    people = list(dict.fromkeys(draw(rng, split, lambda: value(rng, 'person'), what)
                                for _ in range(rng.randint(1, 4))))
    kind = rng.choice(SECRET_KINDS)
    facts = ['The %s of %s is %s.' % (what, p, value(rng, kind)) for p in people]
    i = rng.randrange(len(people))
    q = rng.choice(['what is the %s of %s', 'tell me the %s of %s', 'which %s has %s']) % (
        what, people[i])
    return facts, corpus.dress(rng, q), facts[i]


def system_text(rng, n_words, facts=()):
    """distraction with the facts somewhere in it, each on a line of its own"""
    lines = distraction(rng, n_words).split('\n') if n_words else []
    for f in facts:
        lines.insert(rng.randint(0, len(lines)), f)
    return '\n'.join(lines)


def chat(rng, split=TRAIN, kind=None, words=0, renamed=False):
    """-> (conversation, kind of its last turn). words: so much distraction stands in the system
    text. kind: one turn of that kind, with three tools; else one to eight turns. renamed: nothing but
    its description says what a tool does"""
    facts = []
    if kind == 'find' or (not kind and words and rng.random() < 0.4):
        facts, q, a = needles(rng, split)
    texts = [rng.choice(corpus.SYSTEM)] if rng.random() < 0.3 else []
    if words or facts:
        texts.append(system_text(rng, words, facts))
    messages = [{'role': 'system', 'content': '\n'.join(texts)}] if texts else []
    out = {'messages': messages, 'facts': facts}
    found = [{'role': 'user', 'content': q}, {'role': 'assistant', 'content': a}] if facts else []
    if kind == 'find' or (facts and rng.random() < 0.5):
        messages += found
        return out, 'find'
    tools = tools_for(rng, split, 3 if kind or rng.random() < 0.6 else rng.choice([1, 2, 4, 5]),
                      renamed)
    out['tools'] = [{'type': 'function', 'function': t.schema} for t in tools]
    weights = RENAMED if renamed else WEIGHTS
    for _ in range(1 if kind else rng.randint(4, 8) if renamed else rng.randint(1, 8)):
        last = kind or rng.choices(list(weights), list(weights.values()))[0]
        messages += TURNS[last](rng, tools, split)
    if found and not kind:
        messages += found
    return out, last


# ---- practice ----------------------------------------------------------------------------------
def finds(rng):
    """many questions about the same facts"""
    what = rng.choice(SECRETS)
    people = list(dict.fromkeys(draw(rng, TRAIN, lambda: value(rng, 'person'), what)
                                for _ in range(rng.randint(2, 6))))
    facts = {p: 'The %s of %s is %s.' % (what, p, value(rng, rng.choice(SECRET_KINDS)))
             for p in people}
    text = system_text(rng, rng.choice([0, 20, 60, 150]), list(facts.values()))
    messages = [{'role': 'system', 'content': text}]
    for _ in range(rng.randint(2, 6)):
        p = rng.choice(list(facts))
        q = rng.choice(['what is the %s of %s', 'tell me the %s of %s', 'which %s has %s']) % (what, p)
        messages += [{'role': 'user', 'content': corpus.dress(rng, q)},
                     {'role': 'assistant', 'content': facts[p]}]
    return {'messages': messages, 'facts': list(facts.values())}


# ---- the committed test set --------------------------------------------------------------------
LENGTHS = (300, 900, 2500, 6700, 6700)     # words; 6700 are about 41 KB, 11000 tokens


def heldout(seed=2027, n=25):
    """lines of heldout_calls.jsonl: n of each kind, then `long` ones: a call and a find behind as
    much distraction as LENGTHS says, which score.py writes itself from `distraction`"""
    rng, out = random.Random(seed), []

    def line(skill, conversation, more):
        *messages, answer = conversation['messages']
        if skill == 'result':                # up to the tool's answer, which is given
            want = {'must': corpus.exact(answer['content'])}
        elif answer.get('tool_calls'):
            want = {'calls': [c['function'] for c in answer['tool_calls']]}
        else:
            want = {'must': corpus.exact(answer['content'])}
        return dict(skill=skill, messages=messages, tools=conversation.get('tools', []),
                    answer=answer['content'], **want, **more)
    for i in range(n):
        for kind in KINDS:
            out.append(line(kind, chat(rng, TEST, kind, 150 if kind == 'find' else 0)[0], {}))
    for i, n_words in enumerate(LENGTHS):
        for kind in ('call', 'find'):
            c = chat(rng, TEST, kind)[0]
            if c['messages'][0]['role'] != 'system':
                c['messages'].insert(0, {'role': 'system', 'content': 'You are Tawny.'})
            out.append(line('long', c, {'distraction': [seed + i, n_words]}))
    return out


def lengthen(test):
    """the messages of a line of the test set, with the distraction around its system text"""
    if 'distraction' not in test:
        return test['messages']
    seed, n_words = test['distraction']
    rng, (system, *rest) = random.Random(seed), test['messages']
    text = '\n'.join([distraction(rng, n_words // 2), system['content'],
                      distraction(rng, n_words - n_words // 2)])
    return [dict(system, content=text)] + rest


if __name__ == '__main__':
    import sys
    if sys.argv[1:] == ['heldout']:
        for t in heldout():
            print(json.dumps(t))
    else:
        r = random.Random(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
        for i in range(20):
            print(json.dumps(chat(r, words=60 if i % 4 == 0 else 0)[0], indent=1))
