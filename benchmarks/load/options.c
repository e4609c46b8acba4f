/* What is wanted, from the command line. Addresses outside 127.0.0.0/8 are refused here. */
#include <arpa/inet.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

enum {
    URL = 256, SOCKETIO, AUTH, GREET, SEND, READY, HEADER, TOKENS, ROOM_NAMES, AT_ONCE,
    TEST, SECONDS, WARMUP, SETTLE, PATIENCE, PUBLISH_URL, PUBLISH_HTTP, PUBLISH_HEADER,
    PUBLISH_SEND, PUBLISH_READY, PUBLISH_AUTH, EVENT, RATE, IN_FLIGHT, ROOMS, PAD, STALLED, CALL,
    ANSWER, SPIN, PID
};

static const struct option known[] = {
    {"url", required_argument, 0, URL},
    {"connections", required_argument, 0, 'n'},
    {"socketio", no_argument, 0, SOCKETIO},
    {"auth", required_argument, 0, AUTH},
    {"greeting", required_argument, 0, GREET},
    {"send", required_argument, 0, SEND},
    {"ready", required_argument, 0, READY},
    {"header", required_argument, 0, HEADER},
    {"tokens", required_argument, 0, TOKENS},
    {"room-names", required_argument, 0, ROOM_NAMES},
    {"opening-at-once", required_argument, 0, AT_ONCE},
    {"test", required_argument, 0, TEST},
    {"seconds", required_argument, 0, SECONDS},
    {"warmup", required_argument, 0, WARMUP},
    {"settle", required_argument, 0, SETTLE},
    {"patience", required_argument, 0, PATIENCE},
    {"publish-url", required_argument, 0, PUBLISH_URL},
    {"publish-http", no_argument, 0, PUBLISH_HTTP},
    {"publish-header", required_argument, 0, PUBLISH_HEADER},
    {"publish-send", required_argument, 0, PUBLISH_SEND},
    {"publish-ready", required_argument, 0, PUBLISH_READY},
    {"publish-auth", required_argument, 0, PUBLISH_AUTH},
    {"event", required_argument, 0, EVENT},
    {"rate", required_argument, 0, RATE},
    {"in-flight", required_argument, 0, IN_FLIGHT},
    {"rooms", required_argument, 0, ROOMS},
    {"pad", required_argument, 0, PAD},
    {"stalled", required_argument, 0, STALLED},
    {"call", required_argument, 0, CALL},
    {"answer", required_argument, 0, ANSWER},
    {"spin", no_argument, 0, SPIN},
    {"pid", required_argument, 0, PID},
    {0, 0, 0, 0},
};

static double number(const char *word, double least, double most)
{
    char *end;
    double value = strtod(word, &end);
    if (*end || end == word || !(value >= least && value <= most))
        die("%s is no number from %g to %g", word, least, most);
    return value;
}

static uint32_t whole(const char *word, double least)
{
    double value = number(word, least, 1e6);
    if (value != (uint32_t)value)
        die("%s is no whole number", word);
    return (uint32_t)value;
}

static void add_word(struct words *words, const char *word)
{
    if (words->count == MOST_WORDS)
        die("more than %d of one option", MOST_WORDS);
    words->at[words->count++] = word;
}

static struct target target_of(const char *url)
{
    struct target found = {.path = "/"};
    int read = 0;
    if (sscanf(url, "%*[a-z]://%63[0-9.]:%d%n", found.host, &found.port, &read) != 2)
        die("%s is no address such as ws://127.0.0.1:5000/path", url);
    struct in_addr address;
    if (!inet_aton(found.host, &address) || ntohl(address.s_addr) >> 24 != 127)
        die("%s is not on this machine", found.host);
    if (found.port < 1 || found.port > 65535)
        die("%d is no port", found.port);
    if (strlen(url + read) >= sizeof found.path)
        die("the path is too long");
    if (url[read])
        strcpy(found.path, url + read);
    return found;
}

static struct lines lines_of(const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file)
        die("cannot read %s", path);
    struct lines found = {0};
    char *line = NULL;
    size_t size = 0;
    for (ssize_t length; (length = getline(&line, &size, file)) > 0;) {
        if (line[length - 1] == '\n')
            line[length - 1] = 0;
        found.at = must(realloc(found.at, (found.count + 1) * sizeof *found.at));
        found.at[found.count++] = must(strdup(line));
    }
    free(line);
    fclose(file);
    if (!found.count)
        die("%s is empty", path);
    return found;
}

static enum test test_of(const char *word)
{
    static const char *names[] = {"fanout", "idle", "calls"};
    for (int i = 0; i < 3; i++)
        if (!strcmp(word, names[i]))
            return (enum test)i;
    die("there is no test %s: fanout, idle or calls", word);
}

static void add_server(const char *word)
{
    if (options.server_count == MOST_SERVERS)
        die("more than %d servers", MOST_SERVERS);
    options.servers[options.server_count++] = (int)whole(word, 1);
}

static void take_connection_option(int option)
{
    switch (option) {
    case 'n': options.connections = whole(optarg, 1); break;
    case URL: options.watch = target_of(optarg); break;
    case SOCKETIO: options.socketio = true; break;
    case AUTH: options.auth = optarg; break;
    case GREET: options.greeting = optarg; break;
    case SEND: add_word(&options.sends, optarg); break;
    case READY: options.ready = optarg; break;
    case HEADER: add_word(&options.headers, optarg); break;
    case TOKENS: options.tokens = lines_of(optarg); break;
    case ROOM_NAMES: options.room_names = lines_of(optarg); break;
    case AT_ONCE: options.opening_at_once = whole(optarg, 1); break;
    case STALLED: options.stalled = whole(optarg, 0); break;
    case ROOMS: options.rooms = whole(optarg, 1); break;
    case PID: add_server(optarg); break;
    default: exit(2); /* getopt has said why */
    }
}

static void take_load_option(int option)
{
    switch (option) {
    case TEST: options.test = test_of(optarg); break;
    case SECONDS: options.seconds = number(optarg, 0, 1e5); break;
    case WARMUP: options.warmup_s = number(optarg, 0, 1e5); break;
    case SETTLE: options.settle_s = number(optarg, 0, 1e5); break;
    case PATIENCE: options.patience_s = number(optarg, 0.1, 1e5); break;
    case PUBLISH_URL: options.publish = target_of(optarg); break;
    case PUBLISH_HTTP: options.http_publish = true; break;
    case PUBLISH_HEADER: add_word(&options.publish_headers, optarg); break;
    case PUBLISH_SEND: add_word(&options.publish_sends, optarg); break;
    case PUBLISH_READY: options.publish_ready = optarg; break;
    case PUBLISH_AUTH: options.publish_auth = optarg; break;
    case EVENT: options.event = optarg; break;
    case RATE: options.rate = number(optarg, 0, 1e6); break;
    case IN_FLIGHT: options.in_flight = whole(optarg, 1); break;
    case PAD: options.pad = (int)whole(optarg, 0); break;
    case CALL: options.call = optarg; break;
    case ANSWER: options.answer = optarg; break;
    case SPIN: options.spin = true; break;
    default: take_connection_option(option);
    }
}

static void check(void)
{
    if (!options.watch.port)
        die("--url is missing");
    if (options.test == TEST_FANOUT && !options.event)
        die("fanout needs --event");
    if (options.test == TEST_CALLS && (!options.call || !options.answer))
        die("calls need --call and --answer");
    if (options.stalled >= options.connections)
        die("all are stalled");
    if (!options.publish_auth)
        options.publish_auth = options.auth;
    if (!options.publish.port)
        options.publish = options.watch;
}

void read_options(int count, char **words)
{
    options = (struct options){
        .connections = 100, .opening_at_once = 100, .rooms = 1, .in_flight = 1, .auth = "",
        .warmup_s = 1, .seconds = 5, .settle_s = 0.3, .patience_s = 10,
    };
    for (int option; (option = getopt_long(count, words, "n:", known, NULL)) != -1;)
        take_load_option(option);
    if (optind < count)
        die("what is %s?", words[optind]);
    check();
}
