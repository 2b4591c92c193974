"""corpus.py - makes the text that the built-in model is trained and tested on.

Everything is drawn from a random.Random that the caller seeds: the same seed gives the same text.
An example is (skill, question, answer, must); `must` is the regular expression that a right answer
contains.
chat() wraps one or several examples into ChatML messages, with or without a system prompt.

Training and test are disjoint by construction:
  skills     every payload (the numbers, the words, the name and age ...) has a bucket, crc32 % 32:
             bucket 0 is the test set, 1 is validation, the rest is training
  capitals   all the countries are trained; the ways to ask are split instead (CAPITAL_HELDOUT)
  questions  the held-out ways to ask (facts.py) never appear in training, whatever their case or
             punctuation

The forms of the skills, chosen so that a 5 M model can learn them with byte-level BPE:
  copy      words, given after a colon or in quotes            -> the words
  reverse   3 to 6 letters separated by spaces, or 2 to 5 words -> the same in reverse order
  add       two numbers from 0 to 99                           -> "37 + 48 = 85"
  count     count from A to B inside one ten (33 to 38); or a list of 2 to 8 things  -> "1 cup, 2 pen, 3 hat. That makes 3."
  capital   the capital city of one of CAPITALS                -> "The capital of France is Paris."
  upper     1 to 3 known words in capital letters              -> "RED LAMP"
  json      an object from a sentence with a name and a number or city
"""
import random
import re
import zlib

import facts

WORDS = '''
apple bird blue book boat box bread bridge brown bus cake car cat chair cheese clock cloud coat
coin cold cow cup desk dog door duck earth east egg farm field fire fish flag flower forest fox
frog garden glass gold grass gray green hand hat hill honey horse house ice iron island jar key
king knife lake lamp leaf lemon light lion map melon milk moon mouse music nest night north ocean
onion orange owl paper park pear pen piano pig pink plant plate plum purple queen rain red rice
ring river road rock rope rose salt sand school sea ship shoe silver sky snow soap south spoon
star stone sugar summer sun table tea tiger tower train tree valley wall water west white wind
window winter wolf wood yellow zebra'''.split()
NAMES = '''
Adam Alice Anna Ben Carla Clara Daniel David Diana Elena Emil Emma Eric Eva Felix Frank George
Greta Hanna Hugo Ida Ivan Jack Jane Jonas Julia Karl Kate Laura Leo Lena Lucas Lucy Marco Maria
Mark Max Mia Nina Noah Nora Olga Oliver Omar Oscar Paul Peter Robert Rosa Ruth Sam Sara Simon
Sofia Susan Thomas Tom Vera Victor Zoe'''.split()
CITIES = '''
Berlin Paris London Madrid Rome Vienna Oslo Boston Chicago Sydney Tokyo Delhi Cairo Lima Munich
Milan Dublin Porto Geneva Kyoto'''.split()
CAPITALS = dict(p.split('=') for p in '''
France=Paris;Germany=Berlin;Italy=Rome;Spain=Madrid;Portugal=Lisbon;Austria=Vienna;Poland=Warsaw
Greece=Athens;Norway=Oslo;Sweden=Stockholm;Finland=Helsinki;Denmark=Copenhagen;Ireland=Dublin
Belgium=Brussels;Hungary=Budapest;Romania=Bucharest;Bulgaria=Sofia;Croatia=Zagreb;Serbia=Belgrade
Ukraine=Kyiv;Russia=Moscow;Turkey=Ankara;Egypt=Cairo;Morocco=Rabat;Kenya=Nairobi;Nigeria=Abuja
Ghana=Accra;Ethiopia=Addis Ababa;Japan=Tokyo;China=Beijing;India=New Delhi;South Korea=Seoul
Thailand=Bangkok;Vietnam=Hanoi;Indonesia=Jakarta;Iran=Tehran;Iraq=Baghdad;Australia=Canberra
New Zealand=Wellington;Canada=Ottawa;Mexico=Mexico City;Brazil=Brasilia;Argentina=Buenos Aires
Chile=Santiago;Peru=Lima;Colombia=Bogota;Cuba=Havana;the United States=Washington
the United Kingdom=London;Iceland=Reykjavik'''
    .strip().replace('\n', ';').split(';'))
CAPITAL_ASK = ['what is the capital of $C', '[what\'s|tell me|name|give me] the capital of $C',
               'which city is the capital of $C', 'what is $C\'s capital[| city]',
               'the capital [city |]of $C', 'capital of $C', 'what is the capital city of $C',
               '$C has which capital', 'do you know the capital of $C',
               'can you name the capital of $C', 'which is the capital of $C',
               'where is the government of $C', 'I need the capital of $C', 'say the capital of $C']
CAPITAL_HELDOUT = ['please tell me what the capital of $C is', 'what city is $C\'s capital',
                   'could you say which city is the capital of $C']
SYSTEM = ['You are a helpful assistant.', 'You are Tawny.', 'You are Tawny, a helpful assistant.',
          'Be brief.', 'Answer shortly.', 'You are a friendly assistant. Answer the question.',
          'You are a helpful, honest assistant. Keep your answers short.']
ALPHABET = 'abcdefghijklmnopqrstuvwxyz'
SKILLS = ('copy', 'reverse', 'add', 'count', 'capital', 'upper', 'json')
BUCKETS = 32
TRAIN, TEST, VALID = 'train', 'test', 'valid'


def expand(rng, pattern):
    """one random reading of a pattern: [a|b] is a choice, $NAME a choice of a macro's readings"""
    pattern = re.sub(r'\$(HOW|WHERE|WHAT|WHICH|BOX|CHANGE|CLIENT)',
                     lambda m: rng.choice(facts.MACROS[m.group(1)].split('|')), pattern)
    while '[' in pattern:
        new = re.sub(r'\[([^\[\]]*\|[^\[\]]*)\]', lambda m: rng.choice(m.group(1).split('|')),
                     pattern)
        if new == pattern:
            raise ValueError('pattern with an odd bracket: ' + pattern)
        pattern = new
    return pattern


def norm(text):
    """how two questions are compared: lower case, only letters and digits"""
    return ' '.join(re.findall(r'[a-z0-9]+', text.lower()))


HELDOUT_QUESTIONS = {norm(q) for q in [q for f in facts.FACTS for q in f[3]] + facts.OUT_HELDOUT}


def split_of(payload):
    b = zlib.crc32(payload.encode()) % BUCKETS
    return TEST if b == 0 else VALID if b == 1 else TRAIN


def draw(rng, split, make):
    """a payload of the wanted split; make() returns (payload string, ...)"""
    while True:
        p = make()
        if split_of(p[0]) == split:
            return p


def dress(rng, q):
    """the small variations of how people type"""
    r = rng.random()
    if r < 0.55:
        q = q[0].upper() + q[1:]
    if rng.random() < 0.12:
        q = rng.choice(['Hi, ', 'Hello, ', 'Please: ', 'Hey, ', 'Question: ', 'Please tell me: ',
                        'Sorry, ', 'So, ', 'And ', 'Ok, ', 'One question: ']) + q
    q += rng.choice(['?', '?', '?', '?', '', '', '.', ' please?',
                     '!'] if rng.random() < 0.9 else ['??', ' ?', ', please', ' please', ' thanks'])
    return q


def made_up(rng):
    n = rng.randint(1, 3)
    syllables = [rng.choice('bdfgklmnprstvz') + rng.choice('aeiou') for _ in range(n)]
    return ''.join(syllables) + rng.choice(['', 'n', 'k', 's', 't', 'r'])


def words(rng, lo, hi, made=0.0):
    n = rng.randint(lo, hi)
    ws = rng.sample(WORDS, n)
    return [made_up(rng) if rng.random() < made else w for w in ws]


# ---- the skills: (question, answer, must) ------------------------------------------------------
def exact(answer):
    return '^' + re.escape(answer) + r'\.?$'


def sk_copy(rng, split, wide=0):
    def make():
        ws = words(rng, 1, 6, 0.12 if wide else 0.05)
        return 'copy ' + ' '.join(ws), ws
    ws = draw(rng, split, make)[1]
    s = rng.choice([' ', ' ', ' ', ', ']).join(ws)
    if rng.random() < 0.1:
        s += ' ' + str(rng.randint(0, 99))
    q = rng.choice(['Repeat: %s', 'Repeat after me: %s', 'Copy: %s', 'Say: %s',
                    'Copy these words: %s', 'Please repeat: %s', 'Repeat "%s"', 'Say "%s"',
                    'Copy "%s"', 'Write "%s"', 'Echo: %s',
                    'Repeat the words: %s', 'Please say "%s"', 'repeat: %s', 'copy: %s',
                    'Repeat exactly: %s', 'Repeat these words: %s', 'Write exactly: %s']) % s
    return q, s, exact(s)


def sk_reverse(rng, split, wide=0):
    letters = rng.random() < 0.5

    def make():
        xs = rng.sample(ALPHABET, rng.randint(3, 6)) if letters else words(rng, 2, 5)
        return 'reverse ' + ' '.join(xs), xs
    xs = draw(rng, split, make)[1]
    kind = 'letters' if letters else 'words'
    q = rng.choice(['Reverse: %s', 'Reverse the order: %s', 'Reverse these ' + kind + ': %s',
                    'Write these ' + kind + ' in reverse order: %s', 'Reverse the ' + kind + ': %s',
                    'Say backwards: %s',
                    'Turn around: %s', 'reverse: %s', 'Please reverse: %s', 'Write backwards: %s',
                    'Reverse the order of these ' + kind + ': %s']) % ' '.join(xs)
    a = ' '.join(reversed(xs))
    return q, a, exact(a)


def sk_add(rng, split, wide=0):
    def make():
        a, b = rng.randint(0, 99), rng.randint(0, 99)
        if wide and rng.random() < 0.3:            # one digit comes too rarely by itself
            a, b = (rng.randint(0, 9), b) if rng.random() < 0.5 else (a, rng.randint(0, 9))
        return 'add %d %d' % (a, b), a, b
    _, a, b = draw(rng, split, make)
    q = rng.choice(['What is %d + %d?', '%d + %d', '%d + %d =', 'Add %d and %d.',
                    'How much is %d + %d?', 'What is %d plus %d?', 'What is the sum of %d and %d?',
                    '%d plus %d', 'Calculate %d + %d', 'what is %d+%d',
                    'Please add %d and %d', 'Compute %d + %d.', 'how much is %d plus %d', '%d+%d=?',
                    '%d and %d makes?']) % (a, b)
    return q, '%d + %d = %d' % (a, b, a + b), r'(?<!\d)%d\.?$' % (a + b)


def sk_count(rng, split, wide=0):
    if rng.random() < (0.7 if wide > 1 else 0.5):
        def make():
            if wide > 1 or split != TRAIN:         # inside one ten
                ten = 10 * rng.randint(0, 9)
                a, b = (ten + u for u in sorted(rng.sample(range(10), 2)))
            else:
                a = rng.randint(0, 985 if wide and rng.random() < 0.5 else 90)
                b = a + rng.randint(1 if wide else 2, 12 if wide else 9)
            return 'count %d %d' % (a, b), a, b
        _, a, b = draw(rng, split, make)
        q = rng.choice(['Count from %d to %d.', 'count from %d to %d', 'Please count from %d to %d',
                        'Write the numbers from %d to %d', 'List the numbers from %d to %d.',
                        'Count up from %d to %d', 'Can you count from %d to %d?',
                        'Numbers from %d to %d']) % (a, b)
        ans = ', '.join(map(str, range(a, b + 1)))
        return q, ans, exact(ans)

    def make():
        ws = words(rng, 2, 8)
        return 'count ' + ' '.join(ws), ws
    ws = draw(rng, split, make)[1]
    q = rng.choice(['How many things are in this list: %s?', 'Count the words: %s',
                    'How many words are there: %s?', 'Count these: %s', 'How many items: %s?',
                    'Count the items: %s', 'How many are these: %s?', 'count: %s',
                    'How many words do you see: %s?', 'Please count: %s',
                    'Count the items in this list: %s.']) % ', '.join(ws)
    listed = ', '.join('%d %s' % (i + 1, w) for i, w in enumerate(ws))
    return q, listed + '. That makes %d.' % len(ws), r'(?<!\d)%d\.?$' % len(ws)


def sk_capital(rng, split, wide=0):
    c = rng.choice(list(CAPITALS))
    q = expand(rng, rng.choice(CAPITAL_ASK if split == TRAIN else CAPITAL_HELDOUT)).replace('$C', c)
    if split != TEST:
        q = dress(rng, q)
    else:
        q = q[0].upper() + q[1:] + '?'
    return q, 'The capital of %s is %s.' % (c, CAPITALS[c]), re.escape(CAPITALS[c])


def sk_upper(rng, split, wide=0):
    def make():
        ws = words(rng, 1, 3)
        return 'upper ' + ' '.join(ws), ws
    s = ' '.join(draw(rng, split, make)[1])
    q = rng.choice(['Write in capital letters: %s', 'Write in capitals: %s',
                    'Write in upper case: %s', 'Capitals: %s', 'Make it upper case: %s',
                    'Turn into capital letters: %s', 'Please write in capital letters: %s',
                    'Uppercase: %s',
                    'Shout: %s', 'write in capital letters: %s', 'All capitals: %s',
                    'In capital letters: %s', 'Write "%s" in capital letters',
                    'Write "%s" in upper case']) % s
    return q, s.upper(), exact(s.upper())


def sk_json(rng, split, wide=0):
    if rng.random() < 0.65:
        def make():
            n, a = rng.choice(NAMES), rng.randint(1, 99)
            return 'json %s %d' % (n, a), n, a
        _, n, a = draw(rng, split, make)
        s = rng.choice(['{n} is {a} years old.', '{n} is {a}.', 'The age of {n} is {a}.',
                        'My name is {n} and I am {a} years old.', '{n}, {a} years old',
                        '{n}, aged {a}', 'I am {n} and I am {a}.', 'name {n}, age {a}'])
        s, ans = s.format(n=n, a=a), '{"name": "%s", "age": %d}' % (n, a)
    else:
        def make():
            n, c = rng.choice(NAMES), rng.choice(CITIES)
            return 'json %s %s' % (n, c), n, c
        _, n, c = draw(rng, split, make)
        s = rng.choice(['{n} lives in {c}.', '{n} is from {c}.',
                        'My name is {n} and I live in {c}.', '{n} comes from {c}.',
                        'name {n}, city {c}', '{n}, who lives in {c}'])
        s, ans = s.format(n=n, c=c), '{"name": "%s", "city": "%s"}' % (n, c)
    q = rng.choice(['Make JSON: %s', 'Turn this into JSON: %s', 'Write as JSON: %s', 'JSON: %s',
                    'Convert to JSON: %s', 'Make a JSON object from this: %s',
                    'Give me JSON for: %s', 'Please make JSON from: %s', 'As JSON: %s',
                    'Answer in JSON: %s', 'Extract JSON: %s', 'Make a JSON object: %s']) % s
    return q, ans, exact(ans)


SKILL_FN = {'copy': sk_copy, 'reverse': sk_reverse, 'add': sk_add, 'count': sk_count,
            'capital': sk_capital, 'upper': sk_upper, 'json': sk_json}


# ---- questions ---------------------------------------------------------------------------------
def trained_question(rng, patterns):
    while True:
        q = expand(rng, rng.choice(patterns))
        if norm(q) not in HELDOUT_QUESTIONS:
            return q


def mistype(rng, q):
    i = rng.randrange(len(q) - 1)
    r = rng.random()
    if r < 0.5:
        return q[:i] + q[i + 1] + q[i] + q[i + 2:]
    return q[:i] + q[i + 1:] if r < 0.8 else q[:i] + q[i] + q[i:]


FILLERS = ('please now here exactly actually just really maybe then quickly simply again also '
           'today normally best').split()


OPENINGS = '''what is the meaning of;explain to me what is;how should I;what if;which;will my;how could I;what must I do to
what should I;where is;where does;how did;how does;tell me about;please help me;please;I want;I want to;in which;with which
who;is it possible;can you;could you;may I;can I;do I need;is there;are there;what kind of;what happens to;give me;show me
describe;how many;when;why;why does;what does;does it;is the;my;the;about;I need;I have;tell me why;how much;how is
'''.strip().replace('\n', ';').split(';')


def roughen(rng, q, strong=False):
    """another wording with the same keywords: short words lost, fillers or an opening put in;
    strong: often another opening in the place of the first words"""
    if strong and rng.random() < 0.5:
        ws = q.split()
        return ' '.join([rng.choice(OPENINGS)] + ws[min(rng.randint(1, 3), max(len(ws) - 2, 0)):])
    ws = q.split()
    for _ in range(rng.choice([1, 1, 2])):
        r, i = rng.random(), rng.randrange(len(ws))
        if r < 0.45 and len(ws) > 3 and len(ws[i]) < 5:
            del ws[i]
        elif r < 0.8:
            ws.insert(i, rng.choice(FILLERS))
        else:
            ws[:0] = rng.choice(['could you say', 'I wonder', 'please explain', 'what about',
                                 'I ask you', 'I must know', 'help me:', 'say', 'in which way',
                                 'to which', 'may I', 'will', 'must I',
                                 'what if', 'could', 'would', 'on which', 'from which', 'in what',
                                 'give me', 'are you able', 'what must I', 'how should I',
                                 'please help me']).split()
    return ' '.join(ws)


def ex_fact(rng, split=TRAIN, rough=0.0):
    f = rng.choice(facts.FACTS)
    if split != TRAIN:                 # the first held-out question tests, the others validate
        qs = f[3]
        q = qs[0] if split == TEST else rng.choice(qs[1:])
        return 'qa', dress(rng, q), f[1], f[4]
    while True:
        q = trained_question(rng, f[2])
        if rough and rng.random() < rough:
            q = roughen(rng, q, rough > 0.5)
        q = dress(rng, q)
        if rng.random() < 0.06 and len(q) > 12:
            q = mistype(rng, q)
        elif rng.random() < 0.06:
            q = q.lower()
        if norm(q) not in HELDOUT_QUESTIONS:
            return 'qa', q, f[1], f[4]


def ex_unknown(rng, split=TRAIN, rough=0.0):
    if split != TRAIN:
        return 'unknown', dress(rng, rng.choice(facts.OUT_HELDOUT)), facts.DONTKNOW, 'I do not know'
    while True:
        q = trained_question(rng, facts.OUT).replace('$TOPIC', rng.choice(facts.TOPICS))
        if rough and rng.random() < rough:
            q = roughen(rng, q, rough > 0.5)
        q = dress(rng, q)
        if norm(q) not in HELDOUT_QUESTIONS:
            return 'unknown', q, facts.DONTKNOW, 'I do not know'


def ex_limits(rng, split=TRAIN, rough=0.0):
    """near its skills but beyond them: it says so"""
    r = rng.random()
    a, b = rng.randint(100, 9999), rng.randint(2, 9999)
    if r < 0.5:
        a, b = (a, b) if rng.random() < 0.5 else (b, a)
        q = rng.choice(['What is %d + %d?', '%d + %d', 'Add %d and %d.',
                        'what is %d plus %d']) % (a, b)
    else:
        a, b = rng.randint(0, 99), rng.randint(0, 99)
        op = rng.choice(['*', '-', '/', 'times', 'minus', 'divided by', 'x'])
        q = rng.choice(['What is %d %s %d?', '%d %s %d', 'How much is %d %s %d?',
                        'Calculate %d %s %d']) % (a, op, b)
    return 'limits', q, 'I can only add two numbers below 100.', 'only add'


def example(rng, kind, split=TRAIN, rough=0.0, wide=0):
    if kind in SKILL_FN:
        return (kind,) + SKILL_FN[kind](rng, split, wide)
    return {'qa': ex_fact, 'unknown': ex_unknown, 'limits': ex_limits}[kind](rng, split, rough)


def chat(rng, kinds, weights, split=TRAIN, multi=0.25, rough=0.0, wide=0):
    """-> (messages [(role, text)], kind of the last): every assistant turn is to be learnt"""
    msgs = []
    if rng.random() < 0.25:
        msgs.append(('system', rng.choice(SYSTEM)))
    turns = 1 if rng.random() >= multi else rng.choice([2, 2, 2, 3, 3, 4, 5, 8])
    for _ in range(turns):
        kind, q, a, _must = example(rng, rng.choices(kinds, weights)[0], split, rough, wide)
        msgs += [('user', q), ('assistant', a)]
    return msgs, kind


def heldout(seed=2026, n_skill=210):
    """the committed test set: skills in turn, an unseen paraphrase of every fact, unknowns"""
    rng, out, seen = random.Random(seed), [], set()
    while len(out) < n_skill:
        skill, q, a, must = example(rng, SKILLS[len(out) % len(SKILLS)], TEST)
        if q not in seen:
            seen.add(q)
            out.append((skill, q, a, must))
    for f in facts.FACTS:
        out.append(('qa', f[3][0][0].upper() + f[3][0][1:] + '?', f[1], f[4]))
    for q in facts.OUT_HELDOUT:
        out.append(('unknown', q[0].upper() + q[1:] + '?', facts.DONTKNOW, 'I do not know'))
    return out


if __name__ == '__main__':
    import json
    import sys
    if sys.argv[1:] == ['heldout']:
        for skill, q, a, must in heldout():
            print(json.dumps({'skill': skill, 'messages': [{'role': 'user', 'content': q}],
                              'answer': a, 'must': must}))
    else:
        r = random.Random(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
        for _ in range(40):
            for role, text in chat(r, SKILLS + ('qa', 'unknown', 'limits'), [1] * 7 + [6, 1, 1])[0]:
                print('%-9s %s' % (role, text))
            print()
