// sched_block.h - of the stand-in model (sched_fixture.h, which includes this) the block that
// predicts further tokens: every row's state must be that of the position before, and every token
// the one that its sequence holds there, or a guess behind.
#pragma once

// What the block says is mostly right. It wants to be told each token of a text once, with the
// state of the position before.
enum status model_draft(struct model *model, const struct batch *batch, const int32_t *from,
                        const float *hidden, struct logits logits, struct err *err)
{
    struct past *its = model->past;
    int n_wanted = 0;
    (void)err;
    CHECK(has_block && !hidden && batch->n_tokens > 0 && batch->n_tokens <= BATCH_TOKENS);
    for (int32_t i = 0; i < batch->n_tokens; i++) {
        const int32_t seq = batch->seq[i], pos = batch->pos[i], held = past_held(its, seq);
        CHECK(pos <= past_drafted(its, seq) && pos < N_CTX);
        if (from[i] >= 0)
            CHECK(from[i] < model->n_hidden && model->hidden_seq[from[i]] == seq &&
                  model->hidden_pos[from[i]] == pos - 1);
        n_blind += from[i] < 0 && pos > 0;
        if (pos >= held && past_reserve(its, seq, pos + 1 - held) != OK)
            die("position %d of sequence %d is drafted without room", (int)pos, (int)seq);
        copy_pages(model);
        CHECK(past_may_write(its, 0, seq, pos));
        const int32_t row = past_row(its, 0, seq, pos);
        CHECK(pos >= held || model->rows[row] == batch->token[i]);
        model->ahead[row] = batch->token[i];
        past_draft(its, seq, pos + 1);
        if (!batch->wanted[i])
            continue;
        uint32_t hash = HASH_OF_NOTHING;
        for (int32_t p = 0; p <= pos; p++)
            hash = hash_more(hash, model->ahead[past_row(its, 0, seq, p)]);
        const int32_t back = repeats > 0 && pos + 1 >= repeats
                                 ? model->ahead[past_row(its, 0, seq, pos + 1 - repeats)]
                                 : -1;
        logits.token[n_wanted++] = hash % 7 == 0 ? 3 : token_after(hash, back);
    }
    for (int32_t i = 0; i < batch->n_tokens; i++) {
        model->hidden_seq[i] = batch->seq[i];
        model->hidden_pos[i] = batch->pos[i];
    }
    model->n_hidden = batch->n_tokens;
    return OK;
}
