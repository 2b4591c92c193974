// matvec_body.h - rows of quantised weights times up to VEC_TOKENS tokens: what matvec_avx2.c and
// matvec_avx512.c share around their row_dots(), the dot products of one row with 1, 2 or 4 tokens.
//
// A thread reads its rows one after the other: its weights are one stream of addresses. A row meets
// its tokens four at a time, the second four finding it in the first-level cache.

static void store(const struct args_product *product, int64_t row, int64_t t, float sum)
{
    if (product->bias)
        sum += product->bias[row];
    sum *= product->scale;
    if (product->residual.p)
        sum += span_row(product->residual, t)[row];
    span_row(product->out, t)[row] = sum;
}

// One row with tokens t0 .. t0 + n_tokens (or up to the last: missing ones are that one again, and
// not kept).
FORCE_INLINE void row_of(enum dtype type, int n_tokens, const struct args_product *product,
                         const struct row_x *x, int64_t row, int64_t t0)
{
    struct row_x_token tokens[MOST_TOKENS];
    float dots[MOST_TOKENS];
    for (int t = 0; t < n_tokens; t++)
        tokens[t] = row_x_token(x, t0 + t < x->n_tokens ? t0 + t : x->n_tokens - 1);
    row_dots(type, n_tokens, dots, product->w.p + (size_t)row * product->w.row_bytes, tokens,
             x->n_in);
    for (int t = 0; t < n_tokens && t0 + t < x->n_tokens; t++)
        store(product, row, t0 + t, dots[t]);
}

FORCE_INLINE void rows_of(enum dtype type, const struct args_product *product,
                          const struct row_x *x, int64_t row0, int64_t row1)
{
    for (int64_t row = row0; row < row1; row++)
        if (x->n_tokens == 1)
            row_of(type, 1, product, x, row, 0);
        else if (x->n_tokens == 2)
            row_of(type, 2, product, x, row, 0);
        else
            for (int64_t t = 0; t < x->n_tokens; t += MOST_TOKENS)
                row_of(type, MOST_TOKENS, product, x, row, t);
}

// A function for each format, so that each gets its own registers.
#define ROWS_FUNCTION(name, type)                                                                  \
    static __attribute__((noinline)) void name(const struct args_product *product,                 \
                                               const struct row_x *x, int64_t row0, int64_t row1)  \
    {                                                                                              \
        rows_of(type, product, x, row0, row1);                                                     \
    }

ROWS_FUNCTION(rows_q8_0, DTYPE_Q8_0)
ROWS_FUNCTION(rows_q4_0, DTYPE_Q4_0)
ROWS_FUNCTION(rows_q4_k, DTYPE_Q4_K)
ROWS_FUNCTION(rows_q5_k, DTYPE_Q5_K)
ROWS_FUNCTION(rows_q6_k, DTYPE_Q6_K)

static void rows_multiply(const struct args_product *product, const struct row_x *x, int64_t row0,
                          int64_t row1)
{
    switch (product->w.type) {
    case DTYPE_Q8_0:
        rows_q8_0(product, x, row0, row1);
        return;
    case DTYPE_Q4_0:
        rows_q4_0(product, x, row0, row1);
        return;
    case DTYPE_Q4_K:
        rows_q4_k(product, x, row0, row1);
        return;
    case DTYPE_Q5_K:
        rows_q5_k(product, x, row0, row1);
        return;
    case DTYPE_Q6_K:
        rows_q6_k(product, x, row0, row1);
        return;
    default:
        die("no row kernel for %s", dtype_name(product->w.type));
    }
}
