// verb.h - what `tawny VERB ...` can be. main.c holds the table; each verb is a file
// engine/verb/NAME.c.
//
// argv[0] is the verb itself. Exit codes: 0 done; 1 failed, one sentence on stderr says why; 2 the
// command line is wrong.
#pragma once

int verb_serve(int argc, char **argv); // the server
int verb_chat(int argc, char **argv);  // talk to a model in the terminal
int verb_bench(int argc, char **argv); // tokens per second: prompt and generation
int verb_logits(int argc,
                char **argv); // raw logits of every position, for comparison with other engines
int verb_plan(int argc, char **argv);     // what a model would take, and whether it fits
int verb_render(int argc, char **argv);   // the prompt of a chat request
int verb_tokenize(int argc, char **argv); // ids of a text
int verb_doctor(int argc, char **argv);   // does a GPU run here, and if not, why
int verb_version(int argc, char **argv);  // version, libraries, processor paths
