/* Moves between registers that are meant all at once, as loops need them where they begin and end, one after the other. */
#include "vector/vector.h"

static bool is_source(const VectorMove *moves, int count, VectorMove m) {
    for (int i = 0; i < count; i++)
        if (moves[i].class == m.class && moves[i].from == m.to)
            return true;
    return false;
}

/* `m.to` and `m.from` have changed places: whoever wants either finds it in the other. */
static void follow_swap(VectorMove *moves, int count, VectorMove m) {
    for (int i = 0; i < count; i++) {
        if (moves[i].class != m.class)
            continue;
        if (moves[i].from == m.to)
            moves[i].from = m.from;
        else if (moves[i].from == m.from)
            moves[i].from = m.to;
    }
}

static int drop_idle(VectorMove *moves, int first, int end) {
    for (int i = first; i < end; i++)
        if (moves[i].to == moves[i].from)
            moves[i--] = moves[--end];
    return end;
}

int vector_order_moves(VectorMove *moves, int count) {
    count = drop_idle(moves, 0, count);
    for (int done = 0; done < count; done++) {
        int pick = done;
        while (pick < count && is_source(moves + done, count - done, moves[pick]))
            pick++;
        bool cycles = pick == count; /* alone are left */
        VectorMove m = moves[cycles ? done : pick];
        moves[cycles ? done : pick] = moves[done];
        m.swap = cycles;
        moves[done] = m;
        if (cycles) {
            follow_swap(moves + done + 1, count - done - 1, m);
            count = drop_idle(moves, done + 1, count);
        }
    }
    return count;
}

VectorMove *vector_moves(const VectorFunction *f, const VectorAllocation *at, const int *to, const int *from, int count,
                         int *left) {
    VectorMove *moves = ARENA_ARRAY(f->arena, VectorMove, (size_t)count + 1);
    *left = 0;
    for (int i = 0; moves && i < count; i++)
        if (at->reg[to[i]] >= 0)
            moves[(*left)++] =
                (VectorMove){.to = at->reg[to[i]], .from = at->reg[from[i]], .class = at->same[f->values[to[i]].class]};
    if (moves)
        *left = vector_order_moves(moves, *left);
    return moves;
}
