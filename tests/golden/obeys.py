#!/usr/bin/env python3
"""obeys.py - answers that obey JSON schemas, judged by another implementation (jsonschema).

Random schemas of every keyword that is enforced, and a list of what people really send; tests/golden/obeys.c walks through the
grammar of each at random, and jsonschema says whether what came out is valid. A schema that is refused, and a walk that
does not end, is a failure unless the case says so.

  obeys.py [-n SCHEMAS] [--seed N] [-m MODEL]
"""
import argparse, json, os, random, subprocess, sys
import jsonschema

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.abspath(HERE + '/../..')
TOOL = os.environ.get('OBEYS', TREE + '/build/host/obeys')

PATTERNS = [r'\S', '^ab', '^[A-Z]{2,4}-[0-9]+$', r'^\d{3}(-\d{2})?$', 'x|y$', r'^[^"\\]{1,9}$', r'^(a|b(c|d)*)+$', r'\d.\d',
            r'^\w+@\w+\.[a-z]{2,3}$', r'^[\u00e0-\u00ff]+$', r'[^\s]{2}', r'^$', r'^.{3,}$', r'^(?:red|green|blue)$', '/']
NAMES = ['a', 'b', 'name', 'id', 'items', 'x-y', 'é', 'with "quotes"', 'type', '', 'a b', 'ab', 'long_name_of_a_field', '$ref!']
CONSTANTS = [1, -3, 0, 2.5, True, False, None, '', 'é', 'a"b\\c', 'line\nbreak', [], [1, 'x'], {}, {'k': [None]}, 10**15, 'a']


class Maker:
    """One random schema; `refs` are the definitions it may refer to."""
    def __init__(self, rng):
        self.rng, self.defs, self.inside = rng, ['d%d' % i for i in range(rng.randrange(3))], 0

    def whole(self):
        schema = self.schema(0)
        if self.defs and schema is not True:
            schema = {'$defs': {d: self.schema(1) for d in self.defs}, **schema}
        return schema

    def schema(self, depth):
        r = self.rng
        kinds = ['null', 'boolean', 'integer', 'integer', 'number', 'number', 'string', 'string', 'string', 'enum', 'const', 'types']
        if depth < 4: kinds += ['object'] * 6 + ['array'] * 4 + ['anyOf', 'anyOf', 'oneOf', 'allOf', 'any']
        if self.defs and self.inside: kinds += ['ref'] * 3
        return getattr(self, 'make_' + r.choice(kinds))(depth)

    def make_null(self, _): return {'type': 'null'}
    def make_boolean(self, _): return {'type': 'boolean'}
    def make_any(self, _): return self.rng.choice([{}, True, {'description': 'anything'}])
    def make_ref(self, _): return {'$ref': '#/$defs/' + self.rng.choice(self.defs)}
    def make_enum(self, _): return {'enum': self.rng.sample(CONSTANTS, self.rng.randrange(1, 6))}
    def make_const(self, _): return {'const': self.rng.choice(CONSTANTS)}
    def make_types(self, _):
        return {'type': self.rng.sample(['null', 'boolean', 'integer', 'string', 'number', 'array', 'object'], self.rng.randrange(1, 4))}

    def bounds(self, least, most, whole):
        r, s = self.rng, {}
        number = (lambda: r.randrange(least, most)) if whole else (lambda: round(r.uniform(least, most), r.randrange(4)))
        a, b = sorted([number(), number()])
        if whole or b - a < 0.01: b += 2
        if r.random() < 0.6: s[r.choice(['minimum', 'exclusiveMinimum'])] = a
        if r.random() < 0.6: s[r.choice(['maximum', 'exclusiveMaximum'])] = b
        return s

    def make_integer(self, _):
        r = self.rng
        size = r.choice([3, 20, 1000, 10**6, 10**12])
        s = {'type': 'integer', **self.bounds(-size, size, True)}
        if r.random() < 0.2 and len(s) < 3: s['multipleOf'] = r.choice([1, 2, 5, 7, 10, 100, 365])
        return s

    def make_number(self, _):
        size = self.rng.choice([1, 3, 100, 10**5, 10**8])
        return {'type': 'number', **self.bounds(-size, size, False)}

    def make_string(self, _):
        r = self.rng
        s = {'type': 'string'}
        what = r.random()
        if what < 0.25:
            s['pattern'] = r.choice(PATTERNS)
        elif what < 0.4:
            s['format'] = r.choice(['date', 'time', 'date-time', 'uuid', 'ipv4', 'email'])
            return s
        if what > 0.2 and r.random() < 0.5:
            a = r.randrange(5)
            if r.random() < 0.6 and 'pattern' not in s: s['minLength'] = a
            if r.random() < 0.6: s['maxLength'] = a + r.choice([10, 30])
        return s

    def make_object(self, depth):
        r = self.rng
        self.inside += 1
        names = r.sample(NAMES, r.randrange(6))
        s = {'type': 'object', 'properties': {n: self.schema(depth + 1) for n in names}}
        if r.random() < 0.7: s['required'] = r.sample(names, r.randrange(len(names) + 1))
        more = r.random()
        if more < 0.4: s['additionalProperties'] = False
        elif more < 0.55: s['additionalProperties'] = self.schema(depth + 1)
        elif more < 0.65: s['patternProperties'] = {r.choice(['^x-', '^[a-c]{2}$', '_']): self.schema(depth + 1)}
        if r.random() < 0.1: s['minProperties'] = r.randrange(len(names) + 1)
        if r.random() < 0.1: s['maxProperties'] = r.randrange(len(s.get('required', [])), 7)
        if r.random() < 0.1: del s['type']
        self.inside -= 1
        return s

    def make_array(self, depth):
        r = self.rng
        s = {'type': 'array'}
        self.inside += 1
        if r.random() < 0.25: s['prefixItems'] = [self.schema(depth + 1) for _ in range(r.randrange(1, 4))]
        if r.random() < 0.8: s['items'] = self.schema(depth + 1)
        if r.random() < 0.4: s['minItems'] = r.randrange(4)
        if r.random() < 0.4: s['maxItems'] = s.get('minItems', 0) + r.randrange(5)
        self.inside -= 1
        return s

    def make_anyOf(self, depth):
        s = {'anyOf': [self.schema(depth + 1) for _ in range(self.rng.randrange(1, 4))]}
        if self.rng.random() < 0.2: s['description'] = 'one of these'
        return s

    def make_oneOf(self, depth):  # such as exclude each other
        r = self.rng
        if r.random() < 0.5: return {'oneOf': [self.make_integer(0), self.make_string(0), {'type': 'null'}]}
        return {'oneOf': [{'type': 'object', 'properties': {'kind': {'const': k}, 'value': self.schema(depth + 1)}, 'required': ['kind']}
                          for k in ('first', 'second')]}

    def make_allOf(self, depth):
        r = self.rng
        names = r.sample(NAMES, 3)
        return {'allOf': [{'type': 'object', 'properties': {names[0]: self.schema(depth + 1), names[1]: {'type': 'string'}}},
                          {'properties': {names[1]: {'maxLength': 20}, names[2]: True}, 'required': [names[1]]}]}


# What was reported to break other servers: a schema, and whether it may be refused.
CASES = [
    ({'type': 'string', 'pattern': r'\S'}, False), ({'type': 'string', 'pattern': '^ab'}, False),
    ({'type': 'object', 'properties': {'a': {'type': 'array', 'items': {'type': 'string', 'maxLength': 1999}},
                                       'b': {'type': 'object', 'properties': {'c': {'type': 'string', 'maxLength': 10000}}}}}, False),
    ({'type': 'string', 'pattern': '([a-z'}, True), ({'enum': [1, True, None, 'é']}, False),
    ({'additionalProperties': {'type': 'string'}, 'properties': {'a': {'type': 'integer'}}, 'type': 'object'}, False),
    ({'$ref': '#/$defs/u/anyOf/1', '$defs': {'u': {'anyOf': [{'type': 'null'}, {'type': 'integer'}]}}}, False),
    ({'$ref': '#'}, True), ({'type': 'array', 'minItems': 3}, False),
    ({'enum': ['thing %d' % i for i in range(5000)]}, False),
    ({'type': 'object', 'properties': {'node': {'$ref': '#/$defs/n'}}, 'required': ['node'],
      '$defs': {'n': {'type': 'object', 'properties': {'v': {'type': 'integer'}, 'l': {'anyOf': [{'$ref': '#/$defs/n'}, {'type': 'null'}]}},
                      'required': ['v', 'l'], 'additionalProperties': False}}}, False),
    ({'type': 'object', 'properties': {'f%d' % i: {'type': ['string', 'null'], 'description': 'x' * 40} for i in range(200)}}, False),
]


def impossible(schema):
    """No value is valid, as far as can be seen without an engine of one's own: the tool's sentence is then believed."""
    text = json.dumps(schema)
    return any(word in text for word in ('"enum"', '"const"', 'minimum', 'Minimum', 'required', 'minItems', 'pattern', 'allOf'))


def check(n, seed, model):
    """(passed, failed, lines) of n random schemas and of CASES; the last line is the figures"""
    rng = random.Random(seed)
    schemas = [(Maker(rng).whole(), False) for _ in range(n)] + CASES
    text = ''.join(json.dumps(s) + '\n' for s, _ in schemas)
    done = subprocess.run([TOOL, model, str(seed)], input=text, stdout=subprocess.PIPE, text=True, check=True)
    answers = [json.loads(line) for line in done.stdout.rstrip("\n").split("\n")]
    assert len(answers) == len(schemas)
    passed, failed, lines, refused, open_ = 0, 0, [], 0, 0
    for (schema, may_be_refused), got in zip(schemas, answers):
        if 'error' in got:
            good = may_be_refused or ('no text can satisfy' in got['error'] or 'is above' in got['error'] or
                                      'none of its values' in got['error'] or 'no type is left' in got['error'] or
                                      'is not allowed' in got['error']) and impossible(schema)
            refused += 1
            why = got['error']
        elif not got['whole']:
            open_ += 1
            if got['stuck'] is None and got['text']: continue  # neither
            good, why = False, got['stuck']
        else:
            try:
                jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER).validate(json.loads(got['text']))
                good, why = not may_be_refused, 'it was not refused'
            except (jsonschema.ValidationError, ValueError) as e:
                good, why = False, str(e).split('\n')[0]
        passed, failed = passed + good, failed + (not good)
        if not good: lines.append('%s\n    %s\n    %s' % (json.dumps(schema)[:900], why, got.get('text', '')[:400]))
    us = sorted(a['us'] for a in answers)
    masks = sorted(a['mask_us'] for a in answers if 'mask_us' in a)
    allow = sorted(a['allow_ns'] for a in answers if a.get('allow_ns'))
    lines.append('obeys: %d schemas: %d valid, %d impossible or refused, %d walks did not end; to compile %.2f ms (p99 %.2f, most %.1f); '
                 'a mask %.0f us (p99 %.0f); one token %.0f ns' %
                 (len(schemas), passed - refused, refused, open_, us[len(us) // 2] / 1e3, us[len(us) * 99 // 100] / 1e3,
                  us[-1] / 1e3, masks[len(masks) // 2], masks[len(masks) * 99 // 100], allow[len(allow) // 2]))
    if open_ > len(schemas) // 50:
        failed += 1
        lines.insert(0, '%d walks of %d did not end' % (open_, len(schemas)))
    return passed, failed, lines


if __name__ == '__main__':
    ap = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    ap.add_argument('-n', type=int, default=2000); ap.add_argument('--seed', type=int, default=1); ap.add_argument('-m', default='builtin')
    args = ap.parse_args()
    passed, failed, lines = check(args.n, args.seed, args.m)
    print('\n'.join(lines))
    print('obeys: %d passed, %d failed' % (passed, failed))
    sys.exit(1 if failed or not passed else 0)
