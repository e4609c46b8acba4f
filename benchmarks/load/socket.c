/* Sockets that never block, and one epoll for all of them. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

enum { AT_ONCE = 512, READ_BYTES = 1 << 18, KEPT_BYTES = 1 << 16, STALLED_BYTES = 1 << 14 };
/* One address has some 28,000 ports to call from, less those that the last run left waiting. */
enum { CALLS_FROM_ONE_ADDRESS = 4000 };

static int hub;
static char read_bytes[READ_BYTES];

void make_hub(void)
{
    hub = epoll_create1(EPOLL_CLOEXEC);
    if (hub < 0)
        die("epoll: %s", strerror(errno));
}

static void watch(struct connection *c, int how)
{
    uint32_t in = c->stalled ? EPOLLRDHUP : EPOLLIN;
    struct epoll_event event = {.events = in | (c->wants_out ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(hub, how, c->fd, &event);
}

static void drop(struct buffer *b)
{
    free(b->at);
    *b = (struct buffer){0};
}

static void count_loss(const struct connection *c)
{
    if (c->role != WATCHER) {
        totals.refused++;
    } else if (c->state == LIVE) {
        totals.live--;
        totals.dropped++;
    } else {
        totals.failed++;
        totals.opening--;
    }
}

void hang_up(struct connection *c, const char *why)
{
    if (c->state == GONE)
        return;
    if (!first_error[0])
        snprintf(first_error, sizeof first_error, "%s %u, state %d: %.180s",
                 c->role == WATCHER ? "watcher" : "publisher", c->number, c->state, why);
    count_loss(c);
    c->state = GONE;
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    drop(&c->in);
    drop(&c->out);
}

void stop_reading(struct connection *c)
{
    c->stalled = true;
    watch(c, EPOLL_CTL_MOD);
}

static bool bind_source(int fd, uint32_t number)
{
    int one = 1;
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    struct sockaddr_in source = {.sin_family = AF_INET};
    source.sin_addr.s_addr = htonl(0x7f000001 + number / CALLS_FROM_ONE_ADDRESS);
    return !bind(fd, (struct sockaddr *)&source, sizeof source);
}

static bool start(int fd, const struct connection *c)
{
    const struct target *to = c->role == WATCHER ? &options.watch : &options.publish;
    int one = 1, small = STALLED_BYTES;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    /* The kernel would read some megabytes for one who has stopped, and hide that it has. */
    if (c->role == WATCHER && c->number < options.stalled)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    if (c->role == WATCHER && !bind_source(fd, c->number))
        return false;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)to->port)};
    inet_aton(to->host, &address.sin_addr);
    return !connect(fd, (struct sockaddr *)&address, sizeof address) || errno == EINPROGRESS;
}

void dial(struct connection *c)
{
    c->dialled_us = now_us();
    c->state = DIALLING;
    c->wants_out = true;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->role == WATCHER)
        totals.opening++;
    if (c->fd < 0 || !start(c->fd, c))
        hang_up(c, strerror(errno));
    else
        watch(c, EPOLL_CTL_ADD);
}

void append(struct connection *c, const void *bytes, size_t count)
{
    if (c->state == GONE)
        return;
    struct buffer *b = &c->out;
    if (b->end + count > b->size) {
        b->size = 2 * b->size + count + 256;
        b->at = must(realloc(b->at, b->size));
    }
    memcpy(b->at + b->end, bytes, count);
    b->end += count;
}

static void set_wants_out(struct connection *c, bool wants)
{
    if (c->wants_out == wants)
        return;
    c->wants_out = wants;
    watch(c, EPOLL_CTL_MOD);
}

void flush(struct connection *c)
{
    struct buffer *b = &c->out;
    while (c->state != GONE && b->start < b->end) {
        ssize_t sent = send(c->fd, b->at + b->start, b->end - b->start, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            set_wants_out(c, true);
            return;
        }
        if (sent < 0 && errno != EINTR)
            hang_up(c, strerror(errno));
        b->start += sent > 0 ? (size_t)sent : 0;
    }
    if (c->state == GONE)
        return;
    b->start = b->end = 0;
    if (b->size > KEPT_BYTES || c->role == WATCHER)
        drop(b);
    set_wants_out(c, false);
}

static void keep(struct connection *c, const char *bytes, size_t count)
{
    struct buffer *b = &c->in;
    if (b->end + count > b->size) {
        b->size = b->end + count + 1024;
        b->at = must(realloc(b->at, b->size));
    }
    memmove(b->at + b->end, bytes, count);
    b->end += count;
}

/* What is whole is taken where it lies; only the beginning of a frame is kept for later. */
static void take_bytes(struct connection *c, char *bytes, size_t count)
{
    if (!c->in.end) {
        size_t used = take(c, bytes, count);
        if (c->state != GONE && used < count)
            keep(c, bytes + used, count - used);
        return;
    }
    keep(c, bytes, count);
    size_t used = take(c, c->in.at, c->in.end);
    if (c->state == GONE)
        return;
    memmove(c->in.at, c->in.at + used, c->in.end - used);
    c->in.end -= used;
    if (!c->in.end)
        drop(&c->in);
}

static void read_some(struct connection *c)
{
    ssize_t count;
    do {
        count = recv(c->fd, read_bytes, sizeof read_bytes, 0);
        if (count > 0)
            take_bytes(c, read_bytes, (size_t)count);
        else if (count == 0)
            hang_up(c, "closed by the server");
        else if (errno != EAGAIN && errno != EINTR)
            hang_up(c, strerror(errno));
    } while (c->state != GONE && count == sizeof read_bytes);
}

static void connected(struct connection *c)
{
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error)
        hang_up(c, strerror(error));
    else
        begin(c);
}

static void serve(struct connection *c, uint32_t events)
{
    if (c->state == GONE)
        return;
    if (c->state == DIALLING) {
        connected(c);
    } else if (c->stalled) {
        totals.stalled_dropped++;
        hang_up(c, "a stalled watcher was cut off");
    } else {
        if (events & EPOLLOUT)
            flush(c);
        if (c->state != GONE && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            read_some(c);
    }
}

void turn(int64_t wait_us)
{
    struct epoll_event events[AT_ONCE];
    if (wait_us > 0 && !options.spin) {
        /* epoll's own waits are whole milliseconds, too coarse for an open loop. */
        struct pollfd any = {.fd = hub, .events = POLLIN};
        struct timespec wait = {.tv_sec = wait_us / 1000000, .tv_nsec = wait_us % 1000000 * 1000};
        ppoll(&any, 1, &wait, NULL);
    }
    int count = epoll_wait(hub, events, AT_ONCE, 0);
    for (int i = 0; i < count; i++)
        serve(events[i].data.ptr, events[i].events);
}
