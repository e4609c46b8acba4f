/* Publishing by HTTP: POSTs on one connection, one behind the other, and their answers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

void put_post(struct connection *c, const struct values *values, const char *body, size_t length)
{
    char head[8192], path[2048];
    fill(options.publish.path, path, sizeof path, values);
    size_t at = (size_t)snprintf(head, sizeof head,
                                 "POST %s HTTP/1.1\r\nHost: %s:%d\r\nContent-Length: %zu\r\n"
                                 "Content-Type: application/json\r\n",
                                 path, options.publish.host, options.publish.port, length);
    for (int i = 0; i < options.publish_headers.count; i++) {
        at += fill(options.publish_headers.at[i], head + at, sizeof head - at, values);
        at += (size_t)snprintf(head + at, sizeof head - at, "\r\n");
    }
    append(c, head, at);
    append(c, "\r\n", 2);
    append(c, body, length);
}

static size_t content_length(const char *bytes, size_t head, bool *is_known)
{
    char text[4096];
    size_t length = head < sizeof text ? head : sizeof text - 1;
    memcpy(text, bytes, length);
    text[length] = 0;
    const char *found = strcasestr(text, "\r\ncontent-length:");
    *is_known = found || !strncmp(text + 8, " 204", 4);
    return found ? strtoul(found + 17, NULL, 10) : 0;
}

size_t take_answer(struct connection *c, char *bytes, size_t count)
{
    char *end = memmem(bytes, count, "\r\n\r\n", 4);
    if (!end)
        return 0;
    size_t head = (size_t)(end - bytes) + 4;
    bool is_known;
    size_t body = content_length(bytes, head, &is_known);
    if (!is_known) {
        hang_up(c, "an answer without Content-Length");
        return count;
    }
    if (count - head < body)
        return 0;
    totals.answers++;
    if (bytes[9] != '2') {
        totals.refused++;
        if (!first_error[0])
            snprintf(first_error, sizeof first_error, "publish: %.60s", bytes);
    }
    return head + body;
}
