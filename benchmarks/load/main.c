/* The load generator and delivery checker of the benchmarks; benchmarks/load/README.md has its use.
 *
 * It talks to this machine alone (127.0.0.0/8), and prints one line of JSON. */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "load.h"

struct options options;
struct totals totals;
struct connection *watchers, publisher;
uint64_t *room_published;
uint32_t *room_watchers;
bool is_counting, is_loading;
char first_error[256];

uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void die(const char *format, ...)
{
    va_list words;
    va_start(words, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, words);
    fputs("\n", stderr);
    va_end(words);
    exit(2);
}

void *must(void *memory)
{
    if (!memory)
        die("out of memory");
    return memory;
}

static void allow_files(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max < options.connections + 16)
        die("%u connections need more files than the %llu allowed", options.connections,
            (unsigned long long)limit.rlim_max);
}

int main(int count, char **words)
{
    signal(SIGPIPE, SIG_IGN);
    read_options(count, words);
    allow_files();
    watchers = must(calloc(options.connections, sizeof *watchers));
    room_published = must(calloc(options.rooms, sizeof *room_published));
    room_watchers = must(calloc(options.rooms, sizeof *room_watchers));
    make_hub();
    struct phases phases = run();
    return report(&phases) ? 0 : 1;
}
