// render.c - `tawny render`: the prompt that a chat request becomes, as a model's chat template or
// a template in a file writes it. POST /apply-template of a server gives the same.
//
// The request is read as the server reads it, and refused with the same sentences. Only the head of
// the model's file is opened: no weights, no device.
#include "api/api.h"
#include "args.h"
#include "verb.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REQUEST_CAP = 8 << 20 }; // as the server reads

struct rendering_of {
    struct settings settings;
    const char *request, *template, *bos, *eos;
    bool ids, model_given;
};

// *tokenizer: NULL with a template of a file and no model.
static enum status open_template(struct template **out, struct tokenizer **tokenizer,
                                 const struct rendering_of *r, struct err *err)
{
    char path[2100];
    struct buf text;
    enum status status = OK;
    *tokenizer = NULL;
    if (!r->template || r->model_given)
        status = args_model_path(&r->settings, path, sizeof(path), err);
    if (status == OK && !r->template)
        return model_template_open(out, tokenizer, path, err);
    if (status == OK)
        status = file_read(&text, r->template, JINJA_SOURCE_MOST, err);
    if (status != OK)
        return status;
    if (r->model_given)
        status = model_tokenizer_open(tokenizer, path, err);
    if (status != OK) {
        buf_free(&text);
        return status;
    }
    const struct template_source source = {.text = buf_view(&text),
                                           .bos = bytes_of(r->bos ? r->bos : ""),
                                           .eos = bytes_of(r->eos ? r->eos : "")};
    template_open(out, &source, *tokenizer);
    buf_free(&text);
    return OK;
}

static enum status print_prompt(const struct template *template,
                                const struct conversation *conversation, struct err *err)
{
    struct jinja_text text;
    enum status status = template_render(&text, template, conversation, err);
    if (status != OK)
        return status;
    if (fwrite(text.p, 1, text.n, stdout) != text.n || fflush(stdout) != 0)
        status = err_set(err, IO_ERROR, "stdout: %s", strerror(errno));
    jinja_text_free(&text);
    return status;
}

static enum status print_ids(const struct template *template, const struct tokenizer *tokenizer,
                             const struct conversation *conversation, struct err *err)
{
    int32_t *ids;
    size_t n;
    enum status status = template_encode(template, tokenizer, conversation, &ids, &n, err);
    if (status != OK)
        return status;
    for (size_t i = 0; i < n; i++)
        printf(i > 0 ? " %d" : "%d", ids[i]);
    putchar('\n');
    free(ids);
    return OK;
}

static enum status run(const struct rendering_of *r, struct err *err)
{
    struct buf body;
    struct template *template;
    struct tokenizer *tokenizer;
    enum status status = args_read_file(&body, r->request, REQUEST_CAP, err);
    if (status != OK)
        return status;
    struct job *job = job_open();
    status = api_read_chat(job, buf_view(&body), err);
    buf_free(&body);
    if (status == OK)
        status = open_template(&template, &tokenizer, r, err);
    if (status == OK) {
        const struct conversation *conversation = &job->ask.conversation;
        status = r->ids ? print_ids(template, tokenizer, conversation, err)
                        : print_prompt(template, conversation, err);
        template_close(template);
        tokenizer_close(tokenizer);
    }
    job_close(job);
    return status;
}

int verb_render(int argc, char **argv)
{
    struct rendering_of r = {.bos = NULL};
    struct err err;
    const struct arg args[] = {
        {"request", 'r', &r.request, NULL, "FILE",
         "a body of /v1/chat/completions: messages, tools, chat_template_kwargs; -: stdin"},
        {"template", 0, &r.template, NULL, "FILE",
         "a template instead of the model's; its tokens are those of --model, if there is one"},
        {"ids", 0, NULL, &r.ids, NULL, "print the ids of its tokens on one line"},
        {"bos", 0, &r.bos, NULL, "TEXT", "what bos_token is in it"},
        {"eos", 0, &r.eos, NULL, "TEXT", "what eos_token is in it"},
    };
    const struct command command = {
        "print the prompt that a chat request becomes, by the model's own chat template.", args,
        COUNT_OF(args), &r.settings, &r.model_given};
    enum status status = args_read(&command, argc, argv, &err);
    if (status == CANCELLED)
        return 0;
    if (status == OK && !r.request)
        status =
            err_set(&err, BAD_INPUT, "give a request: --request FILE (--help lists the options)");
    if (status == OK && r.template && r.ids && !r.model_given)
        status =
            err_set(&err, BAD_INPUT,
                    "--ids beside --template wants --model FILE too: a template has no tokens");
    if (status == OK && !r.template && (r.bos || r.eos))
        status = err_set(&err, BAD_INPUT, "--bos and --eos belong to --template");
    if (status != OK)
        return args_fail("render", &err, 2);
    status = run(&r, &err);
    return status == OK ? 0 : args_fail("render", &err, 1);
}
