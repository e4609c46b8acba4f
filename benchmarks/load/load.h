/* The load: many WebSocket or Socket.IO connections of one process, and what became of each event.
 *
 * options.c reads what is wanted; socket.c moves bytes; websocket.c makes frames of them;
 * client.c holds the conversation of a connection; publish.c says when the next event is due;
 * check.c knows what each watcher has seen; process.c looks at the server; phases.c runs it all;
 * report.c prints the one line of JSON. */
#ifndef LOAD_H
#define LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum test { TEST_FANOUT, TEST_IDLE, TEST_CALLS };
enum role { WATCHER, PUBLISHER, HTTP_PUBLISHER };

/* What a connection waits for. */
enum state { DIALLING, UPGRADING, OPENING, JOINING, GREETING, SUBSCRIBING, LIVE, GONE };

enum { MOST_WORDS = 24, MOST_SERVERS = 16, MOST_PROCESSES = 256 };

struct words {
    const char *at[MOST_WORDS];
    int count;
};

/* The lines of a file: one for each connection or room, taken in turn. */
struct lines {
    char **at;
    uint32_t count;
};

struct target {
    char host[64];
    char path[1024];
    int port;
};

struct options {
    enum test test;
    struct target watch, publish;
    bool socketio, http_publish, spin;
    uint32_t connections, opening_at_once, rooms, stalled, in_flight;
    double rate; /* events a second; 0: a closed loop with `in_flight` */
    double warmup_s, seconds, settle_s, patience_s;
    const char *auth, *publish_auth, *greeting, *ready, *event, *call, *answer;
    struct words headers, sends, publish_headers, publish_sends;
    const char *publish_ready;
    struct lines tokens, room_names;
    int pad;
    int servers[MOST_SERVERS], server_count;
};

/* Bytes that wait: to be sent, or for the rest of a frame. */
struct buffer {
    char *at;
    size_t start, end, size;
};

/* What one watcher has seen of its room's numbers. */
struct seen {
    uint64_t next, lost, doubled, reordered;
    uint64_t *recent; /* bits of the last RECENT numbers; only once something was amiss */
};

struct connection {
    int fd;
    uint32_t number, room;
    uint8_t role, state;
    bool wants_out, stalled;
    struct buffer in, out;
    struct seen seen;
    uint64_t dialled_us, asked_us, calls, received;
};

/* Values by their logarithm: 64 steps for each power of two, so off by 1.6 % at most. */
struct histogram {
    uint64_t counts[64 * 64], count, most;
};

struct totals {
    uint64_t published, deliveries, wanted; /* since the start */
    uint64_t answers, refused;
    uint32_t live, failed, dropped, stalled_dropped, opening, dialled;
    struct histogram connect_us, latency_us;
};

struct usage {
    double cpu_s[MOST_SERVERS];
    uint64_t rss_kb[MOST_SERVERS];
};

extern struct options options;
extern struct totals totals;
extern struct connection *watchers, publisher;
extern uint64_t *room_published; /* by room: the number of the next event */
extern uint32_t *room_watchers;  /* by room: those who have to see it */
extern bool is_counting, is_loading;
extern char first_error[256];

/* options.c */
void read_options(int count, char **words);

/* template.c: {i} {n} {ts} {pad} {room} {token} */
struct values {
    uint64_t n, ts;
    uint32_t i, room;
};
size_t fill(const char *template, char *out, size_t size, const struct values *values);
bool fits(const char *pattern, const char *text, size_t length);

/* socket.c */
void make_hub(void);
void dial(struct connection *c);
void hang_up(struct connection *c, const char *why);
void stop_reading(struct connection *c);
void append(struct connection *c, const void *bytes, size_t count);
void flush(struct connection *c);
void turn(int64_t wait_us); /* one round of whatever is ready */

/* websocket.c */
void ask_upgrade(struct connection *c);
size_t take_upgrade(struct connection *c, char *bytes, size_t count);
size_t take_frame(struct connection *c, char *bytes, size_t count);
void put_frame(struct connection *c, int opcode, const char *bytes, size_t count);

/* client.c */
void begin(struct connection *c);
size_t take(struct connection *c, char *bytes, size_t count);
void take_text(struct connection *c, const char *text, size_t length);
void call(struct connection *c);

/* http.c */
size_t take_answer(struct connection *c, char *bytes, size_t count);
void put_post(struct connection *c, const struct values *values, const char *body, size_t length);

/* publish.c */
void begin_publishing(void);
int64_t publish(void); /* what is due; gives the microseconds until the next one */

/* check.c */
void see(struct seen *seen, uint64_t number);
void add(struct histogram *h, uint64_t value);
uint64_t at_share(const struct histogram *h, double share);

/* process.c */
void find_processes(void);
struct usage use(void);

/* phases.c */
struct phases {
    double connect_s, seconds, drain_s, own_cpu_s;
    struct usage before, connected, settled, begun, ended;
    uint64_t deliveries, published, answers;
    bool is_ready; /* whether there was anybody to load, and a publisher where one is wanted */
};
struct phases run(void);

/* report.c */
bool report(const struct phases *phases);

/* main.c */
uint64_t now_us(void);
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
void *must(void *memory);

#endif
