/* The reader of the daemon's HTTP/1.1 reply: what the protocol between the two needs and no more (no chunks, no
 * folded headers, no interim replies). It is called again with all bytes so far whenever more have come. */
#ifndef OVNBRIDGE_HTTP_H
#define OVNBRIDGE_HTTP_H

#include <stdbool.h>
#include <stddef.h>

enum {
    HTTP_HEAD_MAX = 16 * 1024,
    HTTP_BODY_MAX = 1024 * 1024,
    HTTP_REPLY_MAX = HTTP_HEAD_MAX + HTTP_BODY_MAX + 1, /* in a buffer of this size no reply stays undecided */
};

enum http_state { HTTP_INCOMPLETE, HTTP_COMPLETE, HTTP_BAD };

struct http_reply {
    unsigned status;
    const char *body;
    size_t body_length;
    const char *fault; /* why it is HTTP_BAD */
};

/* `ended`: the daemon has closed the connection; then the result is never HTTP_INCOMPLETE. */
enum http_state http_read_reply(const char *bytes, size_t length, bool ended, struct http_reply *reply);

#endif
