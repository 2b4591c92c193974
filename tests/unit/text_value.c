// text_value.c - JSON into a tree and back: the same text again, numbers of every size, order and
// repeated names, and what is refused with a place.
#include "../../engine/text/value.h"
#include "check.h"

static enum status read_text(struct value *out, struct arena *arena, const char *json,
                             struct err *err)
{
    return value_read(out, arena, bytes_of(json), err);
}

static void check_again(const char *json, const char *expected)
{
    struct arena arena;
    arena_init(&arena, 1 << 16);
    struct value value;
    struct err err = {OK, ""};
    CHECK(read_text(&value, &arena, json, &err) == OK);
    struct json out;
    json_init(&out, 1 << 16);
    value_write(&out, NULL, &value);
    CHECK(json_done(&out) == OK && bytes_equal_text(buf_view(&out.text), expected));
    json_free(&out);
    arena_free(&arena);
}

static void test_same_again(void)
{
    static const char *const texts[] = {
        "null",
        "true",
        "[]",
        "{}",
        "[1,[2,[3,{}]],{\"z\":false,\"a\":\"\xc3\xa9 \\\" \\u0001\"}]",
        "[9223372036854775807,-9223372036854775808,0.1,1e-300,-2.5e+200]",
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        check_again(texts[i], texts[i]);
    check_again("[18446744073709551615]", "[1.8446744073709552e+19]");
    check_again(" { \"a\" : \"\\u00e9\" } ", "{\"a\":\"\xc3\xa9\"}");
}

static void test_get(void)
{
    struct arena arena;
    arena_init(&arena, 1 << 16);
    struct value value;
    struct err err = {OK, ""};
    CHECK(read_text(&value, &arena, "{\"a\":1,\"b\":2,\"a\":3}", &err) == OK);
    const struct value *a = value_get(&value, "a");
    CHECK(a && a->kind == VALUE_WHOLE && a->whole == 3);
    CHECK(!value_get(&value, "c") && !value_get(a, "a") && !value_get(NULL, "a"));
    arena_free(&arena);
}

static void test_refused(void)
{
    struct arena arena;
    arena_init(&arena, 1 << 12);
    struct value value;
    struct err err = {OK, ""};
    CHECK(read_text(&value, &arena, "{\"a\":}", &err) == BAD_INPUT && strstr(err.text, "byte 5"));
    CHECK(read_text(&value, &arena, "[1,]", &err) == BAD_INPUT);
    CHECK(read_text(&value, &arena, "", &err) == BAD_INPUT);
    char deep[2 * (VALUE_DEPTH + 2) + 1] = "";
    for (int i = 0; i < VALUE_DEPTH + 2; i++) {
        deep[i] = '[';
        deep[2 * (VALUE_DEPTH + 2) - 1 - i] = ']';
    }
    arena_free(&arena);
    arena_init(&arena, 1 << 16);
    CHECK(read_text(&value, &arena, deep, &err) == TOO_LARGE && strstr(err.text, "128"));
    arena_free(&arena);
    arena_init(&arena, 256);
    CHECK(read_text(&value, &arena, "[1,2,3,4,5,6,7,8,9,10,11,12]", &err) == NO_ROOM);
    arena_free(&arena);
}

int main(void)
{
    test_same_again();
    test_get();
    test_refused();
    return check_done("text_value");
}
