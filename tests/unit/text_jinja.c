// text_jinja.c - the template language: what is printed, what is refused with its line, who wrote
// each byte, and that nothing goes on for ever.
//
// The vectors were computed with Jinja2; the golden tier compares many more with Jinja2 itself.
#include "../../engine/text/jinja.h"
#include "check.h"

static const char variables_json[] =
    "{\"a\":[3,1,2],\"s\":\"Hello, "
    "World\",\"u\":\"Z\xc3\xbcrich\",\"n\":null,\"t\":true,\"f\":false,"
    "\"d\":{\"b\":1,\"k\":[1.0,\"it's\"],\"items\":\"mine\"},\"h\":\"<a&'>\","
    "\"m\":[{\"role\":\"user\",\"content\":\" Hi \"},{\"role\":\"assistant\",\"content\":\"Yo\"}]}";

static enum status render(struct jinja_text *out, const char *source, struct err *err)
{
    struct arena arena;
    struct value value;
    struct jinja *jinja;
    struct jinja_variable variables[16];
    size_t n = 0;
    arena_init(&arena, 1 << 16);
    CHECK(value_read(&value, &arena, bytes_of(variables_json), err) == OK);
    for (; n < value.dict.n; n++)
        variables[n] = (struct jinja_variable){(const char *)value.dict.members[n].name.p,
                                               &value.dict.members[n].value, false};
    enum status status = jinja_open(&jinja, bytes_of(source), err);
    if (status == OK) {
        status = jinja_render(out, jinja, variables, n, 0, err);
        jinja_close(jinja);
    }
    arena_free(&arena);
    return status;
}

static void gives(const char *source, const char *want)
{
    struct jinja_text text;
    struct err err;
    if (!CHECK(render(&text, source, &err) == OK)) {
        fprintf(stderr, "    %s\n    %s\n", source, err.text);
        return;
    }
    if (!CHECK(bytes_equal_text((struct bytes){text.p, text.n}, want)))
        fprintf(stderr, "    %s\n    got  \"%.*s\"\n    want \"%s\"\n", source, (int)text.n,
                (const char *)text.p, want);
    jinja_text_free(&text);
}

static void test_expressions(void)
{
    gives("{{ 1 + 2 * 3 ** 2 // 4 % 5 - 6 / 4 }} {{ -7 // 2 }} {{ -7 % 3 }}", "3.5 -4 2");
    gives("{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 2 in a }} {{ 'k' not in d }}",
          "True False True False");
    gives("{{ n or 'x' }} {{ t and 5 }} {{ not t }} {{ 'y' if f }}|{{ 1 if f else 2 }}",
          "x 5 False |2");
    gives("{{ a[::-1] }} {{ u[1:3] }} {{ u[::-1] }} {{ a[-1] }} {{ a[9] }}",
          "[2, 1, 3] \xc3\xbcr hcir\xc3\xbcZ 2 ");
    gives("{{ d }} {{ d.k[1] }} {{ d['items'] }} {{ (1,) }} {{ 1e16 }} {{ 1.5e-7 }}",
          "{'b': 1, 'k': [1.0, \"it's\"], 'items': 'mine'} it's mine (1,) 1e+16 1.5e-07");
    gives("{{ 'a' 'b' ~ 1 ~ none }} {{ '\\x41\\n' }}{{ '%s-%02d' % ('x', 7) }}", "ab1None A\nx-07");
    gives("{{ missing }}{{ missing is defined }} {{ 3 is odd }} {{ d is mapping }}",
          "False True True");
    gives("{{ h|e + '<' }} {{ h|safe }} {{ d|tojson }}",
          "&lt;a&amp;&#39;&gt;&lt; <a&'> {\"b\": 1, \"k\": [1.0, \"it's\"], \"items\": \"mine\"}");
    gives("{{ s.split(', ')[-1].lower() }} {{ 'xax'.strip('x') }} {{ s.replace('l', 'L', 1) }}",
          "world a HeLlo, World");
    gives("{{ m|selectattr('role', 'equalto', 'user')|map(attribute='content')|first|trim }}",
          "Hi");
    gives("{{ a|sort|join('-') }} {{ a|reject('odd')|list }} {{ {'a': [1]}|tojson(indent=1) }}",
          "1-2-3 [2] {\n \"a\": [\n  1\n ]\n}");
}

static void test_statements(void)
{
    gives("{% for x in a %}{{ loop.index }}:{{ x }}{{ ', ' if not loop.last }}{% endfor %}",
          "1:3, 2:1, 3:2");
    gives("{% for x in a if x > 1 %}{{ x }}{% endfor %}{% for x in [] %}x{% else %}-{% endfor %}",
          "32-");
    gives("{% for x in a %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% if x == 2 %}"
          "{% break %}{% endif %}{% endfor %}",
          "32");
    gives("{% set x = 1 %}{% for y in a %}{% set x = y %}{% endfor %}{{ x }}", "1");
    gives("{% set ns = namespace(x=1) %}{% for y in a %}{% set ns.x = y %}{% endfor %}{{ ns.x }}",
          "2");
    gives(
        "{% macro f(p) %}{{ g(p) }}{% endmacro %}{% macro g(p, q='!') %}{{ p }}{{ q }}{% endmacro "
        "%}{{ f('x') }}{{ g(q=1, p=2) }}",
        "x!21");
    gives("{% macro box() %}[{{ caller(1) }}]{% endmacro %}{% call(x) box() %}{{ x }}{% endcall %}",
          "[1]");
    gives("{% set x %}a{{ s[0] }}{% endset %}{{ x }}{% filter upper %}b{% endfilter %}", "aHB");
    gives("{% for x in [[1, [2]], 3] recursive %}{{ loop(x) if x is iterable else x }}{% endfor %}",
          "123");
    gives("{% set l = [] %}{% set _ = l.append(1) %}{{ l }}", "[1]");
    gives("{% generation %}g{% endgeneration %}{% raw %}{{ x }}{% endraw %}", "g{{ x }}");
}

static void test_white_space(void)
{
    gives("  {% if t %}\n  yes\n  {% endif %}\nend\n", "  yes\nend");
    gives("a \n {%- if t -%} \n b \n{%- endif %}\nc", "abc");
    gives("  {%+ if t %}b{% endif +%}\nc", "  b\nc");
    gives("x {# c #}\ny{{ 1 }}\n{{- 2 -}} \n z", "x y12z");
    gives("a\r\nb\rc\n", "a\nb\nc");
}

// A word of the sentence, and its line.
static void refuses(const char *source, enum status status, const char *word)
{
    struct jinja_text text = {NULL, NULL, 0};
    struct err err = {OK, ""};
    if (!CHECK(render(&text, source, &err) == status && strstr(err.text, word)))
        fprintf(stderr, "    %s\n    %s\n", source, err.text);
    jinja_text_free(&text);
}

static void test_refused(void)
{
    refuses("a\n{% nosuch %}", UNSUPPORTED, "line 2: the tag {% nosuch %}");
    refuses("\n\n{{ s|nosuch }}", UNSUPPORTED, "line 3: there is no filter 'nosuch'");
    refuses("{{ s is nosuch }}", UNSUPPORTED, "there is no test 'nosuch'");
    refuses("{% include 'x' %}", UNSUPPORTED, "include");
    refuses("{% if t %}\nx", BAD_INPUT, "endif");
    refuses("{{ (1 }}", BAD_INPUT, "line 1");
    refuses("{{ 'a }}", BAD_INPUT, "not closed");
    refuses("{{ missing.x }}", BAD_INPUT, "'missing' is undefined");
    refuses("{{ d.zz.y }}", BAD_INPUT, "'dict' has no member 'zz'");
    refuses("{{ 1 + 'a' }}", BAD_INPUT, "between 'int' and 'str'");
    refuses("{{ raise_exception('Only ' ~ s) }}", BAD_INPUT, "Only Hello, World");
    refuses("{{ 9223372036854775807 + 1 }}", UNSUPPORTED, "63 bits");
    refuses("\xff", BAD_INPUT, "UTF-8");
}

// Who wrote which byte: T the template, c the client.
static void written(const char *source, const char *want)
{
    struct jinja_text text;
    struct err err;
    char by[64] = "";
    if (!CHECK(render(&text, source, &err) == OK))
        return;
    for (size_t i = 0; i < text.n && i < 63; i++)
        by[i] = text.client[i] ? 'c' : 'T';
    CHECK_TEXT(by, want);
    jinja_text_free(&text);
}

static void test_origin(void)
{
    written("ab{{ s[:3] }}c", "TTcccT");
    written("{% set x = '<' ~ s[0] + '>' %}{{ x * 2 }}", "TcTTcT");
    written("{{ ('<' ~ s[:2] ~ '>').replace('H', 'TT') }}", "TTTcT");
    written("{{ s[:2]|upper }}{{ s[:2]|tojson }}", "ccTccT");
    written("{{ [s[0], 'x']|join('-') }}{{ '%s|' % s[0] }}", "cTTcT");
    written("{% macro f(x) %}<{{ x }}{% endmacro %}{{ f(s[0])|trim }}", "Tc");
    written("{{ (s[:2] ~ ' ')|trim }}{{ [s[0]] }}", "ccTTcTT");
    written("{{ m[0].content|trim }}{{ m[0].keys()|first }}", "cccccc");
}

// Each of these would take for ever, or all memory.
static void test_bounds(void)
{
    static const char *const sources[] = {
        "{% for x in range(99999) %}{% for y in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
        "{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% "
        "endfor %}",
        "{{ 'a' * 9999999999 }}",
        "{{ [1] * 9999999999 }}",
        "{% set l = [1] %}{% for i in range(99) %}{% set _ = l.extend(l) %}{% endfor %}",
        "{% set l = [] %}{% set _ = l.append(l) %}{{ l }}",
        "{% set l = [] %}{% set _ = l.append(l) %}{{ l|tojson }}",
        "{% set l = [] %}{% set k = [] %}{% set _ = l.append(k) %}{% set _ = k.append(l) %}{{ l == "
        "k }}",
        "{{ '%99999999s' % 'x' * 99999 }}",
        "{{ 'a'.ljust(999999999) }}",
        "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "{{ 2 ** 99999999999 }}",
        "{{ ('ab' * 99999).replace('a', 'xyz' * 9999) }}",
        "{% filter indent(9999999999) %}a\nb{% endfilter %}",
    };
    for (size_t i = 0; i < COUNT_OF(sources); i++) {
        struct jinja_text text = {NULL, NULL, 0};
        struct err err = {OK, ""};
        enum status status = render(&text, sources[i], &err);
        if (!CHECK((status == TOO_LARGE || status == UNSUPPORTED) && err.text[0]))
            fprintf(stderr, "    %s\n    %d %s\n", sources[i], status, err.text);
        jinja_text_free(&text);
    }
    static char deep[9000];
    memset(deep, '(', 4000);
    memcpy(deep, "{{", 2);
    refuses(deep, BAD_INPUT, "too many brackets");
    for (int i = 0; i < 1000; i++)
        memcpy(deep + 3 + 4 * i, "not ", 4);
    memcpy(deep, "{{ ", 3);
    memcpy(deep + 4003, "1 }}", 5);
    refuses(deep, TOO_LARGE, "within each other");
}

int main(void)
{
    test_expressions();
    test_statements();
    test_white_space();
    test_refused();
    test_origin();
    test_bounds();
    return check_done("text_jinja");
}
