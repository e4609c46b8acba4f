/* The conversation of one connection: Engine.IO 4 and Socket.IO 5, or plain texts. */
#include <stdio.h>
#include <string.h>

#include "load.h"

enum { LONGEST_TEXT = 1 << 17 };

static char text_bytes[LONGEST_TEXT];

static void say(struct connection *c, const char *template, uint64_t n)
{
    struct values values = {.i = c->number, .room = c->room, .n = n, .ts = now_us()};
    size_t length = fill(template, text_bytes, sizeof text_bytes, &values);
    put_frame(c, 1, text_bytes, length);
}

static bool is_publisher(const struct connection *c) { return c->role != WATCHER; }

static void live(struct connection *c)
{
    c->state = LIVE;
    if (is_publisher(c))
        return;
    totals.opening--;
    totals.live++;
    add(&totals.connect_us, now_us() - c->dialled_us);
}

static void subscribe(struct connection *c)
{
    const struct words *sends = is_publisher(c) ? &options.publish_sends : &options.sends;
    c->state = SUBSCRIBING;
    for (int i = 0; i < sends->count; i++)
        say(c, sends->at[i], (uint64_t)i);
    flush(c);
    if (c->state != GONE && !(is_publisher(c) ? options.publish_ready : options.ready))
        live(c);
}

static void greet(struct connection *c)
{
    c->state = GREETING;
    if (!options.greeting)
        subscribe(c);
}

void begin(struct connection *c)
{
    if (c->role == HTTP_PUBLISHER) {
        live(c);
        flush(c);
        return;
    }
    c->state = UPGRADING;
    ask_upgrade(c);
}

static void join(struct connection *c)
{
    c->state = JOINING;
    char packet[4096];
    snprintf(packet, sizeof packet, "40%s", is_publisher(c) ? options.publish_auth : options.auth);
    say(c, packet, 0);
    flush(c);
}

static void refused(struct connection *c, const char *what, const char *text, size_t length)
{
    char why[200];
    snprintf(why, sizeof why, "%s: %.*s", what, (int)(length < 150 ? length : 150), text);
    hang_up(c, why);
}

/* What comes before a Socket.IO client is let in. */
static void take_welcome(struct connection *c, const char *text, size_t length)
{
    if (c->state == OPENING && fits("^0", text, length))
        join(c);
    else if (c->state == JOINING && fits("^40", text, length))
        greet(c);
    else
        refused(c, "not let in", text, length);
}

static void take_ready(struct connection *c, const char *text, size_t length)
{
    if (fits(is_publisher(c) ? options.publish_ready : options.ready, text, length))
        live(c);
    else if (memmem(text, length, "\"ok\":false", 10))
        refused(c, "not subscribed", text, length);
}

void call(struct connection *c)
{
    c->asked_us = now_us();
    say(c, options.call, ++c->calls);
    flush(c);
}

static void take_reply(struct connection *c, const char *text, size_t length)
{
    char wanted[512];
    struct values values = {.i = c->number, .room = c->room, .n = c->calls};
    fill(options.answer, wanted, sizeof wanted, &values);
    if (!fits(wanted, text, length)) {
        if (!options.socketio || fits("^43", text, length))
            refused(c, "not what was to be answered", text, length);
        return;
    }
    totals.answers++;
    c->received++;
    if (is_counting)
        add(&totals.latency_us, now_us() - c->asked_us);
    if (is_loading)
        call(c);
}

static bool read_number(const char *text, size_t length, const char *name, uint64_t *value)
{
    const char *end = text + length, *at = memmem(text, length, name, strlen(name));
    if (!at)
        return false;
    at += strlen(name);
    while (at < end && *at == ' ')
        at++;
    for (*value = 0; at < end && *at >= '0' && *at <= '9'; at++)
        *value = *value * 10 + (uint64_t)(*at - '0');
    return true;
}

static void take_event(struct connection *c, const char *text, size_t length)
{
    uint64_t sent_us, number;
    if (!read_number(text, length, "\"ts\":", &sent_us) ||
        !read_number(text, length, "\"n\":", &number))
        return;
    totals.deliveries++;
    c->received++;
    see(&c->seen, number);
    if (is_counting)
        add(&totals.latency_us, now_us() - sent_us);
}

static bool take_engine_packet(struct connection *c, const char *text, size_t length)
{
    if (length == 1 && *text == '2') {
        put_frame(c, 1, "3", 1);
        flush(c);
        return true;
    }
    if (fits("^41", text, length) || fits("^1", text, length)) {
        hang_up(c, "sent away");
        return true;
    }
    return length && *text == '6';
}

static void take_publishers(const char *text, size_t length)
{
    if (fits("^43", text, length)) {
        totals.answers++;
        if (memmem(text, length, "\"ok\":false", 10)) {
            totals.refused++;
            if (!first_error[0])
                snprintf(first_error, sizeof first_error, "publish: %.*s",
                         (int)(length < 150 ? length : 150), text);
        }
    }
}

void take_text(struct connection *c, const char *text, size_t length)
{
    if (options.socketio && take_engine_packet(c, text, length))
        return;
    switch (c->state) {
    case OPENING:
    case JOINING: take_welcome(c, text, length); break;
    case GREETING:
        if (fits(options.greeting, text, length))
            subscribe(c);
        break;
    case SUBSCRIBING: take_ready(c, text, length); break;
    case LIVE:
        if (is_publisher(c))
            take_publishers(text, length);
        else if (options.test == TEST_CALLS)
            take_reply(c, text, length);
        else
            take_event(c, text, length);
    }
}

static size_t take_one(struct connection *c, char *bytes, size_t count)
{
    if (c->role == HTTP_PUBLISHER)
        return take_answer(c, bytes, count);
    if (c->state != UPGRADING)
        return take_frame(c, bytes, count);
    size_t used = take_upgrade(c, bytes, count);
    if (!used || c->state == GONE)
        return used;
    c->state = OPENING;
    if (!options.socketio)
        greet(c);
    return used;
}

/* Gives how much was used: all that was whole. */
size_t take(struct connection *c, char *bytes, size_t count)
{
    size_t used = 0, one = 1;
    while (one && used < count && c->state != GONE) {
        one = take_one(c, bytes + used, count - used);
        used += one;
    }
    return used;
}
