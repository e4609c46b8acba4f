/* What a watcher has seen, number by number, and how long things took. */
#include <stdlib.h>
#include <string.h>

#include "load.h"

enum { RECENT = 16384 };

static bool was_seen(const struct seen *seen, uint64_t number)
{
    return seen->recent[number % RECENT / 64] >> (number % 64) & 1;
}

static void note(struct seen *seen, uint64_t number, bool is_seen)
{
    uint64_t bit = 1ull << (number % 64), *word = &seen->recent[number % RECENT / 64];
    *word = is_seen ? *word | bit : *word & ~bit;
}

/* Most watchers see each number in its turn, and never need the bits. */
static void remember(struct seen *seen)
{
    if (seen->recent)
        return;
    seen->recent = must(malloc(RECENT / 8));
    memset(seen->recent, 0xff, RECENT / 8);
}

static void jump_to(struct seen *seen, uint64_t number)
{
    seen->lost += number - seen->next;
    uint64_t from = number - seen->next > RECENT ? number - RECENT : seen->next;
    for (uint64_t missing = from; missing < number; missing++)
        note(seen, missing, false);
}

static void see_late(struct seen *seen, uint64_t number)
{
    /* What is too long ago to be known counts as doubled: the run is bad either way. */
    if (seen->next - number > RECENT || was_seen(seen, number)) {
        seen->doubled++;
        return;
    }
    seen->lost--;
    seen->reordered++;
    note(seen, number, true);
}

void see(struct seen *seen, uint64_t number)
{
    if (number == seen->next && !seen->recent) {
        seen->next++;
        return;
    }
    remember(seen);
    if (number < seen->next) {
        see_late(seen, number);
        return;
    }
    jump_to(seen, number);
    note(seen, number, true);
    seen->next = number + 1;
}

static int step_of(uint64_t value)
{
    if (value < 64)
        return (int)value;
    int power = 63 - __builtin_clzll(value);
    return (power - 5) * 64 + (int)(value >> (power - 6) & 63);
}

static uint64_t middle_of(int step)
{
    if (step < 64)
        return (uint64_t)step;
    int power = step / 64 + 5;
    return ((uint64_t)(64 + step % 64) << (power - 6)) + (1ull << (power - 6)) / 2;
}

void add(struct histogram *h, uint64_t value)
{
    h->counts[step_of(value)]++;
    h->count++;
    if (value > h->most)
        h->most = value;
}

uint64_t at_share(const struct histogram *h, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)h->count), passed = 0;
    for (int step = 0; step < 64 * 64; step++) {
        passed += h->counts[step];
        if (passed > wanted) {
            uint64_t value = middle_of(step);
            return value < h->most ? value : h->most;
        }
    }
    return h->most;
}
