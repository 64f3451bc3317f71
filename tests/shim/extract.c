/* For test_shim_json.py: what the plug-in's scanner makes of a document.
 * In: documents, each as a 4-byte little-endian length and its bytes. Out, a line each: "-" if it is refused, else for
 * cniVersion, type, server_socket and ipam.server_socket "kind,has_nul,length,hex of the kept bytes", and ipam's kind. */
#include "json.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static void print_text(const struct json_text *text)
{
    size_t kept = text->length < JSON_TEXT_MAX ? text->length : JSON_TEXT_MAX;
    printf("%d,%d,%zu,", (int)text->kind, (int)text->has_nul, text->length);
    for (size_t i = 0; i < kept; i++)
        printf("%02x", (unsigned char)text->bytes[i]);
    putchar(' ');
}

static void print_document(const char *document, size_t length)
{
    struct netconf conf;
    if (!json_read_netconf(document, length, &conf)) {
        puts("-");
        return;
    }
    print_text(&conf.cni_version);
    print_text(&conf.type);
    print_text(&conf.server_socket);
    print_text(&conf.ipam_server_socket);
    printf("%d\n", (int)conf.ipam);
}

int main(void)
{
    uint8_t prefix[4];
    while (fread(prefix, 1, sizeof prefix, stdin) == sizeof prefix) {
        size_t length = (size_t)prefix[0] | (size_t)prefix[1] << 8 | (size_t)prefix[2] << 16 | (size_t)prefix[3] << 24;
        char *document = malloc(length ? length : 1); /* of the exact size, for the address sanitizer */
        if (!document || fread(document, 1, length, stdin) != length)
            return 1;
        print_document(document, length);
        fflush(stdout);
        free(document);
    }
    return 0;
}
