/* Connect, settle, warm up, drain, count, drain.
 *
 * What is counted begins and ends with nothing under way. A server that takes in many events before
 * it sends any would otherwise be given CPU time that it used before, or deliveries that cost later. */
#include <stdlib.h>
#include <sys/resource.h>

#include "load.h"

static const double GIVE_UP_S = 30; /* on a connection that is not let in */

static double since(uint64_t start_us) { return (double)(now_us() - start_us) / 1e6; }

static void run_for(double seconds)
{
    uint64_t start_us = now_us();
    for (double left; (left = seconds - since(start_us)) > 0;) {
        int64_t wait_us = publish(), left_us = (int64_t)(left * 1e6);
        turn(wait_us < left_us ? wait_us : left_us);
    }
}

static void dial_more(void)
{
    while (totals.dialled < options.connections && totals.opening < options.opening_at_once) {
        struct connection *c = &watchers[totals.dialled];
        c->number = totals.dialled;
        c->room = totals.dialled % options.rooms;
        totals.dialled++;
        dial(c);
    }
}

static void give_up_on_late(void)
{
    for (uint32_t i = 0; i < totals.dialled; i++)
        if (watchers[i].state < LIVE && since(watchers[i].dialled_us) > GIVE_UP_S)
            hang_up(&watchers[i], "not let in in time");
}

/* Gives the seconds until the last one was live. */
static double connect_all(void)
{
    uint64_t start_us = now_us(), last_us = start_us, looked_us = start_us;
    for (uint32_t done = 0; done < options.connections;) {
        dial_more();
        turn(5000);
        if (totals.live + totals.failed != done)
            last_us = now_us();
        done = totals.live + totals.failed + totals.dropped;
        if (since(looked_us) > 1) {
            give_up_on_late();
            looked_us = now_us();
        }
    }
    return (double)(last_us - start_us) / 1e6;
}

static void divide(void)
{
    for (uint32_t i = 0; i < options.connections; i++) {
        struct connection *c = &watchers[i];
        if (c->state == LIVE && i < options.stalled)
            stop_reading(c);
        else if (c->state == LIVE)
            room_watchers[c->room]++;
    }
}

static bool connect_publisher(void)
{
    publisher.role = options.http_publish ? HTTP_PUBLISHER : PUBLISHER;
    publisher.number = options.connections;
    uint64_t start_us = now_us();
    dial(&publisher);
    while (publisher.state < LIVE && since(start_us) < GIVE_UP_S)
        turn(5000);
    return publisher.state == LIVE;
}

static void start_load(void)
{
    is_loading = true;
    begin_publishing();
    for (uint32_t i = 0; options.test == TEST_CALLS && i < options.connections; i++)
        if (watchers[i].state == LIVE)
            call(&watchers[i]);
}

static double own_cpu(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

/* Whoever is given nothing more for a while has lost it. */
static double drain(void)
{
    is_loading = false;
    if (options.test != TEST_FANOUT)
        return 0;
    uint64_t start_us = now_us(), moved_us = start_us;
    uint64_t seen = totals.deliveries;
    while (totals.deliveries < totals.wanted && since(moved_us) < options.patience_s) {
        turn(2000);
        if (totals.deliveries != seen)
            moved_us = now_us();
        seen = totals.deliveries;
    }
    return (double)(moved_us - start_us) / 1e6;
}

static void count_for(struct phases *phases, double seconds)
{
    struct totals before = totals;
    double own = own_cpu();
    uint64_t start_us = now_us();
    phases->begun = use();
    is_counting = true;
    run_for(seconds);
    phases->seconds = since(start_us);
    phases->drain_s = drain();
    is_counting = false;
    phases->ended = use();
    phases->own_cpu_s = own_cpu() - own;
    phases->deliveries = totals.deliveries - before.deliveries;
    phases->published = totals.published - before.published;
    phases->answers = totals.answers - before.answers;
}

static void warm_up(void)
{
    start_load();
    run_for(options.warmup_s);
    if (options.test == TEST_FANOUT) {
        drain();
        start_load();
    }
}

struct phases run(void)
{
    struct phases phases = {0};
    find_processes();
    phases.before = use();
    phases.connect_s = connect_all();
    find_processes(); /* a server may have started more for its connections */
    phases.connected = use();
    divide();
    phases.is_ready = totals.live > 0 && (options.test != TEST_FANOUT || connect_publisher());
    run_for(options.settle_s);
    phases.settled = use();
    if (phases.is_ready && options.test != TEST_IDLE)
        warm_up();
    count_for(&phases, phases.is_ready ? options.seconds : 0);
    return phases;
}
