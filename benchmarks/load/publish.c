/* When the next event is due. A closed loop keeps so many in flight; an open one keeps a rate,
 * whether the server keeps up or not, and an event's clock starts when it was due. */
#include "load.h"

enum { LONGEST_EVENT = 1 << 17, MOST_POSTS = 64, MOST_AT_ONCE = 64 };

static char event_bytes[LONGEST_EVENT];
static uint64_t events, due_us, began_us;

void begin_publishing(void)
{
    began_us = due_us = now_us();
    events = 0;
}

static void publish_one(uint64_t ts)
{
    struct values values = {.room = (uint32_t)(totals.published % options.rooms), .ts = ts};
    values.n = room_published[values.room]++;
    totals.published++;
    totals.wanted += room_watchers[values.room];
    size_t length = fill(options.event, event_bytes, sizeof event_bytes, &values);
    if (publisher.role == HTTP_PUBLISHER)
        put_post(&publisher, &values, event_bytes, length);
    else
        put_frame(&publisher, 1, event_bytes, length);
}

static bool may_send(void)
{
    if (publisher.state != LIVE)
        return false;
    return publisher.role != HTTP_PUBLISHER || totals.published < totals.answers + MOST_POSTS;
}

static int64_t publish_closed(void)
{
    /* Deliveries of an event count together: it has landed when as many came as it has watchers. */
    uint64_t watchers_of_one = room_watchers[0] ? room_watchers[0] : 1;
    uint64_t allowed = options.in_flight * watchers_of_one;
    for (int i = 0; i < MOST_AT_ONCE && may_send(); i++) {
        if (totals.wanted + watchers_of_one > totals.deliveries + allowed)
            break;
        publish_one(now_us());
    }
    return 5000;
}

static int64_t publish_open(void)
{
    for (int i = 0; i < MOST_AT_ONCE && due_us <= now_us() && may_send(); i++) {
        publish_one(due_us);
        due_us = began_us + (uint64_t)((double)++events * 1e6 / options.rate);
    }
    uint64_t now = now_us();
    return due_us <= now ? 50 : due_us - now < 20000 ? (int64_t)(due_us - now) : 20000;
}

int64_t publish(void)
{
    if (!is_loading || options.test != TEST_FANOUT || publisher.state != LIVE)
        return 20000;
    int64_t wait_us = options.rate > 0 ? publish_open() : publish_closed();
    flush(&publisher);
    return wait_us;
}
