/* A bounded text: appended to, never grown. What does not fit is dropped and `overflow` is set. */
#ifndef OVNBRIDGE_TEXT_H
#define OVNBRIDGE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

struct text {
    char *bytes;
    size_t length;
    size_t capacity;
    bool overflow;
};

void text_start(struct text *text, char *bytes, size_t capacity);
void text_add_bytes(struct text *text, const char *bytes, size_t length);
void text_add(struct text *text, const char *string);
void text_add_number(struct text *text, unsigned long number);

/* The inside of a JSON string. Takes any bytes: what is not UTF-8 becomes U+FFFD, so the output is always valid.
 * One byte in gives at most TEXT_JSON_GROWTH bytes out. */
enum { TEXT_JSON_GROWTH = 6 };
void text_add_json(struct text *text, const char *bytes, size_t length);

/* Length of the UTF-8 sequence that `bytes` begins with (1..4), 0 if it is none (overlong and surrogates are none). */
size_t utf8_sequence(const unsigned char *bytes, size_t available);

#endif
