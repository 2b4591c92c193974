"""calls.py - conversations with tools, and with long system texts, for the built-in model.

A conversation is {'messages': [...], 'tools': [...]} in OpenAI's shape (arguments are objects).
chat() draws one: one to five tools, among them distractors, then turns of these kinds, each of
which a program can check:
  call      one call, with the name of the fitting tool and arguments copied from the question
  calls     two or three calls in one answer: a tool for several places, or two tools
  result    a call, what the tool answered, and a sentence with its values:
            {"sky": "clear", "wind": 7} -> "The sky is clear and the wind is 7."
  decline   no tool fits -> NO_TOOL
  find      no tool: a line of a long system text is asked for
and, between them, the skills of corpus.py, which it must not forget while tools are there.
A fifth of the tools are made up whole (a verb, a noun, an argument that no language has), so that
choosing and copying are learnt rather than these tools.

Training, validation and test are disjoint by value: a tool's name, a person, a place, a number, a
date, a word of a made-up language belongs to one of them by crc32 % 8 (0 test, 1 validation). The
domains' ways to ask are the same in all three: what is tested is names and values never seen.

distraction() writes system text of any length that says nothing of what is asked.
"""
import json
import random
import re
import zlib

import corpus
from corpus import TEST, TRAIN, VALID

KINDS = ('call', 'calls', 'result', 'decline', 'find')
NO_TOOL = 'None of my tools can do that.'
PLACES = sorted(set(corpus.CITIES) | set(corpus.CAPITALS.values()) | set('''
Aachen Antwerp Austin Bergen Bilbao Bologna Bremen Brno Bruges Calgary Cologne Cork Dallas Denver
Dresden Florence Galway Ghent Graz Hamburg Houston Izmir Krakow Leeds Leipzig Linz Lyon Malaga
Malmo Miami Naples Nice Osaka Phoenix Pisa Quebec Salzburg Seattle Seville Tampa Toronto Turin
Turku Utrecht Verona Zurich'''.split()))
SKIES = 'clear cloudy rainy foggy stormy snowy windy sunny'.split()
PROSE = sorted({w for f in corpus.facts.FACTS for q in f[2]
                for w in re.findall(r'(?<![$A-Z])[a-z]{2,}', q)})
STATES = 'open closed ready busy late free full empty done lost'.split()

# (key, verbs, nouns, descriptions, parameters, ways to ask, what it answers)
#   parameters   (names, kind of value, descriptions): {0}, {1} stand for their values in a question,
#                a parameter that is not asked for is optional and left out; kinds: VALUES
#   answers      (key, kind) of the JSON that comes back
P = ('city|place|location|town', 'place', 'Name of the city|The city|Which place|City name')
DOMAINS = [
    ('weather', 'get|fetch|read|show|current', 'weather|forecast|weather_report|conditions',
     'The weather in a city|Says how the weather is|Current weather of a place',
     [P, ('unit|units|scale', 'celsius|fahrenheit', 'Unit of the temperature|Which scale')],
     ['[what is|how is|tell me|show me] the weather [in|today in|now in] {0}',
      'what is the weather in {0} in {1}', 'how is the weather in {0}, in {1}',
      '[is it|will it be] [cold|warm|sunny|rainy] in {0}', 'weather in {0}'],
     [('temperature', 'number'), ('sky', 'sky')]),
    ('time', 'get|read|tell|current', 'time|clock|local_time|world_time',
     'The time of day in a city|Local time of a place', [P],
     ['what time is it in {0}', '[tell me|what is|I need] the time in {0}', 'time in {0}',
      'how late is it in {0}'], [('time', 'time')]),
    ('mail', 'send|write|post|submit', 'mail|email|message|letter',
     'Sends an e-mail to a person|Write a message to somebody',
     [('to|recipient|person|receiver', 'person', 'Who gets it|Name of the recipient'),
      ('text|body|content|message', 'words', 'What is written|The text')],
     ['[send|write] [a mail|an email|a message] to {0}: {1}', 'tell {0} by mail: {1}',
      '[mail|write] {0} this: {1}', 'send {0} the message "{1}"'], [('status', 'state')]),
    ('phone', 'call|dial|ring|start', 'person|phone|contact|phone_call',
     'Calls a person by telephone|Starts a phone call',
     [('name|person|contact|who', 'person', 'Who is called|Name of the contact')],
     ['[call|phone|ring|dial] {0}', 'I want to [talk to|speak with|phone] {0}',
      'make a phone call to {0}'], [('line', 'state')]),
    ('light', 'set|switch|turn|change', 'light|lamp|lights|room_light',
     'Switches the light of a room|Turns a lamp on or off',
     [('room|area|where', 'room', 'The room|Which room'),
      ('state|power|to', 'on|off', 'on or off|The new state')],
     ['[switch|turn] {1} the [light|lamp|lights] in the {0}',
      '[switch|turn] the {0} [light|lamp|lights] {1}', 'light {1} in the {0}'],
     [('light', 'state')]),
    ('heat', 'set|change|adjust|regulate', 'heating|temperature|thermostat|heater',
     'Sets the temperature of a room|Adjusts the heating',
     [('room|area|zone', 'room', 'Which room|The room'),
      ('degrees|temperature|target|value', 'small', 'Degrees|The wanted temperature')],
     ['[set|heat|bring] the {0} to {1} degrees', 'make it {1} degrees in the {0}',
      'set the heating in the {0} to {1}'], [('temperature', 'number')]),
    ('alarm', 'set|create|add|start', 'alarm|wake_up|alarm_clock|reminder_time',
     'Sets an alarm|Wakes you at a time',
     [('time|at|when', 'time', 'Time of day|When it rings, HH:MM')],
     ['[set an alarm|wake me] [at|for] {0}', 'I must get up at {0}', 'alarm at {0}'],
     [('alarm', 'state')]),
    ('timer', 'start|set|run|begin', 'timer|countdown|kitchen_timer|stopwatch',
     'Starts a timer|Counts down some minutes',
     [('minutes|duration|length', 'small', 'How many minutes|Minutes')],
     ['[start|set] a timer [of|for] {0} minutes', 'count down {0} minutes', 'timer, {0} minutes'],
     [('timer', 'state')]),
    ('event', 'add|create|plan|book', 'event|meeting|appointment|calendar_entry',
     'Adds a meeting to the calendar|Creates an appointment',
     [('person|with|guest', 'person', 'Who is met|The guest'),
      ('date|day|on', 'date', 'The day, YYYY-MM-DD|Date')],
     ['[plan|book|add] a meeting with {0} on {1}', 'I meet {0} on {1}, [note it|write it down]',
      'make an appointment with {0} on {1}'], [('meeting', 'state')]),
    ('todo', 'add|append|create|note', 'todo|task|to_do_item|note',
     'Adds a line to the to-do list|Notes a task',
     [('task|item|text|entry', 'words', 'What is to be done|The text of the entry')],
     ['[add to my to-do list|note this task|remember to do]: {0}', 'new task: {0}',
      'put "{0}" on my to-do list'], [('tasks', 'number')]),
    ('shop', 'add|put|order|buy', 'shopping_item|to_cart|item|goods',
     'Puts things into the shopping cart|Orders an item',
     [('item|product|article|thing', 'item', 'What is bought|The product'),
      ('count|amount|quantity|number', 'number', 'How many|The quantity')],
     ['[buy|order|get me] {1} pieces of {0}', 'put {0} into my cart, {1} times',
      'I need {1} of the {0}'], [('total', 'number')]),
    ('stock', 'check|count|find|query', 'stock|inventory|warehouse|store_count',
     'How many of a thing are in stock|Looks into the warehouse',
     [('item|product|article|part', 'item', 'The thing|Which product')],
     ['[how many|how much] {0} [is|are] in stock', 'is any {0} left in the warehouse',
      'check the stock of {0}'], [('count', 'number')]),
    ('price', 'get|find|look_up|ask', 'price|cost|product_price|tariff',
     'The price of a thing|Says what something costs',
     [('item|product|article|thing', 'item', 'What|Name of the product')],
     ['what does [a|the] {0} cost', '[find|tell me] the price of the {0}', 'price of {0}',
      'how expensive is the {0}'], [('price', 'number')]),
    ('route', 'find|plan|get|calculate', 'route|way|directions|trip',
     'Finds the way between two cities|Plans a route',
     [('from|start|origin', 'place', 'Where it begins|Start'),
      ('to|end|destination|goal', 'place', 'Where it ends|Destination')],
     ['[how do I get|find the way|plan a route] from {0} to {1}', 'route from {0} to {1}',
      'I am in {0} and want to go to {1}'], [('distance', 'number')]),
    ('train', 'find|search|list|query', 'trains|train|connections|train_times',
     'Finds trains to a city|The next trains',
     [('to|destination|city', 'place', 'Where to|The destination'),
      ('time|after|departure', 'time', 'Earliest departure, HH:MM|Departs after')],
     ['when is the next train to {0}', 'trains to {0} after {1}', '[find|show] a train to {0}',
      'I want to go to {0} by train after {1}'], [('departure', 'time'), ('platform', 'small')]),
    ('hotel', 'find|search|book|list', 'hotels|hotel|rooms|hotel_room',
     'Finds a hotel|Searches hotels in a city',
     [P, ('nights|days|stay', 'small', 'How many nights|Nights')],
     ['[find|book] a hotel in {0} for {1} nights', 'I need a hotel in {0}',
      'where can I sleep in {0} for {1} nights'], [('hotel', 'item'), ('price', 'number')]),
    ('word', 'translate|render|convert', 'word|text|words|phrase',
     'Translates into another language|Translator',
     [('text|words|input|phrase', 'words', 'What is translated|The text'),
      ('language|target|to', 'German|French|Spanish|Latin', 'Into which language|The language')],
     ['translate "{0}" into {1}', 'what is {0} in {1}', '[say|write] "{0}" in {1}'],
     [('translation', 'words')]),
    ('multiply', 'multiply|compute|calculate', 'numbers|product|multiplication|two_numbers',
     'Multiplies two numbers|The product of two numbers',
     [('a|x|first|left', 'number', 'The first number|A number'),
      ('b|y|second|right', 'number', 'The second number|A number')],
     ['[multiply|compute the product of] {0} and {1}', 'what is {0} times {1}', '{0} * {1}',
      'how much is {0} x {1}'], [('product', 'number')]),
    ('file', 'read|open|load|show', 'file|document|text_file|paper',
     'Reads a file|Shows the text of a document',
     [('name|file|path|document', 'file', 'Name of the file|Which file')],
     ['[read|open|show me|load] {0}', '[what is|what stands] in the file {0}'],
     [('size', 'number')]),
    ('delete', 'delete|remove|erase|drop', 'file|document|data|record',
     'Deletes a file|Removes a document for good',
     [('name|file|path|document', 'file', 'Name of the file|Which file')],
     ['[delete|remove|erase] {0}', 'I no longer need {0}, delete it'], [('file', 'state')]),
    ('music', 'play|start|find', 'music|song|track|sound',
     'Plays a song|Plays music', [('title|song|name|track', 'words', 'Title of the song|The song')],
     ['play [the song|] "{0}"', 'I want to hear the song {0}', 'put on the song {0}'],
     [('player', 'state')]),
    ('search', 'search|query|look_up|find', 'web|internet|pages|articles',
     'Searches the web|Looks something up in the internet',
     [('query|text|words|terms', 'words', 'What is looked for|The words')],
     ['[search|look in] the [web|internet] for {0}', 'what does the [web|internet] say about {0}'],
     [('hits', 'number')]),
    ('parcel', 'track|find|trace|locate', 'parcel|package|delivery|shipment',
     'Where a parcel is|Tracks a delivery',
     [('code|number|id|tracking', 'code', 'Code of the parcel|Tracking number')],
     ['where is [my|the] parcel {0}', '[track|trace|find] the [parcel|package] {0}'],
     [('place', 'place'), ('status', 'state')]),
    ('user', 'get|find|show|load', 'user|customer|person|account',
     'Data of a customer|Finds a person in the database',
     [('name|customer|person|who', 'person', 'Name of the customer|Who')],
     ['[show|find] the [customer|account of] {0}', 'what do we know about the customer {0}'],
     [('city', 'place'), ('orders', 'number')]),
]
# ordinary skills that stay what they are while tools are there: none that a tool may do as well
BESIDE = ('copy', 'reverse', 'count', 'capital', 'upper', 'json', 'qa')
ROOMS = 'kitchen bathroom bedroom office hall garage cellar attic workshop library'.split()


# ---- values ------------------------------------------------------------------------------------
def split_of(value):
    return {0: TEST, 1: VALID}.get(zlib.crc32(value.lower().encode()) % 8, TRAIN)


def draw(rng, split, make):
    """a value that belongs to the split"""
    while True:
        v = make()
        if split_of(str(v)) == split:
            return v


def word(rng):
    return ''.join(rng.choice('bdfgklmnprstvz') + rng.choice('aeiou')
                   for _ in range(rng.randint(2, 3))) + rng.choice(['', 'n', 'k', 's', 't', 'r'])


def some_words(rng, split):
    def one():
        made = split != TRAIN or rng.random() < 0.15
        return word(rng) if made else rng.choice(corpus.WORDS)
    return ' '.join(draw(rng, split, one) for _ in range(rng.randint(1, 4)))


def listed(names):
    return lambda rng: word(rng).capitalize() if rng.random() < 0.2 else rng.choice(names)


VALUES = {
    'place': listed(PLACES),
    'person': listed(corpus.NAMES),
    'item': lambda rng: word(rng) if rng.random() < 0.2 else rng.choice(corpus.WORDS),
    'number': lambda rng: rng.randint(2, rng.choice([99, 99, 999, 9999])),
    'small': lambda rng: rng.randint(2, 60),
    'time': lambda rng: '%02d:%02d' % (rng.randint(0, 23), rng.randint(0, 59)),
    'date': lambda rng: '20%d-%02d-%02d' % (rng.randint(24, 31), rng.randint(1, 12),
                                            rng.randint(1, 28)),
    'code': lambda rng: '%s%d' % (''.join(rng.sample(corpus.ALPHABET, 2)).upper(),
                                  rng.randint(100, 9999)),
    'file': lambda rng: rng.choice([word(rng), rng.choice(corpus.WORDS)]) + rng.choice(
        ['.txt', '.txt', '.md', '.csv', '.pdf', '.log']),
}
NUMBERS = ('number', 'small')
CHOSEN = {'room': ROOMS, 'sky': SKIES, 'state': STATES}      # few and known: the same in all splits


def value(rng, kind, split):
    if kind == 'words':
        return some_words(rng, split)
    if kind in VALUES:
        return draw(rng, split, lambda: VALUES[kind](rng))
    return rng.choice(CHOSEN.get(kind) or kind.split('|'))


# ---- tools -------------------------------------------------------------------------------------
def made_up_domain(rng, split):
    verb, noun = (draw(rng, split, lambda: word(rng)) for _ in range(2))
    n, kinds = rng.choice([1, 1, 2]), list(VALUES)
    params = [('%s|value|input|x' % word(rng), rng.choice(kinds), 'The value|What is used|Input'),
              ('%s|option|with|y' % word(rng), rng.choice(kinds), 'A second value|Option')][:n]
    asks = ['%s the %s {0}' % (verb, noun), 'please %s {0}' % verb, 'I want to %s {0}' % verb]
    if n == 2:
        asks = [a + ' with {1}' for a in asks]
    return (verb, verb, '%s|%s_it|thing' % (noun, noun),
            '%ss a %s|Can %s any %s' % (verb.capitalize(), noun, verb, noun), params, asks,
            [(rng.choice(['result', noun]), rng.choice(kinds))])


def tool_name(rng, domain):
    verb, noun = rng.choice(domain[1].split('|')), rng.choice(domain[2].split('|'))
    parts = ([verb] if rng.random() < 0.85 else []) + noun.split('_')
    parts += rng.choice([[], [], [], [word(rng)], ['now'], ['tool'], ['v2'], ['api']])
    if rng.random() < 0.2:
        parts.insert(0, rng.choice(['my', 'home', 'office', 'do', word(rng)]))
    style = rng.random()
    if style < 0.15:
        return parts[0] + ''.join(p.capitalize() for p in parts[1:])
    return ('-' if style < 0.22 else '_').join(parts)


class Tool:
    """one reading of a domain: .schema is what the model sees, .ask() a question for it"""

    def __init__(self, rng, domain, split):
        self.domain, self.split = domain, split
        self.name = draw(rng, split, lambda: tool_name(rng, domain))
        self.keys, said = [], domain[4]
        while len(set(self.keys)) != len(said):
            self.keys = [rng.choice(names.split('|')) for names, _, _ in said]
        bare, properties = rng.random() < 0.15, {}
        order = list(range(len(said)))
        if rng.random() < 0.2:
            order.reverse()
        for i in order:
            _, kind, descriptions = said[i]
            p = {'type': 'integer' if kind in NUMBERS else 'string'}
            if not bare:
                p['description'] = rng.choice(descriptions.split('|'))
            if '|' in kind:
                p['enum'] = kind.split('|')
            properties[self.keys[i]] = p
        required = [self.keys[i] for i in order if all('{%d}' % i in a for a in domain[5])]
        parameters = {'type': 'object', 'properties': properties, 'required': required}
        self.order = order
        self.schema = {'name': self.name, 'description': rng.choice(domain[3].split('|')),
                       'parameters': parameters}

    def ask(self, rng, n=1):
        """-> (question, [call]): n calls for n values of the only argument"""
        ask = corpus.expand(rng, rng.choice(self.domain[5]))
        drawn = [[value(rng, kind, self.split) for _ in range(n if i == 0 else 1)]
                 for i, (_, kind, _) in enumerate(self.domain[4])]
        while len(set(map(str, drawn[0]))) < n:
            drawn[0] = [value(rng, self.domain[4][0][1], self.split) for _ in range(n)]
        calls = [call(self.name, {self.keys[i]: drawn[i][c if i == 0 else 0] for i in self.order
                                  if '{%d}' % i in ask}) for c in range(n)]
        for i, vs in enumerate(drawn):
            vs = [str(v) for v in vs]
            ask = ask.replace('{%d}' % i, ' and '.join([', '.join(vs[:-1])] * (n > 1) + vs[-1:])
                              if i == 0 else vs[0])
        return ask, calls

    def answer(self, rng):
        """what the tool says, and the sentence that the model makes of it"""
        if rng.random() < 0.1:
            text = 'no such ' + rng.choice(corpus.WORDS)
            return json.dumps({'error': text}), 'The tool says: %s.' % text
        got = {k: value(rng, kind, self.split) for k, kind in self.domain[6]}
        if len(got) == 1 and rng.random() < 0.2:
            text = str(list(got.values())[0])
            return text, 'The tool says: %s.' % text
        said = ' and '.join('the %s is %s' % (k.replace('_', ' '), v) for k, v in got.items())
        return json.dumps(got), said[0].upper() + said[1:] + '.'


def call(name, arguments):
    return {'type': 'function', 'function': {'name': name, 'arguments': arguments}}


def tools_for(rng, split, n):
    domains = rng.sample(DOMAINS, n)
    domains = [made_up_domain(rng, split) if rng.random() < 0.2 else d for d in domains]
    tools = [Tool(rng, d, split) for d in domains]
    if len({t.name for t in tools}) < n:
        return tools_for(rng, split, n)
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
    return any(kind == 'words' for _, kind, _ in tool.domain[4])


def assistant(calls):
    return {'role': 'assistant', 'content': '', 'tool_calls': calls}


def turn_call(rng, tools, split):
    tool = rng.choice(tools)
    q, calls = tool.ask(rng)
    return [said(rng, q, takes_words(tool)), assistant(calls)]


def turn_calls(rng, tools, split):
    clear = [t for t in tools if not takes_words(t)]     # where its values end can be seen
    one = [t for t in clear if len(t.domain[4]) == 1]
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
    present = {t.domain[0] for t in tools}
    absent = [d for d in DOMAINS if d[0] not in present]
    if rng.random() < 0.25 and not present & {'search', 'weather', 'mail', 'music', 'word'}:
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
WEIGHTS = {'call': 3.0, 'calls': 2.0, 'result': 3.0, 'decline': 1.5, 'beside': 1.5}


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
    who, where, what = (lambda: rng.choice(corpus.NAMES), lambda: rng.choice(PLACES),
                        lambda: rng.choice(corpus.WORDS))
    while n < n_words:
        line = prose(rng) if rng.random() < share else ' '.join(rng.choice([
            '%s keeps a %s and %d %s in %s.' % (who(), what(), rng.randint(2, 99), what(), where()),
            'The %s of %s stands beside the %s.' % (what(), who(), what()),
            'In %s the %s was %s, says %s.' % (where(), what(), rng.choice(STATES), who()),
            'Nobody in %s has seen %s since %s.' % (where(), who(), VALUES['date'](rng)),
            '%s and %s met at %s near the %s.' % (who(), who(), VALUES['time'](rng), what()),
            'Rule %d: the %s is never %s.' % (rng.randint(2, 99), what(), rng.choice(STATES)),
        ]) for _ in range(rng.randint(1, 4)))
        lines.append(line)
        n += len(line.split())
    return '\n'.join(lines)


SECRETS = ('code', 'key', 'number', 'password', 'locker')


def needles(rng, split):
    """-> (lines, question, answer): the same secret of several people; one of them is asked for"""
    what = rng.choice(SECRETS)
    people = [draw(rng, split, lambda: VALUES['person'](rng)) for _ in range(8)]
    people = list(dict.fromkeys(people))[:rng.randint(1, 4)]
    kind = rng.choice(['number', 'code', 'item', 'place'])
    facts = ['The %s of %s is %s.' % (what, p, value(rng, kind, split)) for p in people]
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


def chat(rng, split=TRAIN, kind=None, words=0, easy=False):
    """-> (conversation, kind of its last turn). words: so much distraction stands in the system
    text. kind: one turn of that kind; else one to four turns. easy: few tools and turns, often a fact
    to be found"""
    facts = []
    if kind == 'find' or (not kind and words and rng.random() < 0.4) \
            or (easy and rng.random() < 0.35):
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
    many = [1, 1, 2, 2, 3] if easy else [1, 2, 3, 3, 3, 4, 5]
    tools = tools_for(rng, split, 3 if kind else rng.choice(many))
    out['tools'] = [{'type': 'function', 'function': t.schema} for t in tools]
    for _ in range(1 if kind else rng.choice([1, 1, 2] if easy else [1, 2, 3, 4])):
        last = kind or rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        messages += TURNS[last](rng, tools, split)
    if found and not kind:
        messages += found
    return out, last


# ---- practice ----------------------------------------------------------------------------------
def lines(rng):
    """a conversation that has no use but to teach looking up and copying, which all kinds need and
    which few of their tokens teach: lines of anything at all, and those asked for by their first word
    come back"""
    def thing():
        r = rng.random()
        if r < 0.3:
            return word(rng)
        if r < 0.45:
            return rng.choice(corpus.WORDS)
        if r < 0.6:
            return tool_name(rng, rng.choice(DOMAINS))
        kind = rng.choice(list(VALUES))
        return str(VALUES[kind](rng))
    n = rng.randint(1, 8)
    firsts = list(dict.fromkeys(thing() for _ in range(n)))
    rows = [f + rng.choice([' ', ': ', ' is ', '=', ' - ', '", "']) + ' '.join(
        thing() for _ in range(rng.randint(1, 7))) for f in firsts]
    asked = rng.sample(range(len(rows)), min(len(rows), rng.choice([1, 2, 2, 3, 4, 8])))
    ask = rng.choice(['Find: %s', 'Lines: %s', 'Write the lines of %s']) % ', '.join(
        firsts[i] for i in asked)
    text, said = '\n'.join(rows), {'role': 'assistant', 'content': '\n'.join(rows[i] for i in asked)}
    if rng.random() < 0.5:
        return {'messages': [{'role': 'system', 'content': text}, {'role': 'user', 'content': ask}, said]}
    return {'messages': [{'role': 'user', 'content': text + '\n' + ask}, said]}


def finds(rng):
    """many questions about the same facts"""
    what = rng.choice(SECRETS)
    people = [draw(rng, TRAIN, lambda: VALUES['person'](rng)) for _ in range(rng.randint(2, 6))]
    facts = {p: 'The %s of %s is %s.' % (what, p, value(
        rng, rng.choice(['number', 'code', 'item', 'place']), TRAIN)) for p in people}
    text = system_text(rng, rng.choice([0, 20, 60, 150]), list(facts.values()))
    messages = [{'role': 'system', 'content': text}]
    for _ in range(rng.randint(2, 6)):
        p = rng.choice(list(facts))
        q = rng.choice(['what is the %s of %s', 'tell me the %s of %s', 'which %s has %s']) % (what, p)
        messages += [{'role': 'user', 'content': corpus.dress(rng, q)},
                     {'role': 'assistant', 'content': facts[p]}]
    return {'messages': messages, 'facts': list(facts.values())}


def asks(rng):
    """many questions for the same tools, some for none of them"""
    tools = tools_for(rng, TRAIN, rng.choice([1, 2, 3, 3, 3]))
    words = rng.choice([0, 0, 0, 30, 120])
    messages = [{'role': 'system', 'content': system_text(rng, words)}] if words else []
    for _ in range(rng.randint(3, 7)):
        messages += (turn_decline if rng.random() < 0.2 else turn_call)(rng, tools, TRAIN)
    return {'messages': messages,
            'tools': [{'type': 'function', 'function': t.schema} for t in tools]}


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
