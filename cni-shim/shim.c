#include "shim.h"

#include "http.h"

#include <errno.h>
#include <string.h>

/* The error codes of the CNI specification that the plug-in itself gives. */
enum cni_code { CNI_ENVIRONMENT = 4, CNI_INPUT_OUTPUT = 5, CNI_DECODE = 6, CNI_CONFIG = 7, CNI_TRY_AGAIN = 11 };

static const char cni_version_newest[] = "1.1.0";
static const char cni_version_of_errors[] = "0.3.1"; /* for a caller whose version we do not know */

static const char *const variable_names[SHIM_VARIABLES] = {
    [CNI_COMMAND] = "CNI_COMMAND",
    [CNI_CONTAINERID] = "CNI_CONTAINERID",
    [CNI_NETNS] = "CNI_NETNS",
    [CNI_IFNAME] = "CNI_IFNAME",
    [CNI_ARGS] = "CNI_ARGS",
    [CNI_PATH] = "CNI_PATH",
    [OVNBRIDGE_CNI_TIMEOUT] = "OVNBRIDGE_CNI_TIMEOUT",
};

static const char *const header_names[CNI_PATH + 1] = {
    [CNI_COMMAND] = "Cni-Command",
    [CNI_CONTAINERID] = "Cni-Containerid",
    [CNI_NETNS] = "Cni-Netns",
    [CNI_IFNAME] = "Cni-Ifname",
    [CNI_ARGS] = "Cni-Args",
    [CNI_PATH] = "Cni-Path",
};

#define NEEDS(variable) (1u << (variable))

static const struct {
    const char *name;
    unsigned required; /* the variables without which the command makes no sense */
} commands[] = {
    [COMMAND_NONE] = {"", 0},
    [COMMAND_ADD] = {"ADD", NEEDS(CNI_CONTAINERID) | NEEDS(CNI_NETNS) | NEEDS(CNI_IFNAME)},
    [COMMAND_DEL] = {"DEL", NEEDS(CNI_CONTAINERID) | NEEDS(CNI_IFNAME)},
    [COMMAND_CHECK] = {"CHECK", NEEDS(CNI_CONTAINERID) | NEEDS(CNI_NETNS) | NEEDS(CNI_IFNAME)},
    [COMMAND_STATUS] = {"STATUS", 0},
    [COMMAND_GC] = {"GC", 0},
    [COMMAND_VERSION] = {"VERSION", 0},
};

/* ---- answers ---- */

static const char *known_version(const struct shim *shim, const char *otherwise)
{
    const struct json_text *version = &shim->conf.cni_version;
    return json_text_usable(version) && version->length ? version->bytes : otherwise;
}

static void answer_text(struct shim *shim, int exit_status, const struct text *output)
{
    shim->answer.exit_status = exit_status;
    shim->answer.bytes = output->bytes;
    shim->answer.length = output->length;
}

static void add_member(struct text *output, const char *before, const char *value, size_t length)
{
    text_add(output, before);
    text_add_json(output, value, length);
    text_add(output, "\"");
}

/* Always false, so that a check can end with `return fail(...)`. */
static bool fail(struct shim *shim, enum cni_code code, const char *message, const struct text *details)
{
    const char *version = known_version(shim, cni_version_of_errors);
    struct text output;
    text_start(&output, shim->output_bytes, sizeof shim->output_bytes);
    add_member(&output, "{\"cniVersion\":\"", version, strlen(version));
    text_add(&output, ",\"code\":");
    text_add_number(&output, code);
    add_member(&output, ",\"msg\":\"", message, strlen(message));
    add_member(&output, ",\"details\":\"", details->bytes, details->length);
    text_add(&output, "}\n");
    answer_text(shim, 1, &output);
    return false;
}

/* `first` and `second` make up the details. */
static bool fail_with(struct shim *shim, enum cni_code code, const char *message, const char *first, const char *second)
{
    char bytes[SHIM_DETAILS_MAX];
    struct text details;
    text_start(&details, bytes, sizeof bytes);
    text_add(&details, first);
    text_add(&details, second);
    return fail(shim, code, message, &details);
}

static bool fail_environment(struct shim *shim, const char *first, const char *second)
{
    return fail_with(shim, CNI_ENVIRONMENT, "invalid environment variables", first, second);
}

static bool fail_config(struct shim *shim, const char *first, const char *second)
{
    return fail_with(shim, CNI_CONFIG, "invalid network config", first, second);
}

static bool fail_decode(struct shim *shim, const char *details)
{
    return fail_with(shim, CNI_DECODE, "failed to decode content", details, "");
}

/* Whatever stdin holds: a runtime that asks for the versions must learn them. */
static void answer_version(struct shim *shim)
{
    const char *version = known_version(shim, cni_version_newest);
    struct text output;
    text_start(&output, shim->output_bytes, sizeof shim->output_bytes);
    add_member(&output, "{\"cniVersion\":\"", version, strlen(version));
    text_add(&output, ",\"supportedVersions\":[\"0.1.0\",\"0.2.0\",\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n");
    answer_text(shim, 0, &output);
}

/* ---- the environment ---- */

static bool is_set(const struct shim *shim, enum shim_variable variable)
{
    return shim->variables[variable] && *shim->variables[variable];
}

static enum shim_command find_command(const struct shim *shim)
{
    for (int command = COMMAND_ADD; command <= COMMAND_VERSION; command++)
        if (is_set(shim, CNI_COMMAND) && strcmp(shim->variables[CNI_COMMAND], commands[command].name) == 0)
            return (enum shim_command)command;
    return COMMAND_NONE;
}

/* 0 if it is not a whole number of seconds in 1..SHIM_TIMEOUT_MAX. */
static unsigned parse_timeout(const char *value)
{
    unsigned seconds = 0;
    for (; *value; value++) {
        if (*value < '0' || *value > '9')
            return 0;
        seconds = seconds * 10 + (unsigned)(*value - '0');
        if (seconds > SHIM_TIMEOUT_MAX)
            return 0;
    }
    return seconds;
}

static const char *value_of(const char *entry, const char *name)
{
    size_t length = strlen(name);
    return strncmp(entry, name, length) == 0 && entry[length] == '=' ? entry + length + 1 : NULL;
}

static void collect_variable(struct shim *shim, const char *entry)
{
    for (int variable = 0; variable < SHIM_VARIABLES; variable++) {
        const char *value = value_of(entry, variable_names[variable]);
        if (value && !shim->variables[variable]) /* the first wins, as with getenv */
            shim->variables[variable] = value;
    }
}

void shim_start(struct shim *shim, char *const *environment)
{
    memset(shim, 0, sizeof *shim);
    for (; *environment; environment++)
        collect_variable(shim, *environment);
    shim->command = find_command(shim);
    shim->timeout_seconds = SHIM_TIMEOUT_DEFAULT;
    if (is_set(shim, OVNBRIDGE_CNI_TIMEOUT) && parse_timeout(shim->variables[OVNBRIDGE_CNI_TIMEOUT]))
        shim->timeout_seconds = parse_timeout(shim->variables[OVNBRIDGE_CNI_TIMEOUT]);
}

bool shim_needs_input(const struct shim *shim)
{
    return is_set(shim, CNI_COMMAND);
}

/* The values become HTTP header lines: a control character must not get through. */
static bool check_bytes(struct shim *shim, enum shim_variable variable)
{
    const char *value = shim->variables[variable];
    for (size_t i = 0; value && value[i]; i++) {
        unsigned char c = (unsigned char)value[i];
        if (i == SHIM_VARIABLE_MAX)
            return fail_environment(shim, variable_names[variable], " is longer than 4096 bytes");
        if (c < 0x20 || c == 0x7f)
            return fail_environment(shim, variable_names[variable], " has a control character");
    }
    return true;
}

static bool is_alphanumeric(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool is_container_id(const char *id)
{
    if (!is_alphanumeric(*id))
        return false;
    while (is_alphanumeric(*id) || *id == '_' || *id == '.' || *id == '-')
        id++;
    return *id == 0;
}

/* What the kernel takes as a network device's name (dev_valid_name). Control characters are excluded already. */
static bool is_interface_name(const char *name)
{
    enum { LONGEST = 15 };
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return false;
    size_t length = 0;
    for (; name[length]; length++) {
        unsigned char c = (unsigned char)name[length];
        if (length == LONGEST || c == '/' || c == ':' || c == ' ' || c == 0xa0 /* white space to the kernel */)
            return false;
    }
    return length > 0;
}

static bool check_command(struct shim *shim)
{
    if (!is_set(shim, CNI_COMMAND))
        return fail_environment(shim, "CNI_COMMAND is missing", "");
    if (shim->command == COMMAND_NONE)
        return fail_environment(shim, "unknown CNI_COMMAND: ", shim->variables[CNI_COMMAND]);
    return true;
}

static bool check_required(struct shim *shim)
{
    for (int variable = 0; variable < SHIM_VARIABLES; variable++)
        if (commands[shim->command].required & NEEDS(variable) && !is_set(shim, (enum shim_variable)variable))
            return fail_environment(shim, variable_names[variable], " is missing");
    return true;
}

static bool check_environment(struct shim *shim)
{
    for (int variable = 0; variable < SHIM_VARIABLES; variable++)
        if (!check_bytes(shim, (enum shim_variable)variable))
            return false;
    if (!check_command(shim) || !check_required(shim))
        return false;
    if (is_set(shim, CNI_CONTAINERID) && !is_container_id(shim->variables[CNI_CONTAINERID]))
        return fail_environment(shim, "CNI_CONTAINERID is not a container's id", "");
    if (is_set(shim, CNI_IFNAME) && !is_interface_name(shim->variables[CNI_IFNAME]))
        return fail_environment(shim, "CNI_IFNAME is not an interface's name", "");
    if (is_set(shim, OVNBRIDGE_CNI_TIMEOUT) && !parse_timeout(shim->variables[OVNBRIDGE_CNI_TIMEOUT]))
        return fail_environment(shim, "OVNBRIDGE_CNI_TIMEOUT is not a number of seconds from 1 to 600", "");
    return true;
}

/* ---- the network configuration ---- */

static bool check_text(struct shim *shim, const struct json_text *text, const char *name)
{
    if (text->kind != JSON_ABSENT && text->kind != JSON_STRING)
        return fail_config(shim, name, " is not a string");
    if (text->has_nul)
        return fail_config(shim, name, " has a NUL character");
    return true;
}

static bool choose_socket(struct shim *shim)
{
    bool main_plugin = json_text_equals(&shim->conf.type, "kube-ovn"); /* else we are another plug-in's IPAM */
    const struct json_text *path = main_plugin ? &shim->conf.server_socket : &shim->conf.ipam_server_socket;
    const char *name = main_plugin ? "server_socket" : "ipam.server_socket";
    if (!check_text(shim, path, name))
        return false;
    if (path->length == 0 || path->kind == JSON_ABSENT)
        return fail_config(shim, name, " is required");
    if (path->bytes[0] != '/')
        return fail_config(shim, name, " is not an absolute path");
    if (path->length > JSON_TEXT_MAX)
        return fail_config(shim, name, " is longer than 107 bytes");
    shim->socket_path = path->bytes;
    return true;
}

static bool check_config(struct shim *shim)
{
    if (shim->conf.cni_version.has_nul) /* its other faults are the daemon's to report */
        return check_text(shim, &shim->conf.cni_version, "cniVersion");
    return check_text(shim, &shim->conf.type, "type") && choose_socket(shim);
}

/* ---- the request ---- */

static void add_header(struct text *head, const char *name, const char *value)
{
    text_add(head, name);
    text_add(head, ": ");
    text_add(head, value);
    text_add(head, "\r\n");
}

static void build_head(struct shim *shim, size_t content_length)
{
    struct text *head = &shim->head;
    text_start(head, shim->head_bytes, sizeof shim->head_bytes);
    text_add(head, "POST /cni/v1 HTTP/1.1\r\nHost: ovnbridge\r\nConnection: close\r\n"
                   "Content-Type: application/json\r\n");
    for (int variable = CNI_COMMAND; variable <= CNI_PATH; variable++)
        if (is_set(shim, (enum shim_variable)variable))
            add_header(head, header_names[variable], shim->variables[variable]);
    text_add(head, "Content-Length: ");
    text_add_number(head, content_length);
    text_add(head, "\r\n\r\n");
}

bool shim_prepare(struct shim *shim, const char *input, size_t length)
{
    /* The configuration is read first: every error carries its cniVersion. */
    bool too_large = length > SHIM_INPUT_MAX;
    bool decoded = !too_large && json_read_netconf(input, length, &shim->conf);
    if (shim->command == COMMAND_VERSION) {
        answer_version(shim);
        return false;
    }
    if (!check_environment(shim))
        return false;
    if (too_large)
        return fail_decode(shim, "the network configuration on stdin is larger than 1 MiB");
    if (!decoded)
        return fail_decode(shim, length ? "stdin is not a JSON object" : "stdin is empty");
    if (!check_config(shim))
        return false;
    build_head(shim, length);
    return true;
}

/* ---- the reply ---- */

static bool fail_reply(struct shim *shim, const char *fault, unsigned status)
{
    char bytes[SHIM_DETAILS_MAX];
    struct text details;
    text_start(&details, bytes, sizeof bytes);
    text_add(&details, "reply from ");
    text_add(&details, shim->socket_path);
    text_add(&details, ": ");
    text_add(&details, fault);
    if (status) {
        text_add(&details, " (HTTP status ");
        text_add_number(&details, status);
        text_add(&details, ")");
    }
    return fail(shim, CNI_TRY_AGAIN, "RPC failed", &details);
}

static void judge_reply(struct shim *shim, const struct http_reply *reply)
{
    bool success = reply->status == 200;
    bool may_be_empty = success && shim->command != COMMAND_ADD;
    if (!success && reply->status != 400 && reply->status != 500) {
        fail_reply(shim, "its status is unknown", reply->status);
    } else if (reply->body_length == 0 && !may_be_empty) {
        fail_reply(shim, "it is empty", reply->status);
    } else if (reply->body_length != 0 && !json_is_object(reply->body, reply->body_length)) {
        fail_reply(shim, "its body is not a JSON object", reply->status);
    } else {
        shim->answer.exit_status = success ? 0 : 1;
        shim->answer.bytes = reply->body;
        shim->answer.length = reply->body_length;
    }
}

bool shim_conclude(struct shim *shim, const char *bytes, size_t length, bool ended)
{
    struct http_reply reply;
    switch (http_read_reply(bytes, length, ended, &reply)) {
    case HTTP_INCOMPLETE:
        return false;
    case HTTP_COMPLETE:
        judge_reply(shim, &reply);
        return true;
    case HTTP_BAD:
        break;
    }
    fail_reply(shim, reply.fault, 0);
    return true;
}

/* ---- failures of system calls ---- */

/* There is no libc to ask. Only what the calls in main.c are known to give; the number says the rest. */
static const char *error_text(int error)
{
    switch (error) {
    case EACCES:
        return "permission denied";
    case EAGAIN:
        return "resource temporarily unavailable";
    case EBADF:
        return "bad file descriptor";
    case ECONNREFUSED:
        return "connection refused";
    case ECONNRESET:
        return "connection reset by peer";
    case EIO:
        return "input/output error";
    case EISDIR:
        return "is a directory";
    case ELOOP:
        return "too many levels of symbolic links";
    case EMFILE:
    case ENFILE:
        return "too many open files";
    case ENOBUFS:
    case ENOMEM:
        return "cannot allocate memory";
    case ENOENT:
        return "no such file or directory";
    case ENOTDIR:
        return "not a directory";
    case EPERM:
        return "operation not permitted";
    case EPIPE:
        return "broken pipe";
    case EPROTOTYPE:
        return "not a stream socket";
    default:
        return NULL;
    }
}

static void add_error(struct shim *shim, struct text *details, int error)
{
    text_add(details, ": ");
    if (error == 0) {
        text_add(details, "timed out after ");
        text_add_number(details, shim->timeout_seconds);
        text_add(details, " s");
    } else if (error_text(error)) {
        text_add(details, error_text(error));
    } else {
        text_add(details, "errno ");
        text_add_number(details, (unsigned long)error);
    }
}

void shim_fail_input(struct shim *shim, int error)
{
    char bytes[SHIM_DETAILS_MAX];
    struct text details;
    text_start(&details, bytes, sizeof bytes);
    text_add(&details, "read stdin");
    add_error(shim, &details, error);
    fail(shim, CNI_INPUT_OUTPUT, "I/O failure", &details);
}

void shim_fail_transport(struct shim *shim, const char *action, int error)
{
    char bytes[SHIM_DETAILS_MAX];
    struct text details;
    text_start(&details, bytes, sizeof bytes);
    text_add(&details, action);
    text_add(&details, " ");
    text_add(&details, shim->socket_path);
    add_error(shim, &details, error);
    fail(shim, CNI_TRY_AGAIN, "RPC failed", &details);
}
