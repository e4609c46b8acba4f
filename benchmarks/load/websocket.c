/* The handshake and the frames of WebSocket, as far as a client meets them without extensions. */
#include <stdio.h>
#include <string.h>

#include "load.h"

static const uint8_t mask[4] = {0x5a, 0xc3, 0x19, 0x7e};

static size_t head_of(char *out, size_t size, const struct connection *c)
{
    const struct target *to = c->role == WATCHER ? &options.watch : &options.publish;
    struct values values = {.i = c->number, .room = c->room, .ts = now_us()};
    char path[2048];
    fill(to->path, path, sizeof path, &values);
    int length = snprintf(out, size,
                          "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\n"
                          "Connection: Upgrade\r\nSec-WebSocket-Key: ZmFuZmFyZSBiZW5jaG1hcg==\r\n"
                          "Sec-WebSocket-Version: 13\r\n",
                          path, to->host, to->port);
    return (size_t)length;
}

void ask_upgrade(struct connection *c)
{
    char head[16384];
    const struct words *more = c->role == WATCHER ? &options.headers : &options.publish_headers;
    struct values values = {.i = c->number, .room = c->room, .ts = now_us()};
    size_t length = head_of(head, sizeof head, c);
    for (int i = 0; i < more->count; i++) {
        length += fill(more->at[i], head + length, sizeof head - length, &values);
        length += (size_t)snprintf(head + length, sizeof head - length, "\r\n");
    }
    append(c, head, length);
    append(c, "\r\n", 2);
    flush(c);
}

static void refuse(struct connection *c, const char *bytes, size_t count)
{
    char line[128] = "";
    for (size_t i = 0; i < count && i + 1 < sizeof line && bytes[i] != '\r'; i++)
        line[i] = bytes[i];
    hang_up(c, line);
}

size_t take_upgrade(struct connection *c, char *bytes, size_t count)
{
    char *end = memmem(bytes, count, "\r\n\r\n", 4);
    if (!end)
        return 0;
    size_t length = (size_t)(end - bytes) + 4;
    if (length < 12 || memcmp(bytes + 8, " 101", 4))
        refuse(c, bytes, length);
    else if (memmem(bytes, length, "permessage-deflate", 18))
        hang_up(c, "the server compresses, which is not understood here: leave out that header");
    return length;
}

/* Gives the size of a frame's head, or 0 while it is not whole. */
static size_t read_head(const uint8_t *bytes, size_t count, uint64_t *length)
{
    if (count < 2)
        return 0;
    *length = bytes[1] & 0x7f;
    size_t more = *length == 126 ? 2 : *length == 127 ? 8 : 0;
    if (count < 2 + more)
        return 0;
    if (more)
        *length = 0;
    for (size_t i = 0; i < more; i++)
        *length = *length << 8 | bytes[2 + i];
    return 2 + more;
}

static void closed(struct connection *c, const uint8_t *text, uint64_t length)
{
    char why[64];
    snprintf(why, sizeof why, "closed with code %d", length < 2 ? 0 : text[0] << 8 | text[1]);
    hang_up(c, why);
}

/* Gives what was used: a whole frame, or nothing. */
size_t take_frame(struct connection *c, char *bytes, size_t count)
{
    uint64_t length;
    size_t head = read_head((uint8_t *)bytes, count, &length);
    if (!head || count - head < length)
        return 0;
    const char *text = bytes + head;
    int first = (uint8_t)bytes[0];
    if (first == 0x81 || first == 0x82)
        take_text(c, text, length);
    else if (first == 0x88)
        closed(c, (const uint8_t *)text, length);
    else if (first == 0x89) {
        put_frame(c, 0xa, text, length);
        flush(c);
    } else if (first != 0x8a)
        hang_up(c, "a frame of a kind that nobody asked for");
    return head + length;
}

static size_t write_head(uint8_t *head, int opcode, size_t count)
{
    size_t more = count < 126 ? 0 : count < 65536 ? 2 : 8;
    head[0] = (uint8_t)(0x80 | opcode);
    head[1] = (uint8_t)(0x80 | (more == 0 ? count : more == 2 ? 126 : 127));
    for (size_t i = 0; i < more; i++)
        head[2 + i] = (uint8_t)((uint64_t)count >> 8 * (more - 1 - i));
    memcpy(head + 2 + more, mask, 4);
    return 2 + more + 4;
}

void put_frame(struct connection *c, int opcode, const char *bytes, size_t count)
{
    if (c->state == GONE)
        return;
    uint8_t head[14];
    append(c, head, write_head(head, opcode, count));
    append(c, bytes, count);
    char *masked = c->out.at + c->out.end - count;
    for (size_t i = 0; i < count; i++)
        masked[i] ^= (char)mask[i % 4];
}
