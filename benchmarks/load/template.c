/* Texts with holes: {i} {n} {ts} {pad} {room} {token}; and patterns, ^ for "starts with". */
#include <stdio.h>
#include <string.h>

#include "load.h"

static const char *line(const struct lines *lines, uint32_t number)
{
    return lines->count ? lines->at[number % lines->count] : NULL;
}

static size_t put_number(char *out, uint64_t number)
{
    char digits[20];
    size_t count = 0, at = 0;
    do
        digits[count++] = (char)('0' + number % 10);
    while (number /= 10);
    while (count)
        out[at++] = digits[--count];
    return at;
}

/* Gives what was written, and moves `template` behind the hole; 0 where there is none. */
static size_t put_value(const char **template, char *out, size_t size, const struct values *values)
{
    static const char *names[] = {"{i}", "{n}", "{ts}", "{pad}", "{room}", "{token}"};
    int which = 0;
    while (which < 6 && strncmp(*template, names[which], strlen(names[which])))
        which++;
    if (which == 6)
        return 0;
    *template += strlen(names[which]);
    if (which < 3)
        return put_number(out, which == 0 ? values->i : which == 1 ? values->n : values->ts);
    if (which == 3) {
        memset(out, 'x', (size_t)options.pad < size ? (size_t)options.pad : size);
        return (size_t)options.pad;
    }
    const char *text = which == 4 ? line(&options.room_names, values->room)
                                  : line(&options.tokens, values->i);
    if (!text)
        return which == 4 ? put_number(out, values->room) : 0;
    size_t length = strlen(text);
    memcpy(out, text, length < size ? length : size);
    return length;
}

size_t fill(const char *template, char *out, size_t size, const struct values *values)
{
    size_t at = 0;
    while (*template) {
        if (at + 32 > size)
            die("a text is longer than %zu bytes", size);
        const char *before = template;
        if (*template == '{')
            at += put_value(&template, out + at, size - at, values);
        if (template == before)
            out[at++] = *template++;
    }
    if (at >= size)
        die("a text is longer than %zu bytes", size);
    out[at] = 0;
    return at;
}

bool fits(const char *pattern, const char *text, size_t length)
{
    if (*pattern != '^')
        return memmem(text, length, pattern, strlen(pattern)) != NULL;
    size_t wanted = strlen(++pattern);
    return length >= wanted && !memcmp(text, pattern, wanted);
}
