#include "http.h"

#include <string.h>

struct head {
    const char *at;
    const char *end; /* of the head, its last empty line excluded */
    bool has_length;
    size_t content_length;
};

static enum http_state bad(struct http_reply *reply, const char *fault)
{
    reply->fault = fault;
    return HTTP_BAD;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static bool is_token(char c)
{
    return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool name_is(const char *name, size_t length, const char *wanted)
{
    for (size_t i = 0; i < length; i++)
        if (!wanted[i] || lower(name[i]) != wanted[i])
            return false;
    return wanted[length] == 0;
}

/* "HTTP/1.x NNN[ reason]" up to the line's end. */
static bool status_line(const char *line, size_t length, unsigned *status)
{
    static const char start[] = "HTTP/1.";
    enum { START = sizeof start - 1 };
    if (length < START + 5 || memcmp(line, start, START) != 0)
        return false;
    line += START;
    if (!is_digit(line[0]) || line[1] != ' ' || !is_digit(line[2]) || !is_digit(line[3]) || !is_digit(line[4]))
        return false;
    if (length > START + 5 && line[5] != ' ')
        return false;
    *status = (unsigned)((line[2] - '0') * 100 + (line[3] - '0') * 10 + (line[4] - '0'));
    return true;
}

static const char *content_length(struct head *head, const char *digits, size_t length)
{
    size_t number = 0;
    if (length == 0)
        return "it has a malformed Content-Length";
    for (size_t i = 0; i < length; i++) {
        if (!is_digit(digits[i]))
            return "it has a malformed Content-Length";
        number = number * 10 + (size_t)(digits[i] - '0');
        if (number > HTTP_BODY_MAX)
            return "it is too large";
    }
    if (head->has_length && head->content_length != number)
        return "it has two Content-Lengths";
    head->has_length = true;
    head->content_length = number;
    return NULL;
}

/* One header line, without its line end. Returns the fault, NULL if there is none. */
static const char *header(struct head *head, const char *line, size_t length)
{
    size_t name = 0;
    while (name < length && is_token(line[name]))
        name++;
    if (name == 0 || name == length || line[name] != ':')
        return "it has a malformed header";
    const char *value = line + name + 1, *end = line + length;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (value < end && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    if (name_is(line, name, "transfer-encoding"))
        return "it has a Transfer-Encoding";
    if (name_is(line, name, "content-length"))
        return content_length(head, value, (size_t)(end - value));
    return NULL;
}

/* The next line of the head; false if a control character is in it. Every line ends with CR LF: read_head saw to it. */
static bool next_line(struct head *head, const char **line, size_t *length)
{
    *line = head->at;
    while (*head->at != '\r') {
        unsigned char c = (unsigned char)*head->at++;
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    *length = (size_t)(head->at - *line);
    if (head->at[1] != '\n')
        return false;
    head->at += 2;
    return true;
}

static const char *read_head(struct head *head, unsigned *status)
{
    const char *line, *fault;
    size_t length;
    if (!next_line(head, &line, &length) || !status_line(line, length, status))
        return "it is not HTTP";
    while (head->at < head->end) {
        if (!next_line(head, &line, &length))
            return "it has a malformed header";
        fault = header(head, line, length);
        if (fault)
            return fault;
    }
    return NULL;
}

/* Offset of the first byte after the empty line, 0 if it has not come. */
static size_t find_body(const char *bytes, size_t length)
{
    size_t limit = length < HTTP_HEAD_MAX ? length : HTTP_HEAD_MAX;
    for (size_t i = 3; i < limit; i++)
        if (bytes[i] == '\n' && bytes[i - 1] == '\r' && bytes[i - 2] == '\n' && bytes[i - 3] == '\r')
            return i + 1;
    return 0;
}

static enum http_state without_head(const char *bytes, size_t length, bool ended, struct http_reply *reply)
{
    static const char start[] = "HTTP/1.";
    size_t known = length < sizeof start - 1 ? length : sizeof start - 1;
    if (memcmp(bytes, start, known) != 0)
        return bad(reply, "it is not HTTP");
    if (length >= HTTP_HEAD_MAX)
        return bad(reply, "its head is too large");
    if (ended)
        return bad(reply, length ? "it is truncated" : "the connection was closed without one");
    return HTTP_INCOMPLETE;
}

enum http_state http_read_reply(const char *bytes, size_t length, bool ended, struct http_reply *reply)
{
    memset(reply, 0, sizeof *reply);
    size_t body = find_body(bytes, length);
    if (body == 0)
        return without_head(bytes, length, ended, reply);

    struct head head = {.at = bytes, .end = bytes + body - 2};
    const char *fault = read_head(&head, &reply->status);
    if (fault)
        return bad(reply, fault);

    size_t present = length - body;
    reply->body = bytes + body;
    if (head.has_length) {
        reply->body_length = head.content_length;
        if (present >= head.content_length)
            return HTTP_COMPLETE;
        return ended ? bad(reply, "it is truncated") : HTTP_INCOMPLETE;
    }
    if (present > HTTP_BODY_MAX)
        return bad(reply, "it is too large");
    reply->body_length = present;
    return ended ? HTTP_COMPLETE : HTTP_INCOMPLETE;
}
