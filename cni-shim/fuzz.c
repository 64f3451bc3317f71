/* The fuzz target: everything but the system calls. It links only the pure files.
 *
 * The first byte chooses what the rest is: stdin, a reply of the daemon, or the environment with stdin. Each run checks,
 * besides what the sanitizers see, what must hold for any input: what we print is one line of valid JSON, what we send
 * has the header lines that we meant and no other, and a reply is judged the same however it was cut into pieces. */
#include "http.h"
#include "shim.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition) ((condition) ? (void)0 : broken(#condition, __LINE__))

static _Noreturn void broken(const char *condition, int line)
{
    fprintf(stderr, "fuzz.c:%d: does not hold: %s\n", line, condition);
    abort();
}

static struct shim shim;

/* A heap copy of exactly the size, so that the address sanitizer sees a read of one byte too many. */
static char *exact_copy(const void *bytes, size_t length)
{
    char *copy = malloc(length ? length : 1);
    MUST(copy);
    if (length)
        memcpy(copy, bytes, length);
    return copy;
}

static void check_error_answer(void)
{
    const char *bytes = shim.answer.bytes;
    size_t length = shim.answer.length;
    MUST(shim.answer.exit_status == 0 || shim.answer.exit_status == 1);
    MUST(length > 1 && length < sizeof shim.output_bytes);
    MUST(bytes[length - 1] == '\n' && !memchr(bytes, '\n', length - 1));
    MUST(json_is_object(bytes, length));
}

static void check_request(size_t content_length)
{
    size_t lines = 0, expected = 6; /* request line, 3 fixed headers, Content-Length, the empty line */
    const char *path = shim.socket_path;
    MUST(path[0] == '/' && strlen(path) <= JSON_TEXT_MAX);
    MUST(!shim.head.overflow && shim.head.length > 4);
    MUST(memcmp(shim.head.bytes + shim.head.length - 4, "\r\n\r\n", 4) == 0);
    for (int variable = CNI_COMMAND; variable <= CNI_PATH; variable++)
        if (shim.variables[variable] && *shim.variables[variable])
            expected++;
    for (size_t i = 0; i < shim.head.length; i++) {
        unsigned char c = (unsigned char)shim.head.bytes[i];
        MUST(c >= 0x20 || c == '\r' || c == '\n');
        MUST(c != '\r' || shim.head.bytes[i + 1] == '\n');
        MUST(c != '\n' || shim.head.bytes[i - 1] == '\r');
        lines += c == '\n';
    }
    MUST(lines == expected);
    MUST(content_length > 1 && content_length <= SHIM_INPUT_MAX);
}

static bool prepare(char *const *environment, const char *input, size_t length)
{
    shim_start(&shim, environment);
    MUST(shim.timeout_seconds >= 1 && shim.timeout_seconds <= SHIM_TIMEOUT_MAX);
    bool asks = shim_prepare(&shim, input, length);
    if (asks)
        check_request(length);
    else
        check_error_answer();
    return asks;
}

static const char *const fixed_environment[] = {
    "PATH=/bin", "CNI_COMMAND=ADD", "CNI_CONTAINERID=0a1b", "CNI_NETNS=/var/run/netns/x", "CNI_IFNAME=eth0",
    "CNI_ARGS=K8S_POD_NAMESPACE=a;K8S_POD_NAME=b", "CNI_PATH=/opt/cni/bin", NULL,
};

static void fuzz_input(const uint8_t *data, size_t size)
{
    char *input = exact_copy(data, size);
    struct netconf conf;
    MUST(json_read_netconf(input, size, &conf) == json_is_object(input, size));
    bool asks = prepare((char *const *)(uintptr_t)fixed_environment, input, size);
    if (asks) {
        shim_fail_transport(&shim, "connect to", (int)(size % 140));
        check_error_answer();
    } else {
        shim_fail_input(&shim, (int)(size % 140));
        check_error_answer();
    }
    free(input);
}

/* The pieces: all of it, and its first part. Parts may be undecided; what is decided must stay. */
static void fuzz_reply(const uint8_t *data, size_t size)
{
    static const char conf[] = "{\"cniVersion\":\"1.0.0\",\"type\":\"kube-ovn\",\"server_socket\":\"/s\"}";
    MUST(prepare((char *const *)(uintptr_t)fixed_environment, conf, sizeof conf - 1));
    if (size == 0)
        return;
    size_t part = data[0] * (size - 1) / 255;
    char *reply = exact_copy(data + 1, size - 1), *first = exact_copy(data + 1, part);

    struct http_reply whole, early;
    enum http_state early_state = http_read_reply(first, part, false, &early);
    enum http_state state = http_read_reply(reply, size - 1, false, &whole);
    MUST(early_state == HTTP_INCOMPLETE || early_state == state);
    MUST(early_state != HTTP_COMPLETE || (early.status == whole.status && early.body_length == whole.body_length));
    MUST((state == HTTP_BAD) == (whole.fault != NULL));
    MUST(state != HTTP_COMPLETE || whole.body + whole.body_length <= reply + size - 1);
    MUST(http_read_reply(first, part, true, &early) != HTTP_INCOMPLETE);

    MUST(shim_conclude(&shim, reply, size - 1, false) == (state != HTTP_INCOMPLETE));
    MUST(shim_conclude(&shim, reply, size - 1, true));
    if (shim.answer.bytes == shim.output_bytes)
        check_error_answer();
    else
        MUST(json_is_object(shim.answer.bytes, shim.answer.length));
    free(first);
    free(reply);
}

/* Entries of the environment, each ended by a NUL (at most ENTRIES), then stdin. */
static void fuzz_environment(const uint8_t *data, size_t size)
{
    enum { ENTRIES = 8 };
    char *entries[ENTRIES + 1] = {NULL};
    size_t count = 0;
    const uint8_t *end = data + size, *nul;
    while (count < ENTRIES && data < end && (nul = memchr(data, 0, (size_t)(end - data)))) {
        entries[count++] = exact_copy(data, (size_t)(nul - data) + 1);
        data = nul + 1;
    }
    char *input = exact_copy(data, (size_t)(end - data));
    (void)prepare(entries, input, (size_t)(end - data));
    free(input);
    while (count--)
        free(entries[count]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    switch (data[0] % 3) {
    case 0:
        fuzz_input(data + 1, size - 1);
        break;
    case 1:
        fuzz_reply(data + 1, size - 1);
        break;
    default:
        fuzz_environment(data + 1, size - 1);
    }
    return 0;
}
