// base_json.c - the JSON writer: commas, names, numbers, text that is not UTF-8, and a cap that is
// met: the first error stays, and nothing is written after it.
#include "../../engine/base/base.h"
#include "check.h"

#include <math.h>

static void test_all_kinds(void)
{
    struct json json;
    json_init(&json, 4096);
    json_object(&json, NULL);
    json_string(&json, "a", "x\"y");
    json_string(&json, "b", "");
    json_string(&json, "c", NULL);
    json_text(&json, "d", (struct bytes){(const uint8_t *)"\xc3\xa9\xff{", 4});
    json_array(&json, "e");
    json_whole(&json, NULL, INT64_MIN);
    json_real(&json, NULL, 1.25, 1);
    json_real(&json, NULL, NAN, 3);
    json_bool(&json, NULL, true);
    json_object(&json, NULL);
    json_end(&json);
    json_array(&json, NULL);
    json_end(&json);
    json_null(&json, NULL);
    json_end(&json);
    json_text(&json, "f", bytes_of("ends in ["));
    json_bool(&json, "g", false);
    json_end(&json);
    CHECK(json_done(&json) == OK);
    CHECK(
        bytes_equal_text(buf_view(&json.text),
                         "{\"a\":\"x\\\"y\",\"b\":null,\"c\":null,\"d\":\"\xc3\xa9\xef\xbf\xbd{\","
                         "\"e\":[-9223372036854775808,1.2,null,true,{},[],null],"
                         "\"f\":\"ends in [\",\"g\":false}"));
    json_free(&json);
}

// At every cap: the text is a beginning of the whole, and the error is told.
static void test_caps(void)
{
    static const char whole[] = "{\"name\":[1,\"text\",{\"deep\":null}]}";
    for (size_t cap = 0; cap <= sizeof(whole); cap++) {
        struct json json;
        json_init(&json, cap);
        json_object(&json, NULL);
        json_array(&json, "name");
        json_whole(&json, NULL, 1);
        json_string(&json, NULL, "text");
        json_object(&json, NULL);
        json_null(&json, "deep");
        json_end(&json);
        json_end(&json);
        json_end(&json);
        CHECK(json_done(&json) == (cap < sizeof(whole) - 1 ? NO_ROOM : OK));
        CHECK(json.text.n <= cap &&
              (json.text.n == 0 || memcmp(json.text.p, whole, json.text.n) == 0));
        json_free(&json);
    }
}

int main(void)
{
    test_all_kinds();
    test_caps();
    return check_done("base_json");
}
