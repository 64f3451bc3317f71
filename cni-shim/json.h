/* The JSON scanner: checks a document and picks the four members of a network configuration that the plug-in itself
 * needs. It keeps no tree, has no recursion and allocates nothing. Strict RFC 8259: UTF-8 only, no lone surrogates,
 * nothing after the document. Of equal keys the last wins, as in the daemon. */
#ifndef OVNBRIDGE_JSON_H
#define OVNBRIDGE_JSON_H

#include <stdbool.h>
#include <stddef.h>

enum {
    JSON_DEPTH_MAX = 64,
    JSON_TEXT_MAX = 107, /* sun_path without its NUL: the longest value that any of the members may usefully have */
};

enum json_kind {
    JSON_ABSENT, /* or null, as in Go's decoder */
    JSON_STRING,
    JSON_OBJECT,
    JSON_OTHER,
};

struct json_text {
    enum json_kind kind;
    bool has_nul;
    size_t length; /* of the whole unescaped string; `bytes` holds the first JSON_TEXT_MAX of it, then a NUL */
    char bytes[JSON_TEXT_MAX + 1];
};

struct netconf {
    struct json_text cni_version;
    struct json_text type;
    struct json_text server_socket;
    enum json_kind ipam;
    struct json_text ipam_server_socket;
};

/* False, with *conf empty, if the bytes are not one JSON object. */
bool json_read_netconf(const char *bytes, size_t length, struct netconf *conf);

bool json_is_object(const char *bytes, size_t length);

/* A string that is whole in `bytes` and that C can handle. */
bool json_text_usable(const struct json_text *text);
bool json_text_equals(const struct json_text *text, const char *string);

#endif
