// families.c - how the families of byte-level BPE cut text into words, as data: the values of
// tokenizer.ggml.pre, the expressions, and what else differs. pretokenizer.c runs them.
//
// The results are llama.cpp's, which does not look at cases beyond ASCII (\p{Lu} is any letter):
// where the published expressions say more, the ones here say what it does. They are spelled so
// that no text makes them slow: no repeat is nested in another where a failure would try all ways,
// and none that may fail runs to the end of the text again from every place.
//   \s is \p{wspace}: PCRE2's \s also takes U+180E, which the tokenizers' own engine does not.
//   (?[...]) is a class computed from others.

#include "inside.h"

#include <string.h>

#define CONTRACTION "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
#define S "\\p{wspace}"
#define LEAD "[^\\r\\n\\p{L}\\p{N}]?" // what a word may begin with
#define MARKS " ?[^" S "\\p{L}\\p{N}]+[\\r\\n]*"
#define MARKS_SLASH " ?[^" S "\\p{L}\\p{N}]+[\\r\\n/]*"
#define BLANKS S "*[\\r\\n]+|" S "+(?!\\P{wspace})|" S "+"
#define LOWER "[^\\P{L}A-Z]" // a letter, but no capital of ASCII
#define UPPER "[^\\P{L}a-z]"
#define LETTER_MARK "[\\p{L}\\p{M}]"
#define SIGN "[\\p{P}\\p{S}]"
#define NO_SIGN "[^\\r\\n\\p{L}\\p{P}\\p{S}]"
#define ASCII_SIGN "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~]"
#define HAN                                                                                        \
    "\\x{4E00}-\\x{9FFF}\\x{3400}-\\x{4DBF}\\x{20000}-\\x{2A6DF}\\x{2A700}-\\x{2B73F}"             \
    "\\x{2B740}-\\x{2B81F}\\x{2B820}-\\x{2CEAF}\\x{2CEB0}-\\x{2EBEF}\\x{F900}-\\x{FAFF}"           \
    "\\x{2F800}-\\x{2FA1F}"
#define LETTER_NO_HAN "[^\\P{L}" HAN "]"
#define KANA "[\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}]+"

#define GPT2                                                                                       \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" S "\\p{L}\\p{N}]+|" S "+(?!\\P{wspace})|" S \
    "+"
#define LLAMA3 CONTRACTION "|" LEAD "\\p{L}+|\\p{N}{1,3}|" MARKS "|" BLANKS
#define QWEN2 CONTRACTION "|" LEAD "\\p{L}+|\\p{N}|" MARKS "|" BLANKS
#define GPT4O(letters)                                                                             \
    LEAD "[^\\P{" letters "}a-z]*[^\\P{" letters "}A-Z]+" CONTRACTION "?|" LEAD "[^\\P{" letters   \
         "}a-z]+[^\\P{" letters "}A-Z]*" CONTRACTION "?|\\p{N}{1,3}|" MARKS_SLASH "|" BLANKS
#define DEEPSEEK3_WORDS                                                                            \
    ASCII_SIGN "[A-Za-z]+|" NO_SIGN "?" LETTER_MARK "+| ?" SIGN "+[\\r\\n]*|" BLANKS
#define LETTERS_MARKS(tail) LEAD LETTER_MARK "+" CONTRACTION "?|" tail "|" MARKS_SLASH "|" BLANKS
#define POEM " ?[^(" S "|.,!?\\x{2026}\\x{3002}\\x{FF0C}\\x{3001}\\x{964}\\x{6D4}\\x{60C})]+"

// DeepSeek's letters: those of Latin, Greek, Cyrillic ... that have a case.
#define CASED                                                                                      \
    "A-Za-z\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}\\x{1BC}-\\x{1BF}\\x{1C4}-\\x{"    \
    "293}"                                                                                         \
    "\\x{295}-\\x{2AF}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37B}-\\x{37D}\\x{37F}\\x{386}"          \
    "\\x{388}-\\x{38A}\\x{38C}\\x{38E}-\\x{3A1}\\x{3A3}-\\x{3F5}\\x{3F7}-\\x{481}\\x{48A}-\\x{"    \
    "52F}"                                                                                         \
    "\\x{531}-\\x{556}\\x{10A0}-\\x{10C5}\\x{13A0}-\\x{13F5}\\x{13F8}-\\x{13FD}\\x{1C90}-\\x{"     \
    "1CBA}"                                                                                        \
    "\\x{1CBD}-\\x{1CBF}\\x{1D00}-\\x{1D2B}\\x{1D6B}-\\x{1D77}\\x{1D79}-\\x{1D9A}\\x{1E00}-\\x{"   \
    "1F15}"                                                                                        \
    "\\x{1F18}-\\x{1F1D}\\x{1F20}-\\x{1F45}\\x{1F48}-\\x{1F4D}\\x{1F50}-\\x{1F57}\\x{1F59}\\x{"    \
    "1F5B}"                                                                                        \
    "\\x{1F5D}\\x{1F5F}-\\x{1F7D}\\x{1F80}-\\x{1FB4}\\x{1FB6}-\\x{1FBC}\\x{1FBE}\\x{1FC2}-\\x{"    \
    "1FC4}"                                                                                        \
    "\\x{1FC6}-\\x{1FCC}\\x{1FD0}-\\x{1FD3}\\x{1FD6}-\\x{1FDB}\\x{1FE0}-\\x{1FEC}\\x{1FF2}-\\x{"   \
    "1FF4}"                                                                                        \
    "\\x{1FF6}-\\x{1FFC}\\x{2102}\\x{2107}\\x{210A}-\\x{2113}\\x{2115}\\x{2119}-\\x{211D}\\x{"     \
    "2124}"                                                                                        \
    "\\x{2126}\\x{2128}\\x{212A}-\\x{212D}\\x{212F}-\\x{2134}\\x{2139}\\x{213C}-\\x{213F}"         \
    "\\x{2145}-\\x{2149}\\x{214E}\\x{2183}\\x{2184}\\x{2C00}-\\x{2C7B}\\x{2C7E}-\\x{2CE4}"         \
    "\\x{2CEB}-\\x{2CEE}\\x{2CF2}\\x{2CF3}\\x{A640}-\\x{A66D}\\x{A680}-\\x{A69B}\\x{A722}-\\x{"    \
    "A76F}"                                                                                        \
    "\\x{A771}-\\x{A787}\\x{A78B}-\\x{A78E}\\x{AB70}-\\x{ABBF}\\x{FB00}-\\x{FB06}\\x{FB13}-\\x{"   \
    "FB17}"                                                                                        \
    "\\x{FF21}-\\x{FF3A}\\x{FF41}-\\x{FF5A}\\x{10400}-\\x{1044F}\\x{104B0}-\\x{104D3}"             \
    "\\x{104D8}-\\x{104FB}\\x{10C80}-\\x{10CB2}\\x{10CC0}-\\x{10CF2}\\x{118A0}-\\x{118DF}"         \
    "\\x{1E900}-\\x{1E943}"
#define CHINESE_OR_HANGUL "(?[ [\\x{800}-\\x{9FA5}\\x{AC00}-\\x{D7FF}] - \\p{wspace} ])+"

static const struct family families[] = {
    {"default", {{"[\\p{P}$+<=>^~|]+"}, {GPT2}, {"\\p{N}+"}, {"[0-9][0-9][0-9]"}}},
    {"gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert mpt "
     "olmo jais trillion granite-docling exaone4 jina-v1-en jina-v2-code roberta-bpe",
     {{GPT2}}},
    {"llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
     {{LLAMA3}},
     .whole_words = true,
     .adds_bos = true},
    {"glm4 glm5", {{LLAMA3}}, .whole_words = true},
    {"dbrx smaug-bpe chatglm-bpe", {{LLAMA3}}},
    {"qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2", {{QWEN2}}},
    {"qwen35",
     {{CONTRACTION "|" LEAD LETTER_MARK "+|\\p{N}| ?[^" S
                   "\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" BLANKS}}},
    {"laguna", {{"[^\\n]+|\\n+"}, {QWEN2}}},
    {"ufakzeka", {{LEAD "\\p{L}+|\\p{N}|" MARKS "|" BLANKS}}},
    {"seed-coder", {{CONTRACTION "|" LEAD "\\p{L}+|\\p{N}| ?[^" S "\\p{L}\\p{N}\\r\\n]+|" BLANKS}}},
    {"bailingmoe bailingmoe2 llada-moe",
     {{"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|" LEAD "\\p{L}+|\\p{N}|" MARKS "|" S
       "*[\\r\\n]|" S "+(?!\\P{wspace})|" S "+"}}},
    {"exaone-moe",
     {{CONTRACTION "|" LEAD "(?:\\p{L}\\p{M}*+(?: \\p{L}\\p{M}*+)*+)++|\\p{N}| ?[^" S
                   "\\p{L}\\p{N}]+[\\r\\n/]?|" S "*[\\r\\n]|" S "+(?!\\P{wspace})|" S "+"}}},
    {"minicpm5",
     {{"\\p{N}{1,3}"}, {CONTRACTION "|" LEAD "\\p{L}+|\\p{N}+|" MARKS "|" BLANKS}},
     .whole_words = true},
    {"k2-horizon",
     {{CONTRACTION "|" LEAD "(?[ \\p{L} + \\p{M} + [\\x{200C}\\x{200D}] ])+|\\p{N}{1,3}|" MARKS
                   "|" BLANKS}}},
    // long blanks in pieces of 512, 256 ...: cut as Llama 3's first, so that a run is read once
    {"jais-2",
     {{LLAMA3},
      {"\\A(?s:.+)(?<=[\\r\\n])\\z|\\A(?s:.+)(?<=\\P{wspace})\\z|" S "{512}|" S "{256}|" S
       "{128}|" S "{64}|" S "{32}|" S "{16}|" S "{8}|" S "{4}|" S "{1,2}"}}},
    {"starcoder refact command-r smollm codeshell exaone minerva-7b mellum2", {{"\\p{N}"}, {GPT2}}},
    {"falcon", {{"[\\p{P}$+<=>^~|`]+"}, {GPT2}, {"[0-9][0-9][0-9]"}}},
    {"chameleon",
     {{"<sentinel:[0-9]+>"},
      {"IMGIMG[A-I]{1,4}Z"},
      {"[\\t\\n]|    |  "},
      {"\\p{N}"},
      {"[\\p{P}!-/:-@\\[-`{-~]"},
      {GPT2}},
     .adds_bos = true},
    {"tekken",
     {{LEAD UPPER "*" LOWER "+|" LEAD UPPER "+" LOWER "*|\\p{N}|" MARKS_SLASH "|" BLANKS}},
     .whole_words = true,
     .adds_bos = true},
    {"gpt-4o llama4 kanana2 talkie minimax-m2",
     {{LEAD UPPER "*" LOWER "+" CONTRACTION "?|" LEAD UPPER "+" LOWER "*" CONTRACTION
                  "?|\\p{N}{1,3}|" MARKS_SLASH "|" BLANKS}}},
    {"granite-embed-multi-97m",
     {{LEAD "(?[ \\p{L} + \\p{M} - [a-z] ])*(?[ \\p{L} + \\p{M} - [A-Z] ])+" CONTRACTION "?|" LEAD
            "(?[ \\p{L} + \\p{M} - [a-z] ])+(?[ \\p{L} + \\p{M} - [A-Z] ])*" CONTRACTION
            "?|\\p{N}{1,3}|" MARKS_SLASH "|" BLANKS}},
     .whole_words = true},
    {"tiny_aya cohere2moe", {{"\\p{N}+", THREES}, {LETTERS_MARKS("\\p{N}{1,3}")}}},
    {"youtu",
     {{"[\\x{AC00}-\\x{D7A3}\\x{3131}-\\x{318E}]+|[\\x{FF01}\\x{2026}\\x{201C}\\x{201D}\\x{2018}"
       "\\x{2019}\\x{2014}\\x{FF1A}\\x{FF1B}\\x{FF0C}\\x{3001}-\\x{303F}\\x{FE30}-\\x{FE4F}]+"
       "|[\\x{3105}-\\x{312F}]+|" KANA},
      {LETTERS_MARKS("\\p{N}")}},
     .whole_words = true},
    {"superbpe", {{"\\p{N}+"}, {"[0-9]+", THREES_ASCII}}},
    {"deepseek-llm",
     {{"[\\r\\n]"},
      {S "?[" CASED "]+"},
      {S "?[!-/:-~\\x{FF01}-\\x{FF0F}\\x{FF1A}-\\x{FF5E}\\x{2018}-\\x{201F}\\x{3001}\\x{3002}]+"},
      {"(?<!" S ")" S "++\\z"},
      {CHINESE_OR_HANGUL},
      {"\\p{N}+"}}},
    {"deepseek-coder",
     {{"[\\r\\n]"}, {S "?\\p{L}+"}, {S "?\\p{P}+"}, {CHINESE_OR_HANGUL}, {"\\p{N}"}}},
    {"deepseek-v3 hunyuan-dense joyai-llm hy_v4", {{"\\p{N}{1,3}"}, {KANA}, {DEEPSEEK3_WORDS}}},
    {"spark2_5",
     {{"\\p{N}{1,3}"},
      {KANA},
      {ASCII_SIGN "[A-Za-z]+|" NO_SIGN "?" LETTER_MARK "+| ?" SIGN "+|[\\r\\n]|" S
                  "+(?!\\P{wspace})|" S "+"},
      {"\\p{N}"}}},
    {"afmoe",
     {{"\\p{N}+", THREES},
      {"[\\x{4E00}-\\x{9FFF}\\x{3400}-\\x{4DBF}\\x{8C48}-\\x{FAFF}\\x{3040}-\\x{309F}"
       "\\x{30A0}-\\x{30FF}\\x{FF65}-\\x{FF9F}\\x{2F00}-\\x{2FDF}\\x{E40}-\\x{E7F}\\x{E80}-\\x{EFF}"
       "\\x{1780}-\\x{17FF}\\x{1000}-\\x{109F}\\x{AA60}-\\x{AA7F}\\x{A9E0}-\\x{A9FF}"
       "\\x{AC00}-\\x{D7AF}\\x{1100}-\\x{11FF}]+"},
      {DEEPSEEK3_WORDS}}},
    {"kimi-k2",
     {{"[" HAN "]+|" LEAD LETTER_NO_HAN "+" CONTRACTION "?|\\p{N}{1,3}|" MARKS "|" BLANKS}}},
    {"poro-chat bloom gpt3-finnish", {{POEM}}},
    {"viking", {{POEM}, {"\\p{N}"}}},
    {"gemma4 granite-embed-multi-311m",
     {{"[^\\n]+|\\n+"}},
     .raw = true,
     .escapes = true,
     .whole_newlines = true},
    {"mmbert",
     {{"[^\\n]+|\\n+"}},
     .raw = true,
     .escapes = true,
     .whole_newlines = true,
     .space_words = true},
    {"sarvam-moe", {{"[^\\n]+|\\n+"}}, .raw = true, .escapes = true},
    {"whitespace", {{"\\P{wspace}+"}}, .raw = true},
};

static bool names_contain(const char *names, struct bytes name)
{
    for (const char *p = names; *p != 0;) {
        size_t n = strcspn(p, " ");
        if (bytes_equal(name, (struct bytes){(const uint8_t *)p, n}))
            return true;
        p += n + (p[n] == ' ');
    }
    return false;
}

const struct family *family_find(struct bytes name)
{
    for (size_t i = 0; i < COUNT_OF(families); i++)
        if (names_contain(families[i].names, name))
            return &families[i];
    return NULL;
}
