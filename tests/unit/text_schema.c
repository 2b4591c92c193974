// text_schema.c - JSON schemas: which texts each allows, which it does not, what is refused with
// its path, what is noted, and how long large and hostile ones take.
#include "../../engine/text/matcher.h"
#include "check.h"
#include "grammar_fixture.h"

#include <time.h>

static struct grammar *compile(const char *json, struct notes *notes, struct err *err)
{
    struct arena arena;
    struct value schema;
    struct grammar *g = NULL;
    arena_init(&arena, 64 << 20);
    *notes = (struct notes){0};
    *err = (struct err){0};
    if (CHECK(value_read(&schema, &arena, bytes_of(json), err) == OK))
        (void)grammar_compile_schema(&g, &schema, &(struct grammar_options){.path = "schema"},
                                     notes, err);
    arena_free(&arena);
    return g;
}

static void check_schema(const char *json, const char *const *whole, const char *const *wrong)
{
    struct notes notes;
    struct err err;
    struct grammar *g = compile(json, &notes, &err);
    if (!CHECK(g))
        fprintf(stderr, "    %s: %s\n", json, err.text);
    int failed = check_n_failed;
    check_texts(g, whole, wrong);
    if (check_n_failed > failed)
        fprintf(stderr, "    of %s\n", json);
}

static void test_objects(void)
{
    check_schema(
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":"
        "\"string\"},\"c\":{\"type\":\"boolean\"}},\"required\":[\"b\"]}",
        TEXTS("{\"b\":\"\"}", "{\"a\":1,\"b\":\"x\",\"c\":true}", "{\"b\": \"x\", \"c\": false}",
              "{\n  \"a\": -5,\n  \"b\": \"\\n\"\n}"),
        TEXTS("{}", "{\"a\":1}", "{\"b\":1}", "{\"b\":\"\",\"a\":1}", "{\"b\":\"\",}",
              "{\"a\":1.5,\"b\":\"\"}", "{\"b\":\"\",\"d\":1}", "{,\"b\":\"\"}"));
    check_schema(
        "{\"additionalProperties\":{\"type\":\"string\"},\"properties\":{\"n\":{\"type\":"
        "\"null\"}}}",
        TEXTS("{}", "{\"n\":null}", "{\"n\":null,\"x\":\"y\"}", "{\"x\":\"y\",\"nn\":\"\"}"),
        TEXTS("{\"x\":1}", "{\"n\":\"\"}", "{\"x\":\"\",\"n\":null}", "{\"n\":null,\"n\":\"\"}"));
    check_schema("{\"type\":\"object\",\"patternProperties\":{\"^x-\":{\"type\":\"integer\"}},"
                 "\"additionalProperties\":false}",
                 TEXTS("{}", "{\"x-\":1,\"x-a\":2}"), TEXTS("{\"a\":1}", "{\"x-a\":\"\"}"));
    check_schema(
        "{\"type\":\"object\",\"patternProperties\":{\"^x\":{\"type\":\"integer\"}},"
        "\"additionalProperties\":{\"type\":\"null\"},\"properties\":{\"xa\":{\"minimum\":5}}}",
        TEXTS("{\"xa\":5}", "{\"xb\":1,\"b\":null}"),
        TEXTS("{\"xa\":4}", "{\"xb\":null}", "{\"b\":1}"));
    check_schema(
        "{\"type\":\"object\",\"minProperties\":2,\"maxProperties\":3,\"properties\":{\"a\":{"
        "\"const\":1},\"b\":{\"const\":2},\"c\":{\"const\":3},\"d\":{\"const\":4}}}",
        TEXTS("{\"a\":1,\"b\":2}", "{\"a\":1,\"c\":3,\"d\":4}"),
        TEXTS("{}", "{\"a\":1}", "{\"a\":1,\"b\":2,\"c\":3,\"d\":4}"));
    check_schema("{\"type\":\"object\"}", TEXTS("{}", "{\"a\":[1]}"), TEXTS("[]", "null"));
    check_schema("{\"type\":\"object\",\"additionalProperties\":false}", TEXTS("{}"),
                 TEXTS("{\"a\":1}"));
    check_schema("{\"required\":[\"a\"],\"properties\":{\"a\":{},\"\\\"\\u00e9\\n\":true}}",
                 TEXTS("{\"a\":[{}]}", "{\"a\":1,\"\\\"\xc3\xa9\\n\":2}"), TEXTS("{}", "1"));
}

static void test_arrays(void)
{
    check_schema(
        "{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"minItems\":3,\"maxItems\":4}",
        TEXTS("[1,2,3]", "[1, 2, 3, 4]"), TEXTS("[]", "[1,2]", "[1,2,3,4,5]", "[1,2,3,]"));
    check_schema("{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"minItems\":1}",
                 TEXTS("[1]", "[1,2,3,4,5,6]"), TEXTS("[]", "[true]"));
    check_schema(
        "{\"prefixItems\":[{\"type\":\"string\"},{\"type\":\"null\"}],\"items\":{\"const\":7}}",
        TEXTS("[]", "[\"\"]", "[\"\",null]", "[\"\",null,7,7]"),
        TEXTS("[null]", "[\"\",7]", "[\"\",null,8]"));
    check_schema("{\"prefixItems\":[{\"type\":\"string\"}],\"minItems\":1}", TEXTS("[\"\"]"),
                 TEXTS("[]", "[\"\",1]"));
    check_schema("{\"items\":[{\"type\":\"string\"},true],\"additionalItems\":false}",
                 TEXTS("[\"\",{}]", "[]"), TEXTS("[\"\",1,2]", "[1]"));
    check_schema("{\"type\":\"array\",\"items\":false}", TEXTS("[]"), TEXTS("[1]"));
    check_schema("{\"type\":\"array\",\"maxItems\":0}", TEXTS("[]", "[ ]"), TEXTS("[1]"));
}

static void test_values(void)
{
    check_schema("{\"enum\":[1,true,null,\"\xc3\xa9\",{\"a\":[2]},1.5]}",
                 TEXTS("1", "true", "null", "\"\xc3\xa9\"", "{\"a\":[2]}", "1.5"),
                 TEXTS("2", "false", "\"e\"", "{}", "15"));
    check_schema("{\"enum\":[1,\"a\",12,null],\"type\":[\"integer\",\"null\"],\"minimum\":5}",
                 TEXTS("12", "null"), TEXTS("1", "\"a\""));
    check_schema("{\"type\":\"string\",\"nullable\":true,\"maxLength\":2}",
                 TEXTS("null", "\"\"", "\"\xc3\xa9\\n\"", "\"\\ud83d\\ude00x\""),
                 TEXTS("\"abc\"", "1"));
    check_schema("{\"const\":null}", TEXTS("null"), TEXTS("\"\"", "0"));
    check_schema("true", TEXTS("1", "[]", "{\"a\":null}", "\"\"", "-0.5e3"), TEXTS("", "a"));
    check_schema("{\"type\":[\"boolean\",\"number\"]}", TEXTS("true", "-1.25", "0"),
                 TEXTS("null", "\"\"", "01", "+1"));
}

static void test_numbers(void)
{
    check_schema("{\"type\":\"integer\",\"minimum\":-9223372036854775808,\"maximum\":"
                 "9223372036854775807}",
                 TEXTS("0", "-9999999999999999", "9007199254740993"), TEXTS("1.5", "\"\""));
    check_schema("{\"type\":\"integer\",\"minimum\":0,\"maximum\":18446744073709551615}",
                 TEXTS("0", "9999999999999999"), TEXTS("-1"));
    check_schema("{\"type\":\"integer\",\"minimum\":9007199254740991,\"maximum\":9007199254740992}",
                 TEXTS("9007199254740991", "9007199254740992"),
                 TEXTS("9007199254740990", "9007199254740993"));
    check_schema("{\"type\":\"integer\",\"minimum\":-12,\"maximum\":105}",
                 TEXTS("0", "-12", "-9", "105", "99", "100", "7"),
                 TEXTS("-13", "106", "1000", "-100", "-0", "007", "1.0"));
    check_schema("{\"type\":\"integer\",\"exclusiveMinimum\":5}",
                 TEXTS("6", "10", "1234567890123456"), TEXTS("5", "-6", "0"));
    check_schema("{\"type\":\"integer\",\"minimum\":3,\"exclusiveMinimum\":true,\"maximum\":4}",
                 TEXTS("4"), TEXTS("3", "5"));
    check_schema("{\"type\":\"integer\",\"multipleOf\":7,\"minimum\":0,\"maximum\":30}",
                 TEXTS("0", "7", "14", "28"), TEXTS("1", "8", "35", "-7"));
    check_schema("{\"type\":\"number\",\"multipleOf\":5}", TEXTS("-15", "0", "100"),
                 TEXTS("1", "5.5"));
    check_schema("{\"type\":\"number\",\"minimum\":0.5,\"exclusiveMaximum\":1.25}",
                 TEXTS("0.5", "1", "1.2", "1.249999", "0.999"),
                 TEXTS("0.49", "1.25", "2", "0", "1.3", "-0.7", "0.5e1"));
    check_schema("{\"type\":\"number\",\"minimum\":-1.5,\"maximum\":0}",
                 TEXTS("-1.5", "-0.000001", "0", "0.0", "-1"), TEXTS("-1.6", "0.1", "-2", "1"));
    check_schema("{\"type\":\"number\",\"exclusiveMinimum\":0,\"exclusiveMaximum\":1}",
                 TEXTS("0.1", "0.999999"), TEXTS("0", "1", "0.0", "1.0"));
}

static void test_strings(void)
{
    check_schema("{\"type\":\"string\",\"pattern\":\"\\\\S\"}",
                 TEXTS("\"a\"", "\" b \"", "\"\xc3\xa9\""), TEXTS("\"\"", "\"  \""));
    check_schema("{\"type\":\"string\",\"pattern\":\"^ab\"}", TEXTS("\"ab\"", "\"abc\\n\""),
                 TEXTS("\"cab\"", "\"a\""));
    check_schema(
        "{\"type\":\"string\",\"pattern\":\"^[a-z\\\"]+$\",\"minLength\":2,\"maxLength\":3}",
        TEXTS("\"ab\"", "\"a\\\"c\""), TEXTS("\"a\"", "\"abcd\"", "\"aB\""));
    check_schema("{\"allOf\":[{\"pattern\":\"a\"},{\"pattern\":\"b\",\"type\":\"string\"}]}",
                 TEXTS("\"ab\"", "\"xbya\""), TEXTS("\"a\"", "\"b\""));
    check_schema("{\"format\":\"date\"}", TEXTS("\"2024-02-28\"", "\"1999-12-31\""),
                 TEXTS("\"2024-02-30\"", "\"2024-13-01\"", "\"24-01-01\""));
    check_schema("{\"type\":\"string\",\"format\":\"date-time\"}",
                 TEXTS("\"2024-01-31T23:59:59Z\"", "\"2024-01-31T00:00:00.5+02:00\""),
                 TEXTS("\"2024-01-31 00:00:00Z\"", "\"\""));
    check_schema("{\"type\":\"string\",\"format\":\"uuid\"}",
                 TEXTS("\"123e4567-e89b-12d3-a456-426614174000\""), TEXTS("\"123e4567\""));
    check_schema("{\"type\":\"string\",\"minLength\":2}", TEXTS("\"ab\"", "\"abcdef\""),
                 TEXTS("\"\"", "\"a\""));
}

static void test_joined(void)
{
    check_schema(
        "{\"$ref\":\"#/$defs/node\",\"$defs\":{\"node\":{\"type\":\"object\",\"properties\":{"
        "\"v\":{\"type\":\"integer\"},\"next\":{\"$ref\":\"#/$defs/"
        "node\"}},\"required\":[\"v\"]}}}",
        TEXTS("{\"v\":1}", "{\"v\":1,\"next\":{\"v\":2,\"next\":{\"v\":3}}}"),
        TEXTS("{\"next\":{\"v\":1}}", "{\"v\":1,\"next\":{}}"));
    check_schema(
        "{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"array\",\"items\":{\"$ref\":\"#\"}}]}",
        TEXTS("1", "[1,[2,[]]]"), TEXTS("null", "[null]"));
    check_schema(
        "{\"allOf\":[{\"properties\":{\"a\":{\"type\":\"integer\"}},\"required\":[\"a\"]},{"
        "\"properties\":{\"b\":{\"type\":\"null\"},\"a\":{\"minimum\":3}}}]}",
        TEXTS("{\"a\":3}", "{\"a\":4,\"b\":null}"), TEXTS("{\"a\":2}", "{\"b\":null}"));
    check_schema(
        "{\"type\":\"object\",\"properties\":{\"a\":{\"const\":1},\"b\":{\"const\":2}},\"anyOf\":[{"
        "\"required\":[\"a\"]},{\"required\":[\"b\"]}]}",
        TEXTS("{\"a\":1}", "{\"b\":2}", "{\"a\":1,\"b\":2}"), TEXTS("{}", "{\"a\":2}"));
    check_schema(
        "{\"properties\":{\"x\":{\"$ref\":\"#/properties/y/anyOf/1\"},\"y\":{\"anyOf\":[{\"type\":"
        "\"null\"},{\"type\":\"boolean\"}]}}}",
        TEXTS("{\"x\":true,\"y\":null}"), TEXTS("{\"x\":null}"));
    check_schema("{\"$ref\":\"#/$defs/a~1b%20c\",\"maximum\":3,\"$defs\":{\"a/b "
                 "c\":{\"type\":\"integer\"}}}",
                 TEXTS("3", "-1"), TEXTS("4", "\"\""));
    check_schema(
        "{\"oneOf\":[{\"type\":\"object\",\"properties\":{\"k\":{\"const\":\"a\"},\"n\":{\"type\":"
        "\"integer\"}},\"required\":[\"k\",\"n\"]},{\"type\":\"object\",\"properties\":{\"k\":{"
        "\"const\":\"b\"}},\"required\":[\"k\"]}]}",
        TEXTS("{\"k\":\"a\",\"n\":1}", "{\"k\":\"b\"}"), TEXTS("{\"k\":\"a\"}", "{\"k\":\"c\"}"));
    check_schema("{\"type\":\"object\",\"properties\":{\"a\":false,\"b\":{\"type\":\"null\"}}}",
                 TEXTS("{}", "{\"b\":null}"), TEXTS("{\"a\":1}"));
}

static void check_refused(const char *json, const char *path)
{
    struct notes notes;
    struct err err;
    struct grammar *g = compile(json, &notes, &err);
    if (!CHECK(!g && strncmp(err.text, path, strlen(path)) == 0))
        fprintf(stderr, "    %s\n    %s\n", json, err.text);
    grammar_close(g);
}

static void test_refused(void)
{
    check_refused("{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"string\",\"format\":"
                  "\"uuid\",\"maxLength\":5}},\"required\":[\"id\"]}",
                  "schema.properties.id: no text");
    check_refused(
        "{\"type\":\"integer\",\"minimum\":9007199254740993,\"maximum\":9007199254740993}",
        "schema.minimum: numbers between");
    check_refused("{\"type\":\"integer\",\"exclusiveMaximum\":9007199254740994}",
                  "schema.exclusiveMaximum: numbers between");
    check_refused("{\"enum\":[{\"a\":1}],\"type\":\"object\",\"required\":[\"zz\"]}",
                  "schema.enum: none");
    check_refused("{\"enum\":[[1,2]],\"maxItems\":1}", "schema.enum: none");
    check_refused("{\"properties\":{\"a\":{\"pattern\":\"(?=x)\"}}}",
                  "schema.properties.a.pattern: ");
    check_refused("{\"properties\":{\"a\":{\"pattern\":\"[\"}}}", "schema.properties.a.pattern: ");
    check_refused("{\"$ref\":\"#\"}", "schema");
    check_refused("{\"anyOf\":[{\"$ref\":\"#\"},{\"type\":\"null\"}]}", "schema");
    check_refused("{\"$ref\":\"http://example.org/x\"}", "schema.$ref: ");
    check_refused("{\"items\":[{\"$ref\":\"#/nowhere\"}]}", "schema.items[0].$ref: ");
    check_refused("{\"type\":\"strin\"}", "schema.type: ");
    check_refused("{\"properties\":7}", "schema.properties: ");
    check_refused("{\"properties\":{\"a\":7}}", "schema.properties.a: ");
    check_refused("{\"required\":[\"a\"],\"properties\":{\"a\":false}}", "schema.required: ");
    check_refused("false", "schema: ");
    check_refused("{\"type\":\"integer\",\"minimum\":5,\"maximum\":3}", "schema.minimum: ");
    check_refused("{\"minimum\":1e300}", "schema: numbers");
    check_refused("{\"enum\":[]}", "schema.enum: ");
    check_refused("{\"minLength\":3,\"maxLength\":2}", "schema.minLength: ");
    check_refused("{\"minLength\":-1}", "schema.minLength: ");
    check_refused("{\"minLength\":1000000000}", "schema.minLength: ");
    check_refused(
        "{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#\"}},\"required\":[\"a\"]}",
        "schema.properties.a: no text");
}

// Of a long path the root and the end are told.
static void test_long_path(void)
{
    struct buf json;
    struct notes notes;
    struct err err;
    buf_init(&json, 1 << 20);
    for (int i = 0; i < 40; i++)
        CHECK(buf_format(&json, "{\"properties\":{\"name_%d\":", i) == OK);
    CHECK(buf_format(&json, "{\"type\":7}") == OK);
    for (int i = 0; i < 40; i++)
        CHECK(buf_add(&json, "}}", i < 39 ? 2 : 3) == OK);
    CHECK(!compile((const char *)json.p, &notes, &err));
    CHECK(strncmp(err.text, "schema...", 9) == 0 && strstr(err.text, ".properties.name_39.type: "));
    CHECK(strlen(err.text) < 300 && utf8_valid(bytes_of(err.text)));
    buf_free(&json);
}

static void check_note(const char *json, const char *note)
{
    struct notes notes;
    struct err err;
    struct grammar *g = compile(json, &notes, &err);
    if (!CHECK(g && (note[0] ? strstr(notes.text, note) != NULL : !notes.text[0])))
        fprintf(stderr, "    %s\n    %s / %s\n", json, notes.text, err.text);
    grammar_close(g);
}

static void test_notes(void)
{
    check_note("{\"type\":\"integer\",\"exclusiveMinimum\":true}",
               "schema.exclusiveMinimum: true says");
    check_note("{\"minimum\":1,\"exclusiveMinimum\":true}", "");
    check_note("{\"type\":\"any\"}", "schema.type: \"any\"");
    check_note(
        "{\"enum\":[{\"a\":1}],\"required\":[\"a\"],\"properties\":{\"a\":{\"type\":\"null\"}}}",
        "schema.properties: not enforced beside enum");
    check_note("{\"type\":\"string\",\"format\":\"hostname\"}", "schema.format: ");
    check_note("{\"not\":{}}", "schema.not: ");
    check_note("{\"items\":{\"type\":\"number\",\"multipleOf\":0.1}}", "schema.items.multipleOf: ");
    check_note("{\"type\":\"array\",\"uniqueItems\":true}", "schema.uniqueItems: ");
    check_note("{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"number\"}]}", "schema.oneOf: ");
    check_note("{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}],\"description\":\"x\"}",
               "");
    check_note("{\"type\":\"string\",\"maxLength\":100000}", "schema.maxLength: ");
}

// ---- how long -----------------------------------------------------------------------------------

static double now_ms(void)
{
    struct timespec at;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &at); // others use the machine too
    return (double)at.tv_sec * 1e3 + (double)at.tv_nsec / 1e6;
}

// ASan's build is several times slower than what ships; the limits hold for it.
static void check_soon(struct buf *json, const char *what)
{
    struct notes notes;
    struct err err;
    CHECK(buf_add(json, "", 1) == OK);
    double from = now_ms();
    struct grammar *g = compile((const char *)json->p, &notes, &err);
    double took = now_ms() - from;
    if (!CHECK(took < 3000 && (g || err.text[0])))
        fprintf(stderr, "    %s: %.0f ms\n", what, took);
    printf("%s: %.1f ms%s%s\n", what, took, g ? "" : ", refused: ", g ? "" : err.text);
    grammar_close(g);
    buf_free(json);
}

static void test_large(void)
{
    struct buf json;
    buf_init(&json, 64 << 20);
    CHECK(buf_format(&json, "{\"enum\":[\"x\"") == OK);
    for (int i = 0; i < 5000; i++)
        CHECK(buf_format(&json, ",\"name of thing %d\"", i * 7919) == OK);
    CHECK(buf_format(&json, "]}") == OK);
    check_soon(&json, "an enum of 5000");

    buf_init(&json, 64 << 20);
    CHECK(buf_format(&json, "{\"type\":\"object\",\"properties\":{\"x\":{}") == OK);
    for (int i = 0; i < 200; i++)
        CHECK(buf_format(
                  &json,
                  ",\"field_%d\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\","
                  "\"maxLength\":%d},\"b\":{\"type\":\"array\",\"items\":{\"type\":\"number\","
                  "\"minimum\":%d}},\"c\":{\"pattern\":\"^[a-z]{2,%d}$\"}}}",
                  i, 100 + i, i, 5 + i) == OK);
    CHECK(buf_format(&json, "}}") == OK);
    check_soon(&json, "200 fields");

    buf_init(&json, 64 << 20);
    CHECK(buf_format(&json,
                     "{\"type\":\"array\",\"maxItems\":10000,\"items\":{\"type\":\"array\","
                     "\"minItems\":3,\"items\":{\"type\":\"string\",\"maxLength\":10000}}}") == OK);
    check_soon(&json, "lengths in lengths");

    buf_init(&json, 64 << 20);
    CHECK(buf_format(&json, "{\"allOf\":[{}") == OK);
    for (int i = 0; i < 30; i++)
        CHECK(buf_format(&json, ",{\"anyOf\":[{\"minLength\":%d},{\"maxLength\":%d}]}", i,
                         100 + i) == OK);
    CHECK(buf_format(&json, "]}") == OK);
    check_soon(&json, "two to the power of thirty alternatives");

    buf_init(&json, 64 << 20);
    CHECK(buf_format(&json,
                     "{\"pattern\":\"(a|b)*a(a|b){40}\",\"minLength\":100,\"maxLength\":9000}") ==
          OK);
    check_soon(&json, "a pattern that is hard to make deterministic");

    buf_init(&json, 64 << 20);
    CHECK(buf_format(
              &json,
              "{\"patternProperties\":{\"(a|b)*a(a|b){40}\":{}},\"additionalProperties\":{}}") ==
          OK);
    check_soon(&json, "what that pattern does not match");
}

static void test_hostile(void)
{
    struct buf json;
    buf_init(&json, 64 << 20);
    CHECK(buf_format(&json, "{\"pattern\":\"(a|b|c[0-9]{1,500}){1,20}\",\"enum\":[\"x\"") == OK);
    for (int i = 0; i < 20000; i++)
        CHECK(buf_format(&json, ",\"c%d\"", i) == OK);
    CHECK(buf_format(&json, "]}") == OK);
    check_soon(&json, "an enum of 20000 against a pattern");

    buf_init(&json, 64 << 20);
    CHECK(buf_format(&json, "{\"additionalProperties\":{},\"patternProperties\":{\"x\":{}") == OK);
    for (int i = 0; i < 60; i++)
        CHECK(buf_format(&json, ",\"(a|b)*%d(a|b){%d}\":{}", i, i) == OK);
    CHECK(buf_format(&json, "}}") == OK);
    check_soon(&json, "sixty patterns of names");

    buf_init(&json, 64 << 20);
    CHECK(buf_format(&json, "{\"allOf\":[{}") == OK);
    for (int k = 0; k < 60; k++) {
        CHECK(buf_format(&json, ",{\"properties\":{\"a\":{}") == OK);
        for (int i = 0; i < 1000; i++)
            CHECK(buf_format(&json, ",\"p%d\":{\"minimum\":%d}", i, k) == OK);
        CHECK(buf_format(&json, "}}") == OK);
    }
    CHECK(buf_format(&json, "]}") == OK);
    check_soon(&json, "a thousand properties sixty times");
}

int main(void)
{
    open_bytes();
    test_objects();
    test_arrays();
    test_values();
    test_numbers();
    test_strings();
    test_joined();
    test_refused();
    test_long_path();
    test_notes();
    test_large();
    test_hostile();
    vocabulary_close(bytes_only);
    return check_done("text_schema");
}
