// slots.glsl - how the kernels of recurrent layers walk a batch: rows are runs of sequences, whose
// states stand in slots (compute.h, struct slots).
//
// A workgroup of row t0 does the whole run that begins there, or nothing where none begins. Slots
// are read before and written behind a row by the same invocations, so that a run may write the
// slot that it read. To be included behind the push constants `p` with slot_in, slot_out, n_tokens,
// n_slots, state, state_row.
const int GOES_ON = -1;

bool run_begins(uint t) { return t == 0 || load_i(p.slot_in, t * 4) != GOES_ON; }
bool run_ends(uint t) { return t + 1 >= p.n_tokens || load_i(p.slot_in, t * 4 + 4) != GOES_ON; }

// The slot that stands before row t, or that is written behind it; false: zeros, or none.
bool slot_before(uint t, out uint64_t slot)
{
    const int i = load_i(p.slot_in, t * 4);
    slot = p.state + uint64_t(uint(i)) * p.state_row;
    return uint(i) < p.n_slots;
}

bool slot_behind(uint t, out uint64_t slot)
{
    const int i = load_i(p.slot_out, t * 4);
    slot = p.state + uint64_t(uint(i)) * p.state_row;
    return uint(i) < p.n_slots;
}
