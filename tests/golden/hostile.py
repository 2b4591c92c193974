"""hostile.py - 200 templates that would run for ever, nest without end or eat all memory, were there no bounds. Some are written by
hand; the others put together at random, the same ones each time, from pieces that grow or repeat."""
import random

N = 200
RANGE = 'range(99999)'
HAND = [
    '{% for a in R %}{% for b in R %}{% for c in R %}{{ a }}{% endfor %}{% endfor %}{% endfor %}',
    '{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}', '{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}',
    '{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}',
    '{% macro f(x=f()) %}{% endmacro %}{{ f() }}', '{% for x in [1, 2] recursive %}{{ loop([1, 2]) }}{% endfor %}',
    '{% macro f() %}{% call f() %}x{% endcall %}{{ caller() }}{% endmacro %}{% call f() %}y{% endcall %}',
    '{% set n = namespace(x="ab") %}{% for i in R %}{% set n.x = n.x ~ n.x %}{% endfor %}', '{% set n = namespace(x=[1]) %}{% for i in R %}{% set n.x = n.x + n.x %}{% endfor %}',
    '{% set n = namespace(x="ab") %}{% for i in R %}{% set n.x = n.x.replace("a", n.x) %}{% endfor %}', '{% set n = namespace(x=1) %}{% for i in R %}{% set n.x = n.x * 3 %}{% endfor %}',
    '{{ "a" * 9999999999 }}', '{{ [1] * 999999999 }}', '{{ "ab" * 1000000 * 1000 }}', '{{ "%999999999s" % 1 }}', '{{ "%99999s" % 1 * 99999 }}', '{{ "{:>999999999}".format(1) }}',
    '{{ "a".ljust(999999999) }}', '{{ "a".center(99999999) }}', '{{ "a"|center(99999999) }}', '{{ "a\nb"|indent(999999999) }}', '{{ 2 ** 9999999999 }}', '{{ 2.0 ** 99999 }}',
    '{{ range(99999)|list|tojson }}{{ range(99999)|list }}{{ range(99999)|join }}', '{{ (range(99999)|list) * 99 }}', '{{ range(99999)|map("string")|map("upper")|map("lower")|list|sort|unique|list }}',
    '{{ range(99999)|unique|list|length }}', '{{ range(99999)|groupby("x")|list }}', '{{ range(99999)|batch(1)|map("list")|list|length }}', '{{ range(99999)|slice(99999)|list|length }}',
    '{% set x = "a b " * 200000 %}{{ x.split()|length }}{{ x.split(" ")|length }}{{ x|wordcount }}{{ x|title }}', '{% set x = "a" * 99999 %}{% for c in x %}{{ x.find("b") }}{% endfor %}',
    '{% set x = "a" * 99999 %}{% for c in x %}{{ x[-1] }}{% endfor %}', '{% set x = "a" * 99999 %}{% for c in x %}{{ x|length }}{% endfor %}', '{% set x = "é" * 99999 %}{% for c in x %}{{ x[::-1] }}{% endfor %}',
    '{% set x = "a" * 99999 %}{{ x.split("a")|map("length")|sum }}{{ x.replace("", x) }}', '{% set x = "ab" * 99999 %}{% for c in x %}{% if "ba" * 500 ~ "c" in x %}{% endif %}{% endfor %}',
    '{% set x = "x" * 99999 %}{% for c in x %}{{ x.strip("y") }}{{ x.rstrip("x") }}{{ x.lstrip("zyx") }}{% endfor %}', '{% set x = "x" * 99999 %}{% for c in x %}{{ x == x ~ "" }}{% endfor %}',
    '{% set l = [1] %}{% for i in R %}{% set _ = l.append(l) %}{% endfor %}{{ l }}', '{% set l = [] %}{% set _ = l.append(l) %}{{ l|tojson }}', '{% set l = [] %}{% set _ = l.append(l) %}{{ l == [l] }}{{ [l] < [[l]] }}',
    '{% set l = [] %}{% for i in R %}{% set _ = l.insert(0, i) %}{% endfor %}', '{% set l = [1] %}{% for i in R %}{% set _ = l.extend(l) %}{% endfor %}', '{% set d = {} %}{% for i in R %}{% set _ = d.update({i: d}) %}{% endfor %}{{ d }}',
    '{% set d = {} %}{% for i in R %}{% set _ = d.setdefault(i ~ "", i) %}{% endfor %}{{ d|dictsort }}', '{% set n = namespace(d={}) %}{% for i in R %}{% set n.d = dict(n.d, a=n.d) %}{% endfor %}{{ n.d|tojson }}',
    '{% set n = namespace(x=[]) %}{% for i in range(5000) %}{% set n.x = [n.x] %}{% endfor %}{{ n.x }}', '{% set n = namespace(x=[]) %}{% for i in range(5000) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x|tojson }}',
    '{{ ' + '(' * 20000 + '1' + ')' * 20000 + ' }}', '{{ ' + '[' * 150 + ']' * 150 + ' }}', '{{ ' + 'not ' * 20000 + '1 }}', '{{ ' + '-' * 20000 + '1 }}', '{{ ' + '1 + ' * 20000 + '1 }}', '{{ a' + '.b' * 20000 + ' }}',
    '{{ 1' + '|string' * 20000 + ' }}', '{{ a' + '(' * 190 + ')' * 190 + ' }}', '{{ 1' + ' if 1 else 2' * 14000 + ' }}', '{{ ' + '"a" ' * 20000 + ' }}', '{{ ' + '"a" ~ ' * 20000 + '1 }}', '{{ 1' + ' == 1' * 20000 + ' }}',
    '{% if 1 %}' * 18000, '{% for x in [1] %}' * 9000, '{% if 1 %}' * 190 + '{% endif %}' * 190, '{% if 0 %}{% elif 0 %}' + '{% elif 0 %}' * 14000 + '{% endif %}', '{% set a%d = 1 %}' * 10000, '{# ' * 60000, '{% raw %}' * 20000,
    ''.join('{%% set a%d = %d %%}' % (i, i) for i in range(8000)), ''.join('{{ a%d }}' % i for i in range(4000)) * 4, '{{' * 90000, '{%' * 90000, '{{ "' + 'a' * 200000, '{{ ' + '9' * 180000 + ' }}', '{{ 1e' + '9' * 180000 + ' }}', '\n' * 200000 + '{{ 1 }}',
    '{{ ' + 'a' * 180000 + ' }}', '{% macro f(' + ','.join('a%d' % i for i in range(3000)) + ') %}{% endmacro %}{{ f() }}', '{{ f(' + ','.join('a%d=1' % i for i in range(3000)) + ') }}', '{{ dict(' + ','.join('a%d=1' % i for i in range(3000)) + ')|length }}',
    '{% call(' + ','.join('a%d' % i for i in range(3000)) + ') f() %}{% endcall %}', '{{ [' + '1,' * 90000 + '] }}', '{{ {' + '1:1,' * 45000 + '} }}', '{{ strftime_now("%c" * 5000) }}', '{{ strftime_now("%c" * 99) }}', '{{ raise_exception("x" * 999999) }}',
    '{% set x %}' * 190 + 'y' + '{% endset %}' * 190, '{% filter upper %}' * 190 + 'y' + '{% endfilter %}' * 190, '{% set x = "<" * 300000 %}{{ x|e|forceescape|forceescape|forceescape }}', '{{ ("a" * 99999)|truncate(99990) }}',
    '{% set x = ["b", "a"] * 40000 %}{{ x|sort }}{{ x|sort(attribute=0) }}{{ x|min }}', '{% set x = [["b" * 999] * 99] * 99 %}{{ x|sort }}{{ x == x }}{{ x|tojson(indent=60) }}', '{% set t = messages * 99999 %}{{ t|tojson }}',
    '{% for m in messages * 9999 %}{% for q in messages * 9999 %}{{ m.content ~ q.content }}{% endfor %}{% endfor %}', '{{ messages|tojson(indent="' + ' ' * 99999 + '") }}', '{% set c = cycler(*range(99999)) %}{% for x in R %}{{ c.next() }}{% endfor %}',
]
ATOMS = ['"ab"', 'messages', 'range(999)', '[1, 2]', '{"a": 1}', 'n.x', 'n.x', 'n.x', 's', 'none', '7', '1.5', 'messages[0].content']
WRAPS = ['{} * 999', '({}, {})', '[{}, {}]', '({} ~ {})', '({})|string', '({})|list', '({})|tojson', '({})|join(",")', '({})|map("string")|list', '({})|string|replace("a", {}|string)', '({})|string * 99', '(({})|list) + (({})|list)',
         '({})|string|indent(99)', '({})|string|upper', '({})|list|sort', '({})|list|unique|list', '({})|string|e', '({}) in ({})', '({})|list|reverse|list', '({})|string|wordcount', '"%s%s"|format({}, {})', '({})|string|title', '({})|list|batch(2)|list', '({})|default({})',
         'f({})', 'f({}, {})', '({})|string|list', '({}|string).split("a")', '({}|string)[::-1]', '({}|list)[1:]', '{{"k": {}, "l": {}}}', '({})|list|groupby(0)|list', '({})|string|truncate(50)', '({})|length']
STATEMENTS = ['{{%% set n.x = %s %%}}', '{{{{ %s }}}}', '{{%% for i in range(99999) %%}}{{%% set n.x = %s %%}}{{%% endfor %%}}', '{{%% for i in %s %%}}{{%% for k in range(999) %%}}{{{{ i }}}}{{%% endfor %%}}{{%% endfor %%}}',
              '{{%% if %s %%}}{{{{ f(n.x) }}}}{{%% endif %%}}', '{{%% filter indent(9) %%}}{{{{ %s }}}}{{%% endfilter %%}}', '{{%% for i in range(99) %%}}{{%% set n.x = [n.x, %s] %%}}{{%% endfor %%}}', '{{%% for i in range(99) %%}}{{%% set n.x = n.x ~ %s %%}}{{%% endfor %%}}']
MACROS = ['{% macro f(a, b=1) %}{{ a }}{{ b }}{{ a }}{% endmacro %}', '{% macro f(a, b=1) %}{{ f([a, b]) }}{% endmacro %}', '{% macro f(a, b=1) %}{% for i in a|list %}{{ f(i) }}{{ b }}{% endfor %}{% endmacro %}']


def expression(r, depth):
    if depth == 0: return r.choice(ATOMS)
    wrap = r.choice(WRAPS)
    return wrap.format(*[expression(r, depth - 1) for _ in range(wrap.replace('{{', '').replace('}}', '').count('{}'))])


def made(r):
    parts = [r.choice(MACROS), '{% set n = namespace(x="seed") %}']
    for _ in range(r.randrange(2, 7)): parts.append(r.choice(STATEMENTS).replace('{{', '{').replace('}}', '}').replace('%%', '%').replace('%s', '\0').replace('\0', expression(r, r.randrange(1, 5))))
    return ''.join(parts)


def templates():
    r = random.Random(1)
    out = [t.replace('R %}', RANGE + ' %}') for t in HAND]
    return out + [made(r) for _ in range(N - len(out))]
