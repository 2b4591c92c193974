// main.c - `tawny VERB [options]`: the table of verbs, and nothing else.
//
// Each verb is a file engine/verb/NAME.c, which opens the floors it needs bottom-up and closes them
// top-down. `tawny help VERB` is the verb itself with --help, so there is one text of its options.
#include "verb/verb.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static const struct verb {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *what;
} verbs[] = {
    {"serve", verb_serve, "answer over HTTPS (the server)"},
    {"chat", verb_chat, "talk to a model in this terminal; reads from a pipe too"},
    {"bench", verb_bench, "measure tokens per second, prompt and generation"},
    {"plan", verb_plan, "say what a model would take on this device, and whether it fits"},
    {"logits", verb_logits, "write the raw logits of every position to a file"},
    {"render", verb_render, "print the prompt that a chat request becomes"},
    {"tokenize", verb_tokenize, "print the token ids of a text"},
    {"doctor", verb_doctor, "say whether a GPU runs here, and if not, which layer refuses"},
    {"version", verb_version, "print version, libraries and processor paths"},
};

static int help(FILE *to)
{
    fprintf(to, "usage: tawny VERB [options]\n\n");
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
        fprintf(to, "  %-9s %s\n", verbs[i].name, verbs[i].what);
    fprintf(to, "\ntawny help VERB, or tawny VERB --help, lists its options.\n");
    return to == stdout ? 0 : 2;
}

static const struct verb *find(const char *name)
{
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
        if (strcmp(name, verbs[i].name) == 0)
            return &verbs[i];
    return NULL;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    bool helps =
        strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0;
    if (helps && argc == 2)
        return help(stdout);
    if (helps)
        name = argv[2];
    if (strcmp(name, "--version") == 0)
        name = "version";
    const struct verb *verb = find(name);
    if (verb && helps) {
        char *words[] = {argv[2], "--help", NULL};
        return verb->run(2, words);
    }
    if (verb)
        return verb->run(argc - 1, argv + 1);
    if (name[0])
        fprintf(stderr, "tawny: there is no verb \"%.60s\"\n", name);
    return help(stderr);
}
