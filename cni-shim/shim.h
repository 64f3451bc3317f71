/* What the plug-in decides, without a system call: main.c feeds it the environment, stdin and the daemon's bytes, and
 * carries out what it says. The order of calls for one run of the plug-in:
 *
 *   shim_start -> shim_needs_input -> shim_prepare -> shim_conclude (again and again, as bytes come)
 *
 * shim_fail_* may take the place of any of the last two. All of it writes only into struct shim. */
#ifndef OVNBRIDGE_SHIM_H
#define OVNBRIDGE_SHIM_H

#include "json.h"
#include "text.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    SHIM_INPUT_MAX = 1024 * 1024,    /* of stdin; main.c reads one byte more, to see that there is more */
    SHIM_VARIABLE_MAX = 4096,        /* of each environment variable */
    SHIM_TIMEOUT_DEFAULT = 220,      /* seconds; kubelet itself gives up after 240 */
    SHIM_TIMEOUT_MAX = 600,
    SHIM_DETAILS_MAX = 512,          /* of an error's `details`, before escaping */
};

enum shim_command { COMMAND_NONE, COMMAND_ADD, COMMAND_DEL, COMMAND_CHECK, COMMAND_STATUS, COMMAND_GC, COMMAND_VERSION };

enum shim_variable {
    CNI_COMMAND,
    CNI_CONTAINERID,
    CNI_NETNS,
    CNI_IFNAME,
    CNI_ARGS,
    CNI_PATH,
    OVNBRIDGE_CNI_TIMEOUT,
    SHIM_VARIABLES,
};

/* What goes to stdout, and the exit status that belongs to it. */
struct shim_answer {
    int exit_status;
    const char *bytes;
    size_t length;
};

struct shim {
    const char *variables[SHIM_VARIABLES]; /* NULL if unset */
    enum shim_command command;
    unsigned timeout_seconds;
    struct netconf conf;
    const char *socket_path; /* after shim_prepare: where the request goes */
    struct text head;        /* after shim_prepare: what is sent before stdin's bytes */
    struct shim_answer answer;
    char head_bytes[(CNI_PATH + 1) * SHIM_VARIABLE_MAX + 512];
    char output_bytes[(SHIM_DETAILS_MAX + JSON_TEXT_MAX) * TEXT_JSON_GROWTH + 256];
};

void shim_start(struct shim *shim, char *const *environment);

/* Is there a CNI_COMMAND, and so a caller that writes the network configuration to stdin? */
bool shim_needs_input(const struct shim *shim);

/* True if the daemon is to be asked; else shim->answer is ready. */
bool shim_prepare(struct shim *shim, const char *input, size_t length);

/* True if the daemon's reply is decided, one way or the other: shim->answer is ready and may point into `reply`. */
bool shim_conclude(struct shim *shim, const char *reply, size_t length, bool ended);

/* `error` is an errno value, 0 if the time is over. */
void shim_fail_input(struct shim *shim, int error);
void shim_fail_transport(struct shim *shim, const char *action, int error);

#endif
