/* The same bytes to many sockets: the loop of realtime/writers.py without an interpreter. */

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* where there is none, Python has SIGPIPE ignored */
#endif

/* Says in `sent` how much each socket took, -1: it failed; gives how many did not take all. */
int fanfare_write_to_all(const int *descriptors, int count, const void *data, size_t size,
                         int64_t *sent)
{
    int late = 0;
    for (int at = 0; at < count; at++) {
        ssize_t took;
        do
            took = send(descriptors[at], data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        while (took < 0 && errno == EINTR);
        if (took < 0)
            took = errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
        sent[at] = took;
        late += (size_t)took != size;
    }
    return late;
}
