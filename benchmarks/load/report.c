/* One line of JSON: what was done, what it cost, and whether everything came, once, in order. */
#include <stdio.h>

#include "load.h"

struct faults {
    uint64_t lost, doubled, reordered;
    uint32_t watchers;
};

static struct faults faults_of_all(void)
{
    struct faults all = {0};
    for (uint32_t i = 0; i < options.connections; i++) {
        const struct connection *c = &watchers[i];
        if (c->stalled || c->state != LIVE)
            continue;
        uint64_t published = room_published[c->room];
        uint64_t lost = c->seen.lost + (published > c->seen.next ? published - c->seen.next : 0);
        all.lost += lost;
        all.doubled += c->seen.doubled;
        all.reordered += c->seen.reordered;
        bool is_silent = options.test == TEST_CALLS && !c->received;
        all.watchers += is_silent || lost || c->seen.doubled || c->seen.reordered;
    }
    return all;
}

static void print_times(const char *name, const struct histogram *h)
{
    printf(",\"%s\":{\"count\":%llu,\"p50\":%.4f,\"p90\":%.4f,\"p99\":%.4f,\"max\":%.4f}", name,
           (unsigned long long)h->count, (double)at_share(h, 0.5) / 1e3,
           (double)at_share(h, 0.9) / 1e3, (double)at_share(h, 0.99) / 1e3, (double)h->most / 1e3);
}

static void print_cpu(const char *name, const struct usage *from, const struct usage *to)
{
    printf(",\"%s\":[", name);
    for (int i = 0; i < options.server_count; i++)
        printf("%s%.6f", i ? "," : "", to->cpu_s[i] - from->cpu_s[i]);
    printf("]");
}

static void print_rss(const char *name, const struct usage *usage)
{
    printf("\"%s\":[", name);
    for (int i = 0; i < options.server_count; i++)
        printf("%s%llu", i ? "," : "", (unsigned long long)usage->rss_kb[i]);
    printf("]");
}

static void print_servers(const struct phases *p)
{
    print_cpu("connect_cpu_s", &p->before, &p->connected);
    print_cpu("cpu_s", &p->begun, &p->ended);
    printf(",\"rss_kb\":{");
    print_rss("before", &p->before);
    printf(",");
    print_rss("connected", &p->settled);
    printf(",");
    print_rss("end", &p->ended);
    printf("}");
}

static void print_error(void)
{
    for (char *c = first_error; *c; c++)
        if (*c == '"' || *c == '\\' || (unsigned char)*c < 32 || (unsigned char)*c > 126)
            *c = '\'';
    printf(",\"first_error\":\"%s\"}\n", first_error);
}

static bool is_complete(const struct faults *faults, const struct phases *p)
{
    bool all_connected = !totals.failed && totals.dropped == totals.stalled_dropped;
    bool nothing_wrong = !faults->watchers;
    return all_connected && nothing_wrong && !totals.refused && p->is_ready;
}

bool report(const struct phases *p)
{
    struct faults faults = faults_of_all();
    bool complete = is_complete(&faults, p);
    printf("{\"complete\":%s,\"connections\":%u,\"live\":%u,\"failed\":%u,\"dropped\":%u,"
           "\"stalled\":%u,\"stalled_dropped\":%u,\"connect_s\":%.4f,\"seconds\":%.4f,"
           "\"drain_s\":%.4f,\"own_cpu_s\":%.4f",
           complete ? "true" : "false", options.connections, totals.live, totals.failed,
           totals.dropped, options.stalled, totals.stalled_dropped, p->connect_s, p->seconds,
           p->drain_s, p->own_cpu_s);
    printf(",\"published\":%llu,\"deliveries\":%llu,\"answers\":%llu,\"refused\":%llu",
           (unsigned long long)p->published, (unsigned long long)p->deliveries,
           (unsigned long long)p->answers, (unsigned long long)totals.refused);
    printf(",\"lost\":%llu,\"doubled\":%llu,\"reordered\":%llu,\"bad_watchers\":%u",
           (unsigned long long)faults.lost, (unsigned long long)faults.doubled,
           (unsigned long long)faults.reordered, faults.watchers);
    print_times("connect_ms", &totals.connect_us);
    print_times("latency_ms", &totals.latency_us);
    print_servers(p);
    print_error();
    return complete;
}
