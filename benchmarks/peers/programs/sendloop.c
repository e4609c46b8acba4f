/* The limit of one system call a delivery: accepts WebSockets, and sends each text that one of
 * them says to all that asked for /watch, one send() each. No rooms, no names, no limits, no pings;
 * who doesn't read is hung up on. Its only argument is the port on 127.0.0.1. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_FILES = 65536, READ_BYTES = 1 << 17, AT_ONCE = 512 };

struct client {
    int is_open, is_upgraded, place; /* among the watchers, or -1 */
    size_t count;                    /* bytes that wait for the rest of a frame */
    uint8_t *bytes;
};

static struct client clients[MOST_FILES];
static int watchers[MOST_FILES], watcher_count, hub;

static uint32_t turned(uint32_t x, int by) { return x << by | x >> (32 - by); }

static void hash_block(uint32_t *h, const uint8_t *block)
{
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | block[4 * i + 1] << 16 | block[4 * i + 2] << 8 |
               block[4 * i + 3];
    for (int i = 16; i < 80; i++)
        w[i] = turned(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t f = i < 20 ? (b & c) | (~b & d) : i < 40 || i >= 60 ? b ^ c ^ d
                                                 : (b & c) | (b & d) | (c & d);
        uint32_t k = i < 20 ? 0x5a827999 : i < 40 ? 0x6ed9eba1 : i < 60 ? 0x8f1bbcdc : 0xca62c1d6;
        uint32_t next = turned(a, 5) + f + e + k + w[i];
        e = d, d = c, c = turned(b, 30), b = a, a = next;
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
}

/* SHA-1 of at most 119 bytes: what the handshake of WebSocket asks for. */
static void sha1(const char *text, size_t count, uint8_t *digest)
{
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    uint8_t blocks[128] = {0};
    size_t size = count < 56 ? 64 : 128;
    memcpy(blocks, text, count);
    blocks[count] = 0x80;
    for (int i = 0; i < 8; i++)
        blocks[size - 1 - i] = (uint8_t)((uint64_t)count * 8 >> 8 * i);
    for (size_t at = 0; at < size; at += 64)
        hash_block(h, blocks + at);
    for (int i = 0; i < 20; i++)
        digest[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

static void base64(const uint8_t *bytes, size_t count, char *out)
{
    static const char *letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < count; i += 3) {
        uint32_t three = (uint32_t)bytes[i] << 16;
        three |= i + 1 < count ? (uint32_t)bytes[i + 1] << 8 : 0;
        three |= i + 2 < count ? bytes[i + 2] : 0;
        for (int j = 0; j < 4; j++)
            *out++ = i + j > count ? '=' : letters[three >> (18 - 6 * j) & 63];
    }
    *out = 0;
}

static void leave(int fd)
{
    struct client *c = &clients[fd];
    if (c->place >= 0) {
        int last = watchers[--watcher_count];
        watchers[c->place] = last;
        clients[last].place = c->place;
    }
    free(c->bytes);
    *c = (struct client){.place = -1};
    close(fd);
}

static void publish(const uint8_t *text, size_t count)
{
    static uint8_t frame[READ_BYTES + 8];
    size_t head = count < 126 ? 2 : 4;
    frame[0] = 0x81;
    frame[1] = count < 126 ? (uint8_t)count : 126;
    if (head == 4)
        frame[2] = (uint8_t)(count >> 8), frame[3] = (uint8_t)count;
    memcpy(frame + head, text, count);
    for (int i = watcher_count - 1; i >= 0; i--)
        if (send(watchers[i], frame, head + count, MSG_NOSIGNAL) != (ssize_t)(head + count))
            leave(watchers[i]);
}

static void welcome(int fd, char *head)
{
    static const char *name = "sec-websocket-key:", *guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    char text[128], answer[256];
    uint8_t digest[20];
    char accept[32];
    char *key = strcasestr(head, name);
    if (!key || sscanf(key + strlen(name), " %60[^ \r\n]", text) != 1) {
        leave(fd);
        return;
    }
    strcat(text, guid);
    sha1(text, strlen(text), digest);
    base64(digest, sizeof digest, accept);
    int count = snprintf(answer, sizeof answer,
                         "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                         "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", accept);
    clients[fd].is_upgraded = 1;
    if (!strncmp(head, "GET /watch ", 11)) {
        clients[fd].place = watcher_count;
        watchers[watcher_count++] = fd;
    }
    if (send(fd, answer, (size_t)count, MSG_NOSIGNAL) != count)
        leave(fd);
}

/* Gives what was used: the request or a frame, or nothing while it is not whole. */
static size_t take(int fd, uint8_t *bytes, size_t count)
{
    if (!clients[fd].is_upgraded) {
        uint8_t *end = memmem(bytes, count, "\r\n\r\n", 4);
        if (!end)
            return 0;
        *end = 0;
        welcome(fd, (char *)bytes);
        return (size_t)(end - bytes) + 4;
    }
    if (count < 8)
        return 0;
    size_t length = bytes[1] & 0x7f, head = 6;
    if (length == 126)
        length = (size_t)bytes[2] << 8 | bytes[3], head = 8;
    if (count < head + length)
        return 0;
    for (size_t i = 0; i < length; i++)
        bytes[head + i] ^= bytes[head - 4 + i % 4];
    if (bytes[0] == 0x81)
        publish(bytes + head, length);
    else
        leave(fd);
    return head + length;
}

static void keep(struct client *c, const uint8_t *bytes, size_t count)
{
    uint8_t *kept = count ? malloc(count) : NULL;
    if (count)
        memcpy(kept, bytes, count);
    free(c->bytes);
    c->bytes = kept;
    c->count = count;
}

static void read_some(int fd)
{
    static uint8_t bytes[2 * READ_BYTES];
    struct client *c = &clients[fd];
    memcpy(bytes, c->bytes ? c->bytes : bytes, c->count);
    ssize_t got = recv(fd, bytes + c->count, READ_BYTES, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        leave(fd);
        return;
    }
    size_t count = c->count + (size_t)got, used = 0, one = 1;
    while (one && used < count && c->is_open)
        used += one = take(fd, bytes + used, count - used);
    if (c->is_open && count - used > READ_BYTES)
        leave(fd); /* a frame longer than anybody here sends */
    else if (c->is_open)
        keep(c, bytes + used, count - used);
}

static void let_in(int listener)
{
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        clients[fd] = (struct client){.is_open = 1, .place = -1};
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(hub, EPOLL_CTL_ADD, fd, &event);
    }
}

static int listen_on(int port)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&here, sizeof here) || listen(fd, 8192)) {
        perror("listen");
        exit(1);
    }
    return fd;
}

int main(int count, char **words)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max < MOST_FILES ? files.rlim_max : MOST_FILES;
    setrlimit(RLIMIT_NOFILE, &files);
    int listener = listen_on(count > 1 ? atoi(words[1]) : 0);
    hub = epoll_create1(0);
    struct epoll_event events[AT_ONCE], first = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(hub, EPOLL_CTL_ADD, listener, &first);
    for (;;) {
        int ready = epoll_wait(hub, events, AT_ONCE, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd == listener)
                let_in(listener);
            else if (clients[events[i].data.fd].is_open)
                read_some(events[i].data.fd);
        }
    }
}
