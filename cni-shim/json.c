#include "json.h"

#include "text.h"

#include <stdint.h>
#include <string.h>

/* The members we look for, as a property of the value that comes next. */
enum field { FIELD_NONE, FIELD_CNI_VERSION, FIELD_TYPE, FIELD_SERVER_SOCKET, FIELD_IPAM, FIELD_IPAM_SERVER_SOCKET };

enum step { STEP_KEY, STEP_VALUE, STEP_AFTER, STEP_BAD };

struct scanner {
    const unsigned char *at;
    const unsigned char *end;
    uint64_t objects; /* bit n: the container at depth n + 1 is an object (else an array) */
    unsigned depth;
    bool in_ipam; /* the container at depth 2 is the `ipam` object */
    enum field field;
    struct netconf *conf;
    struct json_text key;
};

_Static_assert(JSON_DEPTH_MAX <= 64, "one bit of scanner.objects a level");

static void skip_space(struct scanner *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r'))
        s->at++;
}

static bool take(struct scanner *s, unsigned char wanted)
{
    if (s->at == s->end || *s->at != wanted)
        return false;
    s->at++;
    return true;
}

static bool is_digit(const struct scanner *s)
{
    return s->at < s->end && *s->at >= '0' && *s->at <= '9';
}

/* ---- strings ---- */

static void sink_start(struct json_text *sink, enum json_kind kind)
{
    sink->kind = kind;
    sink->has_nul = false;
    sink->length = 0;
    sink->bytes[0] = 0;
}

static void sink_add(struct json_text *sink, unsigned char byte)
{
    if (!sink)
        return;
    if (sink->length < JSON_TEXT_MAX) {
        sink->bytes[sink->length] = (char)byte;
        sink->bytes[sink->length + 1] = 0;
    }
    sink->length++;
    if (byte == 0)
        sink->has_nul = true;
}

static void sink_add_rune(struct json_text *sink, uint32_t rune)
{
    if (rune < 0x80) {
        sink_add(sink, (unsigned char)rune);
        return;
    }
    if (rune < 0x800) {
        sink_add(sink, (unsigned char)(0xc0 | rune >> 6));
    } else {
        if (rune < 0x10000) {
            sink_add(sink, (unsigned char)(0xe0 | rune >> 12));
        } else {
            sink_add(sink, (unsigned char)(0xf0 | rune >> 18));
            sink_add(sink, (unsigned char)(0x80 | (rune >> 12 & 0x3f)));
        }
        sink_add(sink, (unsigned char)(0x80 | (rune >> 6 & 0x3f)));
    }
    sink_add(sink, (unsigned char)(0x80 | (rune & 0x3f)));
}

static bool hex_unit(struct scanner *s, uint32_t *unit)
{
    if (s->end - s->at < 4)
        return false;
    *unit = 0;
    for (int i = 0; i < 4; i++) {
        unsigned char c = *s->at++;
        uint32_t digit;
        if (c >= '0' && c <= '9')
            digit = c - '0';
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            digit = (uint32_t)((c | 0x20) - 'a' + 10);
        else
            return false;
        *unit = *unit << 4 | digit;
    }
    return true;
}

static bool unicode_escape(struct scanner *s, struct json_text *sink)
{
    uint32_t rune, low;
    if (!hex_unit(s, &rune) || (rune >= 0xdc00 && rune <= 0xdfff))
        return false;
    if (rune >= 0xd800 && rune <= 0xdbff) {
        if (!take(s, '\\') || !take(s, 'u') || !hex_unit(s, &low) || low < 0xdc00 || low > 0xdfff)
            return false;
        rune = 0x10000 + ((rune - 0xd800) << 10) + (low - 0xdc00);
    }
    sink_add_rune(sink, rune);
    return true;
}

static bool escape(struct scanner *s, struct json_text *sink)
{
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    if (s->at == s->end)
        return false;
    unsigned char c = *s->at++;
    if (c == 'u')
        return unicode_escape(s, sink);
    for (size_t i = 0; i < sizeof letters - 1; i++) {
        if (c == (unsigned char)letters[i]) {
            sink_add(sink, (unsigned char)meanings[i]);
            return true;
        }
    }
    return false;
}

static bool string(struct scanner *s, struct json_text *sink)
{
    if (!take(s, '"'))
        return false;
    while (s->at < s->end) {
        unsigned char c = *s->at;
        if (c < 0x20)
            return false;
        if (c == '"' || c == '\\') {
            s->at++;
            if (c == '"')
                return true;
            if (!escape(s, sink))
                return false;
            continue;
        }
        size_t sequence = utf8_sequence(s->at, (size_t)(s->end - s->at));
        if (sequence == 0)
            return false;
        while (sequence--)
            sink_add(sink, *s->at++);
    }
    return false;
}

/* ---- numbers and literals ---- */

static bool digits(struct scanner *s)
{
    if (!is_digit(s))
        return false;
    while (is_digit(s))
        s->at++;
    return true;
}

static bool number(struct scanner *s)
{
    (void)take(s, '-');
    if (!take(s, '0') && !digits(s))
        return false;
    if (take(s, '.') && !digits(s))
        return false;
    if (take(s, 'e') || take(s, 'E')) {
        if (!take(s, '+'))
            (void)take(s, '-');
        return digits(s);
    }
    return true;
}

static bool literal(struct scanner *s, const char *word)
{
    while (*word)
        if (!take(s, (unsigned char)*word++))
            return false;
    return true;
}

/* ---- the members we look for ---- */

static enum field field_of_key(const struct scanner *s)
{
    if (!s->conf)
        return FIELD_NONE;
    if (s->depth == 2 && s->in_ipam)
        return json_text_equals(&s->key, "server_socket") ? FIELD_IPAM_SERVER_SOCKET : FIELD_NONE;
    if (s->depth != 1)
        return FIELD_NONE;
    if (json_text_equals(&s->key, "cniVersion"))
        return FIELD_CNI_VERSION;
    if (json_text_equals(&s->key, "type"))
        return FIELD_TYPE;
    if (json_text_equals(&s->key, "server_socket"))
        return FIELD_SERVER_SOCKET;
    return json_text_equals(&s->key, "ipam") ? FIELD_IPAM : FIELD_NONE;
}

static struct json_text *text_of_field(struct netconf *conf, enum field field)
{
    switch (field) {
    case FIELD_CNI_VERSION:
        return &conf->cni_version;
    case FIELD_TYPE:
        return &conf->type;
    case FIELD_SERVER_SOCKET:
        return &conf->server_socket;
    case FIELD_IPAM_SERVER_SOCKET:
        return &conf->ipam_server_socket;
    default:
        return NULL;
    }
}

/* Called with the kind of each value before it is scanned; returns where its text goes. */
static struct json_text *begin_value(struct scanner *s, enum json_kind kind)
{
    enum field field = s->field;
    s->field = FIELD_NONE; /* what is nested in this value has no key of ours */
    if (field == FIELD_IPAM) {
        s->conf->ipam = kind;
        sink_start(&s->conf->ipam_server_socket, JSON_ABSENT); /* that of an earlier `ipam` is void */
        s->in_ipam = kind == JSON_OBJECT;
        return NULL;
    }
    struct json_text *text = field == FIELD_NONE ? NULL : text_of_field(s->conf, field);
    if (text)
        sink_start(text, kind);
    return text;
}

/* ---- structure ---- */

static enum step close_container(struct scanner *s)
{
    s->depth--;
    if (s->depth < 2)
        s->in_ipam = false;
    return STEP_AFTER;
}

static enum step open_container(struct scanner *s, bool object)
{
    s->at++;
    if (s->depth == JSON_DEPTH_MAX)
        return STEP_BAD;
    uint64_t bit = (uint64_t)1 << s->depth++;
    s->objects = object ? s->objects | bit : s->objects & ~bit;
    skip_space(s);
    if (take(s, object ? '}' : ']'))
        return close_container(s);
    return object ? STEP_KEY : STEP_VALUE;
}

static enum step after_if(bool good)
{
    return good ? STEP_AFTER : STEP_BAD;
}

static enum step value(struct scanner *s)
{
    if (s->at == s->end)
        return STEP_BAD;
    switch (*s->at) {
    case '{':
        (void)begin_value(s, JSON_OBJECT);
        return open_container(s, true);
    case '[':
        (void)begin_value(s, JSON_OTHER);
        return open_container(s, false);
    case '"':
        return after_if(string(s, begin_value(s, JSON_STRING)));
    case 'n':
        (void)begin_value(s, JSON_ABSENT);
        return after_if(literal(s, "null"));
    case 't':
        (void)begin_value(s, JSON_OTHER);
        return after_if(literal(s, "true"));
    case 'f':
        (void)begin_value(s, JSON_OTHER);
        return after_if(literal(s, "false"));
    default:
        (void)begin_value(s, JSON_OTHER);
        return after_if(number(s));
    }
}

static enum step key(struct scanner *s)
{
    sink_start(&s->key, JSON_STRING);
    if (!string(s, &s->key))
        return STEP_BAD;
    skip_space(s);
    s->field = field_of_key(s);
    return take(s, ':') ? STEP_VALUE : STEP_BAD;
}

static enum step after(struct scanner *s)
{
    bool object = s->objects >> (s->depth - 1) & 1;
    if (take(s, ','))
        return object ? STEP_KEY : STEP_VALUE;
    return take(s, object ? '}' : ']') ? close_container(s) : STEP_BAD;
}

static bool scan_object(struct scanner *s)
{
    skip_space(s);
    if (s->at == s->end || *s->at != '{')
        return false;
    enum step step = value(s);
    while (step != STEP_BAD) {
        skip_space(s);
        if (step == STEP_KEY)
            step = key(s);
        else if (step == STEP_VALUE)
            step = value(s);
        else if (s->depth == 0)
            return s->at == s->end;
        else
            step = after(s);
    }
    return false;
}

static bool scan(const char *bytes, size_t length, struct netconf *conf)
{
    struct scanner s;
    memset(&s, 0, sizeof s);
    s.at = (const unsigned char *)bytes;
    s.end = s.at + length;
    s.conf = conf;
    return scan_object(&s);
}

bool json_read_netconf(const char *bytes, size_t length, struct netconf *conf)
{
    memset(conf, 0, sizeof *conf);
    if (scan(bytes, length, conf))
        return true;
    memset(conf, 0, sizeof *conf);
    return false;
}

bool json_is_object(const char *bytes, size_t length)
{
    return scan(bytes, length, NULL);
}

bool json_text_usable(const struct json_text *text)
{
    return text->kind == JSON_STRING && !text->has_nul && text->length <= JSON_TEXT_MAX;
}

bool json_text_equals(const struct json_text *text, const char *wanted)
{
    size_t length = strlen(wanted);
    return text->kind == JSON_STRING && text->length == length && memcmp(text->bytes, wanted, length) == 0;
}
