#include "text.h"

#include <string.h>

void text_start(struct text *text, char *bytes, size_t capacity)
{
    text->bytes = bytes;
    text->length = 0;
    text->capacity = capacity;
    text->overflow = false;
}

void text_add_bytes(struct text *text, const char *bytes, size_t length)
{
    size_t room = text->capacity - text->length;
    if (length > room) {
        text->overflow = true;
        length = room;
    }
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
}

void text_add(struct text *text, const char *string)
{
    text_add_bytes(text, string, strlen(string));
}

void text_add_number(struct text *text, unsigned long number)
{
    char digits[24];
    size_t first = sizeof digits;
    do {
        digits[--first] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    text_add_bytes(text, digits + first, sizeof digits - first);
}

size_t utf8_sequence(const unsigned char *bytes, size_t available)
{
    unsigned char lead = bytes[0];
    unsigned char low = 0x80, high = 0xbf; /* bounds of the second byte; they exclude overlong forms and surrogates */
    size_t length;
    if (lead < 0x80)
        return 1;
    if (lead >= 0xc2 && lead <= 0xdf) {
        length = 2;
    } else if (lead >= 0xe0 && lead <= 0xef) {
        length = 3;
        if (lead == 0xe0)
            low = 0xa0;
        else if (lead == 0xed)
            high = 0x9f;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
        length = 4;
        if (lead == 0xf0)
            low = 0x90;
        else if (lead == 0xf4)
            high = 0x8f;
    } else {
        return 0;
    }
    if (available < length || bytes[1] < low || bytes[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if (bytes[i] < 0x80 || bytes[i] > 0xbf)
            return 0;
    return length;
}

static void add_unicode_escape(struct text *text, unsigned unit)
{
    static const char hex[] = "0123456789abcdef";
    char escape[6] = {'\\', 'u', hex[unit >> 12 & 15], hex[unit >> 8 & 15], hex[unit >> 4 & 15], hex[unit & 15]};
    text_add_bytes(text, escape, sizeof escape);
}

void text_add_json(struct text *text, const char *string, size_t length)
{
    const unsigned char *bytes = (const unsigned char *)string;
    size_t sequence;
    for (size_t i = 0; i < length; i += sequence ? sequence : 1) {
        sequence = utf8_sequence(bytes + i, length - i);
        if (sequence == 0) {
            add_unicode_escape(text, 0xfffd);
        } else if (bytes[i] < 0x20 || bytes[i] == 0x7f) {
            add_unicode_escape(text, bytes[i]);
        } else {
            if (bytes[i] == '"' || bytes[i] == '\\')
                text_add_bytes(text, "\\", 1);
            text_add_bytes(text, string + i, sequence);
        }
    }
}
