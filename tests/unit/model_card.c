// model_card.c - what a file says of itself, as JSON: a value of every type, lists short and long,
// the context that stands for the file's own, tensors.
#include "check.h"
#include "model_fixture.h"

#include <stdio.h>
#include <unistd.h>

static void key_bytes(struct file *f, const char *key, uint32_t type, const void *p, size_t n)
{
    key_begin(f, key, type);
    put(f, p, n);
}

static void make_file(struct file *f)
{
    file_begin(f);
    key_text(f, "general.architecture", "owl");
    key_text(f, "general.name", "a \"\xff\"\n");
    key_text(f, "tokenizer.chat_template", "{{ messages }}");
    key_u32(f, "owl.context_length", 4096);
    key_f32(f, "v.f32", 0.1f);
    key_bytes(f, "v.u8", GGUF_U8, "\xff", 1);
    key_bytes(f, "v.i8", GGUF_I8, "\xff", 1);
    key_bytes(f, "v.u16", GGUF_U16, "\xff\xff", 2);
    key_bytes(f, "v.i16", GGUF_I16, "\xfe\xff", 2);
    key_bytes(f, "v.i32", GGUF_I32, "\xfd\xff\xff\xff", 4);
    key_bytes(f, "v.bool", GGUF_BOOL, "\x01", 1);
    key_bytes(f, "v.u64", GGUF_U64, "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
    key_bytes(f, "v.i64", GGUF_I64, "\xfc\xff\xff\xff\xff\xff\xff\xff", 8);
    key_bytes(f, "v.f64", GGUF_F64, "\0\0\0\0\0\0\xe0\x3f", 8);
    array_begin(f, "l.text", GGUF_STRING, 2);
    put_text(f, "one");
    put_text(f, "");
    array_begin(f, "l.long", GGUF_I32, 6);
    for (uint32_t i = 0; i < 6; i++)
        put_u32(f, i);
    add_tensor(f, "t", DTYPE_F32, 4, 2, 0);
    file_counts(f);
    file_pad(f, 32);
    put(f, "0123456789abcdef0123456789abcdef", 32);
}

static const char *keys_of(const struct model_card *card, int32_t n_ctx, bool whole)
{
    static char text[2000];
    struct json json;
    json_init(&json, sizeof(text) - 1);
    json_object(&json, NULL);
    model_card_keys(card, &json, n_ctx, whole);
    json_end(&json);
    CHECK(json_done(&json) == OK);
    snprintf(text, sizeof(text), "%.*s", (int)json.text.n, (const char *)json.text.p);
    json_free(&json);
    return text;
}

#define REST                                                                                       \
    "\"v.bool\":true,\"v.f32\":0.1,\"v.f64\":0.5,\"v.i16\":-2,\"v.i32\":-3,\"v.i64\":-4,\"v.i8\":" \
    "-1,\"v.u16\":65535,\"v.u64\":18446744073709551616,\"v.u8\":255}"
#define GENERAL "{\"general.architecture\":\"owl\",\"general.name\":\"a \\\"\xef\xbf\xbd\\\"\\n\","

static void test_keys(const char *path)
{
    struct model_card *card = NULL;
    struct err err = {0};
    struct json json;
    if (!CHECK(model_card_open(&card, path, &err) == OK)) {
        fprintf(stderr, "    %s\n", err.text);
        return;
    }
    CHECK_TEXT(keys_of(card, 0, true), GENERAL "\"l.long\":[0,1,2,3,4,5],\"l.text\":[\"one\",\"\"],"
                                               "\"owl.context_length\":4096," REST);
    CHECK_TEXT(keys_of(card, 512, false), GENERAL "\"l.long\":[],\"l.text\":[\"one\",\"\"],"
                                                  "\"owl.context_length\":512," REST);
    CHECK(bytes_equal_text(model_card_text(card, "tokenizer.chat_template"), "{{ messages }}"));
    CHECK(model_card_text(card, "v.f32").n == 0 && model_card_text(card, "none").n == 0);
    json_init(&json, 1000);
    json_array(&json, NULL);
    model_card_tensors(card, &json);
    json_end(&json);
    CHECK(bytes_equal_text(buf_view(&json.text),
                           "[{\"name\":\"t\",\"type\":\"F32\",\"shape\":[4,2]}]"));
    json_free(&json);
    model_card_close(card);
}

int main(void)
{
    char dir[] = "/tmp/model_card.XXXXXX", path[64];
    struct file f;
    struct err err = {0};
    struct model_card *card = NULL;
    CHECK(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/owl.gguf", dir);
    make_file(&f);
    CHECK(file_write(path, buf_view(&f.buf), 0600, &err) == OK);
    test_keys(path);
    CHECK(file_write(path, (struct bytes){f.buf.p, 200}, 0600, &err) == OK);
    CHECK(model_card_open(&card, path, &err) == BAD_INPUT && !card);
    unlink(path);
    CHECK(model_card_open(&card, path, &err) == NOT_FOUND && strstr(err.text, path));
    rmdir(dir);
    buf_free(&f.buf);
    CHECK(model_card_open(&card, MODEL_BUILTIN, &err) == OK);
    CHECK(model_card_text(card, "general.architecture").n > 0);
    model_card_close(card);
    model_card_close(NULL);
    return check_done("model_card");
}
