"""language.py - small templates that go through the language piece by piece: chats.py renders each with Jinja2 too."""

VARIABLES = {
    'a': [3, 1, 2], 'b': [], 's': 'Hello, World', 'u': 'Zürich 日本 🦉', 'n': None, 't': True, 'f': False, 'i': 7, 'x': 2.5, 'e': '',
    'd': {'b': 1, 'a': {'k': [1, 2.0, None, True, "it's"]}, 'items': 'mine'}, 'w': '  \tpad \n', 'h': '<a href="x">&\'</a>',
    'm': [{'role': 'user', 'content': 'Hi', 'n': 2}, {'role': 'assistant', 'content': 'Yo', 'n': 1}, {'role': 'User', 'content': 'b', 'n': 3}],
}

# One expression each, printed.
EXPRESSIONS = '''
1 + 2 * 3 ** 2 // 4 % 5 - 6 / 4
-2 ** 2
2 ** 3 ** 2
2 ** -1
7 // 2, -7 // 2, 7 // -2, -7 % 3, 7 % -3, 7.5 // 2, -7.5 % 2
1 / 2, 4 / 2, 1e300 * 10, 1e16, 123456789012345680.0, 1e-5, 0.0001, 1.5e-7, 100.0, 0.1 + 0.2, -0.0
1_000, 0x1f, 0b11, 0o17, 1.5e3, 2E-2
true, True, false, none, None
"a" "b" 'c'
"\\n\\t\\x41\\u00e9\\101\\\\\\"\\'\\q"
'a' ~ 1 ~ none ~ true ~ 1.0 ~ [1, 'x'] ~ undefinedname
not t, not n, not not 1
1 < 2 < 3, 1 < 2 > 5, 1 == 1.0, 1 == true, 'a' < 'b', [1, 2] < [1, 3], 'a' != 'b'
1 in a, 9 in a, 'ell' in s, 'k' in d, 'b' in d, 1 not in a, '' in s, not 1 in a
t and 5, f and 5, n or 'x', e or b or 'z', t or 5
'y' if t else 'n'
'y' if f
('y' if f) is defined
('y' if f)|default('dd')
1 if f else 2 if f else 3
a, b
(1,), (), (1, 2)
[1, 'a', none, 2.5, true, [], {}], {'a': 1, 2: 'b', none: [1]}
["it's", 'say "x"', 'both \\' "', '\\n\\r\\t\\x00\\x7f\\xa0é日🦉\\u200b', '\\\\']
a[0], a[-1], a[5], s[0], s[-1], u[1], u[-1], u[7]
a[1:], a[:-1], a[::-1], a[::2], a[-2:], a[5:], a[1:2], a[::-2], a[10:0:-1]
s[1:4], s[::-1], u[::-1], u[2:9:3], s[-3:], s[:0], u[-1:], s[7:2:-2]
d.b, d['b'], d.a.k, d.a['k'][4], d.zz, d['items'], d.items()|list
d.get('b'), d.get('q'), d.get('q', 3), d.keys()|list, d.values()|list, d.keys(), d.a.values()
d|length
m[0].role, m[0]['role'], m.0.role, m|length, m[-1]['content']
s.upper(), s.lower(), s.title(), s.capitalize(), s.swapcase(), u.upper(), 'ÀÉß ω Ж'.lower(), 'ÿàé ωж'.upper()
w.strip(), w.lstrip(), w.rstrip(), 'xxaxx'.strip('x'), 'xyaxy'.lstrip('yx'), 'aé日é'.rstrip('é日'), [w.strip()], '\\u3000a\\u2003'.strip()
s.split(), s.split(','), s.split(', ', 1), s.split('o', maxsplit=1), s.split('l'), ' a  b c '.split(), ' a  b c '.split(none, 1), ''.split(), ''.split(','), 'a b  c  '.split(maxsplit=1)
s.rsplit('o', 1), s.rsplit('l'), ' a b  c '.rsplit(none, 1), ' a b c'.rsplit(maxsplit=0), 'a,b,c'.rsplit(',', maxsplit=1)
'a\\nb\\r\\nc\\rd\\n\\n'.splitlines(), 'a\\nb\\n'.splitlines(true), ''.splitlines()
s.startswith('He'), s.startswith(('x', 'H')), s.endswith('ld'), s.endswith('x'), s.startswith('lo', 3), s.endswith('lo', 0, 5), s.startswith(())
s.replace('l', 'L'), s.replace('l', '', 2), s.replace('', '-'), 'abc'.replace('', '-', 2), s.replace('zz', 'y'), ''.replace('', 'x')
s.find('o'), s.find('o', 5), s.find('zz'), s.rfind('o'), s.index('W'), s.count('l'), s.count(''), u.find('本'), u.rfind('🦉'), u.index('日', 2)
s.partition(', '), s.rpartition('o'), s.partition('zz'), s.rpartition('zz'), s.removeprefix('He'), s.removesuffix('ld'), s.removesuffix('q')
'-'.join(['a', 'b', 'c']), ''.join([]), ', '.join(d), 'x'.join('abc')
'12'.isdigit(), 'a1'.isdigit(), ''.isdigit(), 'ab'.isalpha(), 'a1'.isalnum(), ' \\n'.isspace(), 'AB'.isupper(), 'aB'.islower(), 'ab1'.islower(), '1'.isupper()
'ab'.ljust(5) ~ '|', 'ab'.rjust(5, '.') ~ '|', 'ab'.center(5) ~ '|', 'abc'.center(6, '-'), 'ab'.center(6, '-')
'%s and %d %.2f %5s|%-5s| %r %x %% %05d %+d' % ('a', 3, 2.567, 'r', 'l', 'q', 255, 42, 7)
'%s' % 5, '%s' % none, '%s %s' % (1, [2])
'{} {} {0}'.format(1, 2) if f else '{0} {1} {0} {name} {{}}'.format('a', 'b', name='c')
'{} {}'.format(1, 'x'), '{:.2f} {:>5} {:<5}| {:^7} {:05d} {:,} {:d} {:x} {:.3}'.format(1.005, 'a', 'b', 'c', 42, 1234567, 5, 255, 'abcdef')
[1, 2].index(2), [1, 2, 1].count(1), (1, 2).index(1)
a|first, a|last, b|first, b|last, s|first, s|last, a|length, s|length, u|length, n|d('x'), missing|d('x'), missing|default, e|default('x', true), e|default('x', boolean=true), n|default('z', true)
a|join, a|join(', '), m|join('/', attribute='role'), 'abc'|join('-'), [1, none, 'x']|join('|')
a|sort, a|sort(reverse=true), ['b', 'A', 'c']|sort, ['b', 'A', 'c']|sort(case_sensitive=true), m|sort(attribute='n')|map(attribute='role')|list
a|reverse|list, s|reverse, a|max, a|min, b|max, a|sum, m|sum(attribute='n'), m|sum('n', 10), m|max(attribute='n'), ['b', 'A']|min
[1, 1.0, 2, 'a', 'A', 'b']|unique|list, ['a', 'A']|unique(case_sensitive=true)|list, m|unique(attribute='role')|map(attribute='n')|list
m|map(attribute='role')|list, ['a', 'b']|map('upper')|join, a|map('string')|list, m|map(attribute='q', default='-')|list, [' a ']|map('trim')|first, ['a-b']|map('replace', '-', '+')|first
a|select('odd')|list, a|reject('odd')|list, a|select('gt', 1)|list, [0, 1, '', 'x']|select|list, [none, 1]|reject('none')|list, a|select('in', [1, 3])|list, a|select('>', 1)|list
m|selectattr('role', 'equalto', 'user')|list, m|rejectattr('role', 'eq', 'user')|map(attribute='n')|list, m|selectattr('q')|list, m|selectattr('n', 'ge', 2)|list|length, m|selectattr('q', 'defined')|list
(m|selectattr('role', 'equalto', 'zz')) and 'true though empty'
d|dictsort, {'b': 1, 'A': 3, 'c': 2}|dictsort, {'b': 1, 'A': 3}|dictsort(true), {'b': 2, 'A': 1}|dictsort(by='value'), {'b': 2, 'A': 1}|dictsort(reverse=true)
d|items|list, {}|items|list, missing|items|list, {'a': 1}|items|first
m|groupby('role')|list|length, m|groupby('role')|map('first')|list, m|groupby('n')|map(attribute='grouper')|list, (m|groupby('role')|first).list|length
[1, 2, 3, 4, 5]|batch(2)|list, [1, 2, 3]|batch(2, 'x')|list, [1, 2, 3, 4, 5]|slice(2)|list, [1, 2, 3]|slice(2, 'x')|list
'5'|int, '5.7'|int, 'x'|int, 'x'|int(3), 5.9|int, -5.9|int, none|int, '0x1f'|int(base=16), 'ff'|int(0, 16), true|int, ' 12 '|int
'5'|float, '5.5'|float, 'x'|float, 'x'|float(1.5), 3|float, '1e3'|float, none|float
2.5|round, 3.5|round, 2.675|round(2), 2.1|round(method='ceil'), 2.9|round(0, 'floor'), 5|round, -2.5|round, 1234|round(-2), 2.55|round(1, 'ceil')
-5|abs, -2.5|abs, 5|abs, (-3)|abs
s|upper, s|lower, s|title, "it's a-b (c) [d] x_y"|title, s|capitalize, 'aBC dEF'|capitalize, 5|upper, none|upper
w|trim, 'xax'|trim('x'), 5|trim, [w|trim]
'a\\nb\\n\\nc'|indent, 'a\\nb'|indent(2, true), 'a\\n\\nb'|indent(2, blank=true), 'a\\nb\\n'|indent('> '), 'a'|indent(first=true), ''|indent(2, true)
s|replace('l', 'L'), s|replace('l', 'L', 1), 515|replace('5', 'x')
s|truncate(9), 'a long text of many words'|truncate(12), 'a long text of many words'|truncate(12, true), 'a long text of many words'|truncate(12, false, '~'), 'abcdefghijkl'|truncate(5, leeway=0), s|truncate(20)
s|wordcount, 'a b-c d_e 1'|wordcount, 'x'|center(7) ~ '|', s|urlencode, 'é/ &'|urlencode
'%s-%s'|format('a', 'b'), '%(x)s'|format(x=1), '%05.1f'|format(2.25)
h|e, h|escape, h|e|e, h|forceescape, h|safe, (h|e) ~ '<', ('<'|e) + '<', '<' + ('<'|safe), ('<'|safe) + '>', ['<'|safe]
h|tojson, d|tojson, d|tojson(indent=2), d|tojson(indent=0), b|tojson(indent=2), {}|tojson(indent=4), d|tojson(sort_keys=true), d|tojson(separators=(',', ':')), u|tojson, u|tojson(ensure_ascii=true)
[1.0, 1e16, 1e-7, 0.1, none, true, 'a"\\\\/\\b\\f\\n\\r\\t\\x01\\x7f']|tojson, {1: 2, none: 3, true: 4, 1.5: 5}|tojson, (1, 2)|tojson, s|tojson|safe, {'a': [1, {'b': []}]}|tojson(indent=2, separators=(',', ': '))
d|string, a|string, 5|string|length, none|string, d|list, s|list, {'a': 1}|list
a is defined, missing is defined, missing is undefined, n is none, n is not none, t is true, f is false, 1 is true, t is boolean, 1 is boolean
1 is integer, true is integer, 1.0 is integer, 1.0 is float, 1 is number, true is number, '1' is number, s is string, h|e is string
a is sequence, s is sequence, d is sequence, 5 is sequence, d is mapping, a is mapping, a is iterable, s is iterable, d is iterable, 5 is iterable, none is iterable, missing is iterable
2 is even, 3 is odd, 9 is divisibleby 3, 9 is divisibleby(2), 1 is eq 1, 1 is equalto(2), 1 is ne 2, 1 is lt 2, 2 is ge 2, 3 is gt 4, 1 is in [1, 2], 'a' is in 'abc', 1 is sameas 1, n is sameas none
'abc' is lower, 'ABC' is upper, range is callable, s is callable, 'upper' is filter, 'zz' is filter, 'odd' is test, h|e is escaped
range(5)|list, range(1, 4)|list, range(10, 0, -3)|list, range(0)|list, range(3), range(1, 9, 2), range(5)[1], range(5)|length, 3 in range(5)
dict(a=1, b=2), dict({'a': 1}, b=2), dict([('a', 1)]), namespace(a=1).a
missing, missing ~ 'x', [missing], missing|length, missing|list, missing|join, missing == missing, missing == none, missing == '', 'x' in missing, not missing
a + [4], (1,) + (2,), 'a' + 'b', 'ab' * 3, 3 * 'ab', [1] * 3, [1] + b, 'a' * 0, 'a' * -1, true + 1
a == [3, 1, 2], {'a': 1} == {'a': 1.0}, (1,) == [1], 'a' == 1, none == false, 0 == false
strftime_now('%d %b %Y %H:%M'), strftime_now('%Y-%m-%d'), strftime_now('%A %B %e') | length > 3
d['a']['k'] | tojson, d.a.k[1:3] | join('-')
s is string and s | length > 3, a | length == 3 and not b
-1 | abs, 5 | string ~ 'x', (1 + 2) | string, -a | first if f else 1
m | map(attribute='content') | map('lower') | join(',') | upper
'a' if missing else 'b', 'x' if a is defined and a else 'y', a[0] if a[0] > 2 else none
[[1, 2], [3]] | sum(start=[]), [0.1, 0.2] | sum, ['a'] * 2
{'a': 1}.get('a'), d.missing.x if f else 'ok'
'abc'.upper().lower()[1:].replace('b', 'x')|title
'\\u65e5' == '日', 'é' == '\\xe9', '🦉' | length, '🦉'[0], 'Straße' | upper if f else 1
cycler('a', 'b').next(), joiner(',')() ~ 'x'
'tru' 'e' == 'true', "{{ not a tag }}", '{% neither %}', "#}"
{'a':1,}['a'], [1,2,][1], {'x': {'y': {'z': 5}}}.x.y.z
1.0 | int | string, '3' * 2, 10 | float | string, 1e3 | int, 3.0 == 3, 7 | string | int + 1
'a,b;c'.split(',')[1].split(';') | last, ' x '.strip().split(' ')
caller is defined, loop is defined
'x' ~ (none or 'y') ~ ('' and 'z'), (1, 'a') | tojson, none | tojson, true | tojson
a | map('int') | sum, ['1', '2'] | map('int') | list, [[1, 2], [3, 4]] | map('sum') | list, [{'a': {'b': 5}}] | map(attribute='a.b') | list, [[7, 8]] | map(attribute=1) | list
'a b'.split(' ') | map('capitalize') | join(' '), 'x' in ['x', 'y'] and 'x' not in 'abc'
'%d%%' % 5, '%5.1f|' % 3.14159, '%-8s|' % 'ab', '%s' % (('a', 'b') | join)
'''.strip().split('\n')

# Those that both must refuse.
REFUSED = '''
{{ missing.x }}
{{ d.zz.y }}
{{ d.zz['y'] }}
{{ missing() }}
{{ missing + 1 }}
{{ 1 + 'a' }}
{{ 'a' + 1 }}
{{ 'a' < 1 }}
{{ none < 1 }}
{{ 5|length }}
{{ n|length }}
{{ n|list }}
{{ (a|map('string'))|length }}
{{ 1 in 5 }}
{{ 5 in 'abc' }}
{{ 1 // 0 }}
{{ 1 % 0 }}
{{ s.nosuch() }}
{{ s|nosuch }}
{{ s is nosuch }}
{{ [1].index(5) }}
{{ 'a'.index('b') }}
{{ {}.nosuch() }}
{{ raise_exception('no') }}
{{ missing|tojson }}
{{ -missing }}
{{ -'a' }}
{% for x in 5 %}{% endfor %}
{% for x in n %}{% endfor %}
{% for a, b in [1, 2] %}{% endfor %}
{% for a, b in [[1]] %}{% endfor %}
{% set q.x = 1 %}
{% set ns = {} %}{% set ns.x = 1 %}
{% macro f(a) %}{% endmacro %}{{ f(1, 2) }}
{% macro f(a) %}{% endmacro %}{{ f(b=2) }}
{% if %}{% endif %}
{% if t %}
{% endif %}
{% for x in a %}
{{ a b }}
{{ (1 }}
{{ 'abc }}
{{ }}
{% nosuch %}
{% break %}
{{ 1 is odd is even }}
{# never
{{ a[ }}
{{ {'a' 1} }}
{{ [[1]] | tojson(nosuch=1) }}
{{ 'x'.split('') }}
{{ '%d' % 'x' }}
{{ '%s %s' % 'x' }}
{{ range(1000000) }}
{{ ['a', 1] | sort }}
{{ {[1]: 2} }}
{{ [1, 2] | join(attribute='x').y }}
{% call f() %}x{% endcall %}
{{ 'a'.join([1]) }}
{{ ('x' * 5).format.nosuch.y }}
{{ 5() }}
{{ 5.5.x.y }}
'''.strip().split('\n')

# Whole templates, divided by lines of ----.
TEMPLATES = '''{% for x in a %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.depth }};{% endfor %}
----
{% for x in b %}x{% else %}empty{% endfor %}{% for x in a if x > 1 %}{{ loop.index }}{{ x }}{% else %}none{% endfor %}{% for x in a if x > 5 %}x{% else %}none{% endfor %}
----
{% for x in a %}{% if x == 1 %}{% continue %}{% endif %}{% if x == 2 %}{% break %}{% endif %}{{ x }}{% endfor %}
----
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k in d %}{{ k }}{% endfor %}{% for c in u %}[{{ c }}]{% endfor %}{% for x, (y, z) in [[1, [2, 3]]] %}{{ x }}{{ y }}{{ z }}{% endfor %}
----
{% set x = 1 %}{% for y in a %}{% set x = y %}{{ x }}{% endfor %}{{ x }}{% if t %}{% set x = 9 %}{% endif %}{{ x }}{% set p, q = 1, 2 %}{{ p + q }}{% set r = 1, 2 %}{{ r }}
----
{% set ns = namespace(found=false, n=0) %}{% for y in a %}{% set ns.n = ns.n + y %}{% if y == 1 %}{% set ns.found = true %}{% endif %}{% endfor %}{{ ns.found }}{{ ns.n }}{{ ns.missing }}
----
{% macro f(a, b=2, c='x') %}[{{ a }}|{{ b }}|{{ c }}]{% endmacro %}{{ f(1) }}{{ f(1, c=3) }}{{ f(b=1, a=2) }}{{ f() }}{{ f(*[7, 8]) }}{{ f(**{'a': 5, 'c': 6}) }}
----
{% macro f() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, x=3) }}{% macro g(x) %}{{ caller is defined }}{{ x }}{{ varargs|length }}{% endmacro %}{{ g(1, 2) }}
----
{% macro outer() %}{{ inner(2) }}{% endmacro %}{% macro inner(n) %}<{{ n }}{{ top }}>{% endmacro %}{% set top = 'T' %}{{ outer() }}
----
{% macro fact(n) %}{{ n if n <= 1 else (n * (fact(n - 1)|int)) }}{% endmacro %}{{ fact(10) }}
----
{% macro list(items) %}<ul>{% for i in items %}<li>{{ caller(i, loop.index) }}</li>{% endfor %}</ul>{% endmacro %}{% call(item, n) list(a) %}{{ n }}:{{ item }}{% endcall %}
----
{% macro box() %}[{{ caller() }}]{% endmacro %}{% call box() %}in {{ s }}{% call box() %}deeper{% endcall %}{% endcall %}
----
{% filter upper %}abc {{ s }}{% endfilter %}{% filter replace('a', 'b')|trim %}  aaa  {% endfilter %}
----
{% set block %}<{{ s }}>{% endset %}{{ block }}{{ block|length }}{% set up | upper | replace('L', 'x') %}all {{ s }}{% endset %}{{ up }}
----
{% for x in [[1, [2, 3]], 4] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}:{{ loop.depth }}{{ loop.depth0 }}{% endif %}{% endfor %}
----
{% for x in a %}{{ loop.cycle('odd', 'even') }}{{ loop.changed(x > 1) }}{% endfor %}{% set c = cycler('x', 'y') %}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.next() }}{{ c.reset() }}{{ c.current }}{% set j = joiner(', ') %}{% for x in a %}{{ j() }}{{ x }}{% endfor %}
----
{% with x = 1, y = s %}{{ x }}{{ y }}{% set z = 2 %}{% endwith %}{{ x }}{{ z is defined }}
----
  {% if t %}
  yes
    {% else %}
  no
  {% endif %}
end
----
  {%- if t -%}
  yes
  {%- endif -%}
 end
----
a
  {%+ if t %}b{% endif +%}
c {%- if t %} d{% endif %}

e {#- comment -#}   f
  {# a comment line #}
g {# inline #} h
{#- x +#}
i
----
{{ s -}}
   x
   {{- s }}
  {{ s }}
{{ s }}

----
{% raw %}{{ x }} {% if %} {# c #}{% endraw %}|{%- raw -%}  a  {%- endraw -%}  |
  {% raw %}
 x
  {% endraw %}
y
----
{% generation %}gen {{ s }}{% set inside = 1 %}{% endgeneration %}{{ inside is defined }}
----
{% if f %}a{% elif n %}b{% elif t %}c{% else %}d{% endif %}{% if f %}a{% elif n %}b{% else %}d{% endif %}{% if missing %}x{% endif %}
----
{% for m in m %}{% if m['role'] == 'user' %}U:{{ m.content|trim }}{% elif m.role == 'assistant' %}A:{{ m['content'] }}{% endif %}{% if not loop.last %}|{% endif %}{% endfor %}
----
{%- set content = '<think>\\n a \\n</think>\\n\\n b' -%}{{ content.split('</think>')[-1].lstrip('\\n') }}|{{ content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') }}|{{ (content.split('</think>')|last).lstrip() }}
----
{% set ns = namespace(multi=true, last=m|length - 1) %}{% for x in m[::-1] %}{% set index = (m|length - 1) - loop.index0 %}{% if ns.multi and x.role == 'user' and not (x.content.startswith('<t>') and x.content.endswith('</t>')) %}{% set ns.multi = false %}{% set ns.last = index %}{% endif %}{% endfor %}{{ ns.last }}{{ ns.multi }}
----
{% for item in [1, 2, 3] %}{% for inner in 'ab' %}{{ loop.index }}{% set last = loop %}{% endfor %}{{ loop.index }}{% endfor %}
----
{% block title %}In a block {{ s }}{% endblock %}{% block x %}{% endblock x %}
----
{% for k, v in {'b': 1, 'a': 2}|dictsort %}{{ k }}{{ v }}{% endfor %}{% for r, l in m|groupby('role') %}{{ r }}{{ l|length }}{% endfor %}
----
{% set x = none %}{% if x is none %}none{% endif %}{% set y = [] %}{% set y = y + [1] %}{% set y = y + ['z'] %}{{ y }}{% set d2 = dict(d, c=3) %}{{ d2.c }}
----
{{ '' }}
line

----
{% for x in (1, 2) %}{% set outer = loop %}{% for y in (1, 2) %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}
----
{% macro a(x) %}{% if x > 0 %}{{ b(x - 1) }}a{% endif %}{% endmacro %}{% macro b(x) %}{% if x > 0 %}{{ a(x - 1) }}b{% endif %}{% endmacro %}{{ a(5) }}
----
{% set g = m|selectattr('role', 'equalto', 'user') %}{% for x in g %}{{ x.content }}{% endfor %}{% for x in g %}again{% else %}empty{% endfor %}
----
{% if 'a' not in d %}x{% endif %}{% if not 'zz' in d and d.b is defined %}y{% endif %}{{ 'ok' if d.a is mapping and d.a.k is not string }}
----
{% set tools = '[{"a": 1}]' %}{{ tools|tojson }}{% for t in [d] %}{{ t|tojson(indent=4) }}{% endfor %}
----
{%- macro render(v, depth) -%}{%- if v is mapping -%}{ {%- for k, x in v|dictsort -%}{{ k }}: {{ render(x, depth + 1) }}{{ ", " if not loop.last }}{%- endfor -%} }{%- elif v is sequence and v is not string -%}[{%- for x in v -%}{{ render(x, depth + 1) }}{{ ", " if not loop.last }}{%- endfor -%}]{%- else -%}{{ v|string|lower if v is boolean else v }}{%- endif -%}{%- endmacro -%}{{ render(d, 0) }}
----
{% for i in [1, 2, 3] %}{% if i == 2 %}{% set z = i %}{% endif %}[{{ z }}]{% endfor %}{% set z = 9 %}{% for i in [1, 2] %}{{ z }}{% set z = i %}{{ z }}{% for k in [1] %}{{ z }}{% endfor %}{% endfor %}{% for i in [1, 2] %}{% if i == 1 %}{% set q = i %}{% endif %}{% macro f() %}{{ q }}{{ i }}{% endmacro %}{{ f() }}{% endfor %}'''.split('\n----\n')
