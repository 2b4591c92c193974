// vectors.c - single instructions of the chip (wave.h) against what AMD's RDNA3 guide says they do.
//
// The words were assembled by LLVM, the results worked out by hand from the guide's formulas. Each
// row is also written as text again. Then faults that must end a run with their names. Prints a
// line a failure and "N passed, N failed".
#include "count.h"
#include "watch.h"
#include "wave.h"

#include "lanes.h"
#include "vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned n_passed, n_failed;
static struct group group;
static struct dispatch nothing;

static struct wave *fresh(unsigned lanes)
{
    static struct wave w;
    memset(&w, 0, sizeof(w));
    memset(w.s, 0xcc, sizeof(w.s));
    w.lanes = lanes, w.mode = 0xc0; // as RADV sets it: denormals of 32 bits flushed, of 16 kept
    w.s[REG_EXEC] = UINT32_MAX, w.s[REG_EXEC + 1] = lanes == 64 ? UINT32_MAX : 0;
    w.s[8] = w.s[9] = UINT32_MAX;
    group.dispatch = &nothing;
    w.group = &group;
    return &w;
}

// The words up to the first 0 behind at least one, then s_endpgm.
static void run_words(struct wave *w, const uint32_t words[6])
{
    uint32_t code[8] = {0};
    size_t n = 6;
    while (n > 1 && words[n - 1] == 0)
        n--;
    memcpy(code, words, n * 4);
    code[n++] = 0xbfb00000;
    struct program *p = program_make(0, code, n);
    const unsigned old = float_mode_set(w->mode);
    w->program = p;
    wave_run(w);
    float_mode_restore(old);
    program_free(p);
}

static void same_text(const char *want, const uint32_t words[6])
{
    char all[600] = "", one[256], what[80];
    size_t n = 6;
    while (n > 1 && words[n - 1] == 0)
        n--;
    for (size_t at = 0; at < n;) {
        struct inst i;
        if (!decode(&i, words + at, n - at, what))
            snprintf(one, sizeof(one), "unknown: %s", what), i.n_words = (uint8_t)(n - at);
        else
            inst_text(one, &i);
        snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s", at ? "; " : "", one);
        at += i.n_words;
    }
    if (strcmp(all, want) != 0)
        printf("text of %s: %s\n", want, all), n_failed++;
}

static void verdict(bool good, const char *what, uint64_t got, uint64_t want)
{
    if (good)
        n_passed++;
    else
        printf("%s: %llx, expected %llx\n", what, (unsigned long long)got,
               (unsigned long long)want),
            n_failed++;
}

static void vector_tests(void)
{
    for (size_t r = 0; r < sizeof(vector_rows) / sizeof(*vector_rows); r++)
        for (unsigned lanes = 32; lanes <= 64; lanes += 32) {
            struct wave *w = fresh(lanes);
            if (lanes == 64 && strstr(vector_rows[r].text, "s0"))
                continue; // a mask of s0 and s1
            for (unsigned l = 0; l < lanes; l++) {
                w->v[0][l] = vector_rows[r].old, w->v[1][l] = vector_rows[r].a;
                w->v[2][l] = vector_rows[r].b, w->v[3][l] = vector_rows[r].c;
            }
            if (lanes == 32)
                same_text(vector_rows[r].text, vector_rows[r].words);
            run_words(w, vector_rows[r].words);
            unsigned l = 0;
            while (l < lanes - 1 && w->v[0][l] == vector_rows[r].want)
                l++;
            verdict(w->v[0][l] == vector_rows[r].want, vector_rows[r].text, w->v[0][l],
                    vector_rows[r].want);
        }
}

static void scalar_tests(void)
{
    for (size_t r = 0; r < sizeof(scalar_rows) / sizeof(*scalar_rows); r++) {
        struct wave *w = fresh(32);
        memcpy(&w->s[2], &scalar_rows[r].a, 8), memcpy(&w->s[4], &scalar_rows[r].b, 8);
        w->scc = scalar_rows[r].scc;
        same_text(scalar_rows[r].text, scalar_rows[r].words);
        run_words(w, scalar_rows[r].words);
        uint64_t got = w->s[0];
        if (strstr(scalar_rows[r].text, "s[0:1]"))
            got |= (uint64_t)w->s[1] << 32;
        verdict(got == scalar_rows[r].want, scalar_rows[r].text, got, scalar_rows[r].want);
        verdict(w->scc == scalar_rows[r].want_scc, scalar_rows[r].text, w->scc,
                scalar_rows[r].want_scc);
    }
}

// ---- lanes: v1 = 100 + lane, v0 = 7; what v0 is -------------------------------------------------

static uint32_t swapped_pairs(unsigned l)
{
    return 100 + (l ^ 1);
}

static uint32_t rotated(unsigned l)
{
    return 100 + ((l & 16) | ((l - 4) & 15));
}

static uint32_t shifted_or_zero(unsigned l)
{
    return l & 15 ? 100 + l - 1 : 0;
}

static uint32_t shifted_or_old(unsigned l)
{
    return l & 15 ? 100 + l - 1 : 7;
}

static uint32_t mirrored(unsigned l)
{
    return 100 + (l ^ 15);
}

static uint32_t half_mirrored_in_row_0(unsigned l)
{
    return l < 16 ? 100 + (l ^ 7) : 7;
}

static uint32_t xor_4_in_banks_0_1(unsigned l)
{
    return (l >> 2 & 3) < 2 ? 100 + (l ^ 4) : 7;
}

static uint32_t other_row_reversed(unsigned l) // with s[2:3] = 0x0123456789abcdef
{
    return 100 + ((l ^ 31) & 31);
}

static uint32_t other_half(unsigned l)
{
    return 100 + (l ^ 32);
}

static uint32_t lane_number(unsigned l)
{
    return l;
}

static uint32_t first_eight(unsigned l) // v1 is 100 + l, and "8 > v1" is true of none
{
    (void)l;
    return 7;
}

static uint32_t lane_5(unsigned l)
{
    (void)l;
    return 105;
}

static const struct {
    const char *text;
    uint32_t words[6];
    unsigned lanes;
    uint32_t (*want)(unsigned lane);
} lane_rows[] = {
    {"v_mov_b32_dpp v0, v1 quad_perm:[1,0,3,2] row_mask:0xf bank_mask:0xf bound_ctrl:1 fi:1",
     {0x7e0002fa, 0xff0cb101},
     32,
     swapped_pairs},
    {"v_mov_b32_dpp v0, v1 row_ror:4 row_mask:0xf bank_mask:0xf bound_ctrl:1 fi:1",
     {0x7e0002fa, 0xff0d2401},
     32,
     rotated},
    {"v_mov_b32_dpp v0, v1 row_shr:1 row_mask:0xf bank_mask:0xf bound_ctrl:1 fi:1",
     {0x7e0002fa, 0xff0d1101},
     32,
     shifted_or_zero},
    {"v_mov_b32_dpp v0, v1 row_shr:1 row_mask:0xf bank_mask:0xf fi:1",
     {0x7e0002fa, 0xff051101},
     32,
     shifted_or_old},
    {"v_mov_b32_dpp v0, v1 row_mirror row_mask:0xf bank_mask:0xf fi:1",
     {0x7e0002fa, 0xff054001},
     32,
     mirrored},
    {"v_mov_b32_dpp v0, v1 row_half_mirror row_mask:0x1 bank_mask:0xf fi:1",
     {0x7e0002fa, 0x1f054101},
     32,
     half_mirrored_in_row_0},
    {"v_mov_b32_dpp v0, v1 row_xmask:4 row_mask:0xf bank_mask:0x3 bound_ctrl:1 fi:1",
     {0x7e0002fa, 0xf30d6401},
     32,
     xor_4_in_banks_0_1},
    {"v_permlanex16_b32 v0, v1, s2, s3 op_sel:[1,1]",
     {0xd65c1800, 0x000c0501},
     32,
     other_row_reversed},
    {"v_permlane64_b32 v0, v1", {0x7e00cf01}, 64, other_half},
    {"v_mbcnt_lo_u32_b32 v0, -1, 0; v_mbcnt_hi_u32_b32 v0, -1, v0",
     {0xd71f0000, 0x000100c1, 0xd7200000, 0x000200c1},
     64,
     lane_number},
    {"v_cmpx_gt_u32_e32 8, v1; v_mov_b32_e32 v0, 7", {0x7d980288, 0x7e000287}, 32, first_eight},
    {"v_readlane_b32 s0, v1, 5; v_mov_b32_e32 v0, s0",
     {0xd7600000, 0x00010b01, 0x7e000200},
     32,
     lane_5},
};

static void lane_tests(void)
{
    for (size_t r = 0; r < sizeof(lane_rows) / sizeof(*lane_rows); r++) {
        struct wave *w = fresh(lane_rows[r].lanes);
        w->s[2] = 0x89abcdef, w->s[3] = 0x01234567;
        for (unsigned l = 0; l < w->lanes; l++)
            w->v[0][l] = 7, w->v[1][l] = 100 + l;
        same_text(lane_rows[r].text, lane_rows[r].words);
        run_words(w, lane_rows[r].words);
        unsigned l = 0;
        while (l < w->lanes - 1 && w->v[0][l] == lane_rows[r].want(l))
            l++;
        verdict(w->v[0][l] == lane_rows[r].want(l), lane_rows[r].text, w->v[0][l],
                lane_rows[r].want(l));
    }
}

// ---- the matrix product: small whole numbers, exact in any order --------------------------------

static void matrix_test(unsigned lanes)
{
    static const uint32_t words[6] = {0xcc404010, 0x1c425120}; // D, C: v16 on; A: v32 on; B: v40 on
    struct wave *w = fresh(lanes);
    int a[16][16], b[16][16], c[16][16]; // rows, columns
    for (int i = 0; i < 16; i++)
        for (int k = 0; k < 16; k++)
            a[i][k] = i * 3 - k, b[i][k] = (i * k) % 7 - 2, c[i][k] = i - 2 * k;
    for (unsigned l = 0; l < lanes; l++)
        for (unsigned k = 0; k < 16; k++) { // a half each: row l of A, column l of B
            w->v[32 + k / 2][l] |= (uint32_t)float_to_half((float)a[l % 16][k], 0) << 16 * (k % 2);
            w->v[40 + k / 2][l] |= (uint32_t)float_to_half((float)b[k][l % 16], 0) << 16 * (k % 2);
        }
    for (unsigned l = 0; l < lanes; l++)
        for (unsigned v = 0; v < 256 / lanes; v++) {
            const float f = (float)c[lanes / 16 * v + l / 16][l % 16];
            memcpy(&w->v[16 + v][l], &f, 4);
        }
    run_words(w, words);
    unsigned n_wrong = 0;
    for (unsigned l = 0; l < lanes; l++)
        for (unsigned v = 0; v < 256 / lanes; v++) {
            const unsigned row = lanes / 16 * v + l / 16, column = l % 16;
            int sum = c[row][column];
            float got;
            for (int k = 0; k < 16; k++)
                sum += a[row][k] * b[k][column];
            memcpy(&got, &w->v[16 + v][l], 4);
            n_wrong += got != (float)sum;
        }
    verdict(n_wrong == 0, "v_wmma_f32_16x16x16_f16", n_wrong, 0);
}

// ---- planted faults: two waves of 32, 512 bytes of LDS ------------------------------------------

static const struct {
    const char *what; // v0: the invocation's number
    uint32_t words[10];
    size_t n;
    const char *want; // of what ends the run; NULL: nothing does
} faults[] = {
    {"all write one word", {0x7e020280, 0xd8340000, 0x00000001}, 3, "without a barrier between"},
    {"a word that nobody wrote", {0x30020082, 0xd8d80000, 0x02000001}, 3, "never written"},
    {"16 bytes apart: past the end", {0x30020084, 0xd8340000, 0x00000001}, 3, "of LDS"},
    {"each reads what the other wave wrote, behind a barrier",
     {0x30020082, 0xd8340000, 0x00000001, 0xbfbd0000, 0x3a0202ff, 0x00000080, 0xd8d80000,
      0x02000001},
     8,
     NULL},
    {"the same with the barrier taken out",
     {0x30020082, 0xd8340000, 0x00000001, 0x3a0202ff, 0x00000080, 0xd8d80000, 0x02000001},
     7,
     "never written"},
    {"a branch by a register that nobody wrote",
     {0x7c940b05, 0xbfa30000}, // v_cmp_eq_u32 vcc, v5, v5; s_cbranch_vccz
     2,
     "depends on what was never written"},
    {"the same by the invocation's number", {0x7c940100, 0xbfa30000}, 2, NULL},
    {"a register that nobody wrote, moved, as an address of LDS",
     {0x7e020305, 0xd8340000, 0x00000001}, // v_mov_b32 v1, v5; ds_store_b32 v1, v0
     3,
     "depends on what was never written"},
    {"a load from address 0", {0x7e020280, 0xdc520000, 0x02040001}, 3, "no mapping holds it"},
    {"an instruction that is none", {0x7e00fe01}, 1, "not known: VOP1 127, bytes 7e00fe01"},
};

// The process that runs it ends with what chip_stop() says.
static void fault_test(size_t f)
{
    char said[600] = "";
    int ends[2];
    uint32_t code[12];
    memcpy(code, faults[f].words, faults[f].n * 4);
    code[faults[f].n] = 0xbfb00000;
    fflush(stdout);
    if (pipe(ends) != 0)
        exit(1);
    const pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], 2);
        watch_stops = true;
        const struct dispatch d = {.program = program_make(0, code, faults[f].n + 1),
                                   .groups = {1, 1, 1},
                                   .threads = {64, 1, 1},
                                   .last_threads = {64, 1, 1},
                                   .rsrc1 = 0xc0 << 12,
                                   .rsrc2 = 1 << 15 | 8 << 1, // 8 scalars: s[4:5] are 0
                                   .lanes = 32};
        dispatch_run(&d);
        _Exit(0);
    }
    close(ends[1]);
    for (size_t n = 0, got; n < sizeof(said) - 1; n += got) {
        const ssize_t r = read(ends[0], said + n, sizeof(said) - 1 - n);
        if (r <= 0)
            break;
        got = (size_t)r;
    }
    close(ends[0]);
    int status = 0;
    const bool ended = child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status);
    const bool good =
        ended && (faults[f].want ? WEXITSTATUS(status) == 3 && strstr(said, faults[f].want)
                                 : WEXITSTATUS(status) == 0 && said[0] == 0);
    if (!good)
        printf("%s: exit %d, %s", faults[f].what, status, said);
    n_passed += good, n_failed += !good;
}

// ---- counts, of kernels small enough to count by hand -------------------------------------------

static const uint32_t counted_words[] = {
    0x84038802,             // s_lshl_b32 s3, s2, 8: s2 is the workgroup
    0x30020082,             // v_lshlrev_b32 v1, 2, v0
    0x4a020203,             // v_add_nc_u32 v1, s3, v1
    0xdc520000, 0x02000001, // global_load_b32 v2, v1, s[0:1]
    0xf4000100, 0xf8000000, // s_load_b32 s4, s[0:1], 0
    0xbf890000,             // s_waitcnt 0
    0x7e064b02,             // v_exp_f32 v3, v2
    0xd72c0004, 0x00020502, // v_mul_lo_u32 v4, v2, v2
    0xc9060502, 0x05060501, // v_dual_add_f32 v5, v2, v2 :: v_dual_mul_f32 v6, v1, v2
    0x300e0087,             // v_lshlrev_b32 v7, 7, v0: one bank for all
    0xd8340000, 0x00000507, // ds_store_b32 v7, v5
    0xbfbd0000,             // s_barrier
    0xd8d80000, 0x08000007, // ds_load_b32 v8, v7
    0xbfa10000,             // s_cbranch_scc0 0
    0xdc6a0800, 0x00000501, // global_store_b32 v1, v5, s[0:1] offset:2048
    0xbfb00000,             // s_endpgm
};
static const uint32_t far_words[] = {
    0x30020087, // v_lshlrev_b32 v1, 7, v0: a line a lane
    0xdc520000,
    0x02000001, // global_load_b32 v2, v1, s[0:1]
    0xbfb00000,
};
// Each wave loads lines A B C D, stores to B, loads E and A.
static const uint32_t dropped_words[] = {
    0x30020082,             // v_lshlrev_b32 v1, 2, v0
    0x360202ff, 0x0000007c, // v_and_b32 v1, 0x7c, v1: a line a wave
    0xdc520000, 0x02000001, // global_load_b32 v2, v1, s[0:1]
    0xdc520080, 0x02000001, // global_load_b32 v2, v1, s[0:1] offset:128
    0xdc520100, 0x02000001, // global_load_b32 v2, v1, s[0:1] offset:256
    0xdc520180, 0x02000001, // global_load_b32 v2, v1, s[0:1] offset:384
    0xdc6a0080, 0x00000101, // global_store_b32 v1, v1, s[0:1] offset:128
    0xdc520200, 0x02000001, // global_load_b32 v2, v1, s[0:1] offset:512
    0xdc520000, 0x02000001, // global_load_b32 v2, v1, s[0:1]
    0xbfb00000,             // s_endpgm
};
enum { COUNTED_AT = 0x10000, COUNTED_BYTES = 1 << 17 };

static void counted(const uint32_t *words, size_t n, uint32_t n_groups)
{
    struct program *p = program_make(0, words, n);
    const struct dispatch d = {.program = p,
                               .groups = {n_groups, 1, 1},
                               .threads = {64, 1, 1},
                               .last_threads = {64, 1, 1},
                               .rsrc1 = 0xc0 << 12,
                               .rsrc2 = 16 << 15 | 1 << 7 | 2 << 1, // LDS, s2, s[0:1]
                               .user = {COUNTED_AT},
                               .lanes = 32};
    count_begin();
    dispatch_run(&d);
    count_end();
    program_free(p);
}

static void same_counts(const char *when, uint64_t l0, uint64_t of_scalar, uint64_t l1, uint64_t l2,
                        uint64_t memory, uint64_t written)
{
    const uint64_t want[] = {l0, of_scalar, l1, l2, memory};
    for (int level = 0; level < N_LEVELS; level++)
        verdict(counts.asked[level] == want[level], when, counts.asked[level], want[level]);
    verdict(counts.written == written, when, counts.written, written);
}

// L0 holds four lines. E takes the place of B, whom the store has dropped, so A is still there at
// the end of the first wave. Of the second one B, C and D are asked of L1 again, and E.
static void dropped_test(void)
{
    count_open(&(struct count_chip){1, 1, 512, 1024, 2048, 2048});
    counted(dropped_words, sizeof(dropped_words) / 4, 1);
    same_counts("lines, one dropped", 14, 0, 6 + 5, 6 + 2, 5, 0);
}

// One processor with caches of 16 lines, L2 of one set.
static void count_tests(void)
{
    static const uint64_t units[N_UNITS] = {
        4, 20, 4, 0, 8, 8, 4, 4, 12}; // of four waves; a pair is one, s_barrier is none's
    const int fd = memfd_create("counted", 0);
    const struct known_buffer weights = {{COUNTED_AT, COUNTED_BYTES}, false};
    if (fd < 0 || ftruncate(fd, COUNTED_BYTES) != 0 || !vm_map(COUNTED_AT, COUNTED_BYTES, fd, 0))
        exit(1);
    count_open(&(struct count_chip){1, 1, 2048, 1024, 2048, 2048});
    counted(counted_words, sizeof(counted_words) / 4, 2);
    for (int u = 0; u < N_UNITS; u++)
        verdict(counts.instructions[u] == units[u], "instructions of a unit",
                counts.instructions[u], units[u]);
    verdict(counts.n_pairs == 4, "pairs", counts.n_pairs, 4);
    verdict(counts.n_slow == 4, "slow products", counts.n_slow, 4);
    verdict(counts.valu_clocks_most == 4 * (4 + 4), "clocks", counts.valu_clocks_most, 32);
    verdict(counts.lanes == 640 && counts.lanes_most == 640, "lanes", counts.lanes, 640);
    verdict(counts.lds_clocks == 256, "clocks of LDS", counts.lds_clocks, 256);
    verdict(counts.n_conflicts == 248, "conflicts", counts.n_conflicts, 248);
    verdict(counts.loaded == 512 && counts.stored == 512, "bytes", counts.loaded, 512);
    verdict(counts.n_barriers == 4, "barriers", counts.n_barriers, 4);
    // A line a wave is loaded and one stored; the scalar cache asks once for the first one.
    same_counts("lines, cold", 8, 4, 9, 8, 4, 0);
    counted(counted_words, sizeof(counted_words) / 4, 2);
    same_counts("lines, again", 8, 4, 4, 4, 0, 0);
    count_invalidate(true, true, true);
    counted(counted_words, sizeof(counted_words) / 4, 2);
    same_counts("lines, invalidated", 8, 4, 9, 8, 0, 0);
    // Of 64 lines L2 has the first four; those stored give way. L0 holds the four of its unit.
    count_invalidate(true, true, true);
    watch_buffers(&weights, 1, NULL, 0);
    counted(far_words, sizeof(far_words) / 4, 1);
    same_counts("lines of many", 64, 0, 64, 64, 64, 4);
    verdict(counts.weight_lines == 64, "lines of weights", counts.weight_lines, 64);
    verdict(counts.weights[LEVEL_MEMORY] == 60, "of memory", counts.weights[LEVEL_MEMORY], 60);
    counted(far_words, sizeof(far_words) / 4, 1);
    same_counts("lines of too many", 64, 0, 64, 64, 64, 0);
    watch_buffers(NULL, 0, NULL, 0);
    dropped_test();
    count_on = false;
    close(fd);
}

int main(void)
{
    for (size_t f = 0; f < sizeof(faults) / sizeof(*faults); f++)
        fault_test(f);
    vector_tests();
    scalar_tests();
    lane_tests();
    matrix_test(32);
    matrix_test(64);
    count_tests();
    printf("vectors: %u passed, %u failed\n", n_passed, n_failed);
    return n_failed != 0 || n_passed == 0;
}
