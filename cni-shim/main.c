/* The plug-in's outer half: moves bytes between stdin, the daemon's socket and stdout, within the time. What they mean
 * is decided in shim.c. All memory is static; there is no heap. */
#include "main.h"

#include "http.h"
#include "shim.h"
#include "sys_linux.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>

enum { STDIN = 0, STDOUT = 1, FIRST_FREE_FD = 3 };

static struct shim shim;
static char input[SHIM_INPUT_MAX + 1];
static char reply[HTTP_REPLY_MAX];

/* One exchange with the daemon. */
struct exchange {
    int fd;
    long deadline;
    size_t input_length;
    size_t sent;
    size_t received;
};

/* 1 if something can be done with the descriptor, 0 if the time is over, -errno. */
static long wait_for(int fd, short events, long deadline, short *happened)
{
    for (;;) {
        long left = deadline - sys_now_milliseconds();
        struct pollfd entry = {.fd = fd, .events = events};
        long result = sys_poll(&entry, left > 0 ? left : 0);
        if (result == -EINTR)
            continue;
        *happened = entry.revents;
        return result;
    }
}

static bool is_passing(long result)
{
    return result == -EINTR || result == -EAGAIN;
}

/* ---- stdin and stdout ---- */

/* False: shim.answer says why. One byte more than allowed is read, so that shim_prepare sees that there is more. */
static bool read_input(long deadline, size_t *length)
{
    while (*length < sizeof input) {
        short happened;
        long result = wait_for(STDIN, POLLIN, deadline, &happened);
        if (result > 0)
            result = sys_read(STDIN, input + *length, sizeof input - *length);
        else if (result == 0)
            result = -ETIMEDOUT;
        if (result == 0)
            break;
        if (result > 0) {
            *length += (size_t)result;
        } else if (!is_passing(result)) {
            shim_fail_input(&shim, result == -ETIMEDOUT ? 0 : (int)-result);
            return false;
        }
    }
    return true;
}

static bool write_answer(const char *bytes, size_t length)
{
    while (length > 0) {
        long result = sys_write(STDOUT, bytes, length);
        if (result == -EAGAIN) { /* the runtime gave us a non-blocking stdout */
            struct pollfd entry = {.fd = STDOUT, .events = POLLOUT};
            (void)sys_poll(&entry, 1000);
        } else if (result > 0) {
            bytes += result;
            length -= (size_t)result;
        } else if (result != -EINTR) {
            return false;
        }
    }
    return true;
}

/* ---- the exchange ---- */

/* The socket never becomes one of 0..2, even if the runtime closed some of them: what we print must not go to it. */
static long open_socket(void)
{
    long fd = sys_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC);
    if (fd < 0 || fd >= FIRST_FREE_FD)
        return fd;
    long higher = sys_fcntl((int)fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
    (void)sys_close((int)fd);
    return higher;
}

/* A missing or refusing socket fails at once; only a full backlog is waited for, as it is the sign of a burst of pods. */
static long connect_socket(struct exchange *exchange)
{
    struct sockaddr_un address;
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, shim.socket_path, strlen(shim.socket_path));
    for (;;) {
        long left = exchange->deadline - sys_now_milliseconds();
        if (left <= 0)
            return -ETIMEDOUT;
        long result = sys_limit_connect(exchange->fd, left);
        if (result == 0)
            result = sys_connect(exchange->fd, &address);
        if (!is_passing(result))
            return result;
    }
}

static size_t unsent(const struct exchange *exchange)
{
    return shim.head.length + exchange->input_length - exchange->sent;
}

/* A daemon that closes before it has read everything may still have answered: that answer is worth more than EPIPE, so
 * a failure here only ends the sending. */
static void send_some(struct exchange *exchange)
{
    size_t head = shim.head.length;
    bool in_head = exchange->sent < head;
    const char *bytes = in_head ? shim.head.bytes + exchange->sent : input + (exchange->sent - head);
    long result = sys_send(exchange->fd, bytes, in_head ? head - exchange->sent : unsent(exchange));
    if (result > 0)
        exchange->sent += (size_t)result;
    else if (!is_passing(result))
        exchange->sent += unsent(exchange);
}

/* True if the answer is ready. */
static bool receive_some(struct exchange *exchange)
{
    long result = sys_receive(exchange->fd, reply + exchange->received, sizeof reply - exchange->received);
    if (is_passing(result))
        return false;
    if (result < 0) {
        shim_fail_transport(&shim, "receive from", (int)-result);
        return true;
    }
    exchange->received += (size_t)result;
    return shim_conclude(&shim, reply, exchange->received, result == 0);
}

static void run_exchange(struct exchange *exchange)
{
    for (;;) {
        short happened;
        long result = wait_for(exchange->fd, unsent(exchange) ? POLLIN | POLLOUT : POLLIN, exchange->deadline, &happened);
        if (result <= 0) {
            shim_fail_transport(&shim, "receive from", (int)-result);
            return;
        }
        if (happened & (POLLIN | POLLHUP | POLLERR) && receive_some(exchange))
            return;
        if (happened & POLLOUT && unsent(exchange))
            send_some(exchange);
    }
}

static void ask_daemon(long deadline, size_t input_length)
{
    struct exchange exchange = {.deadline = deadline, .input_length = input_length};
    long fd = open_socket();
    if (fd < 0) {
        shim_fail_transport(&shim, "open a socket for", (int)-fd);
        return;
    }
    exchange.fd = (int)fd;
    long result = connect_socket(&exchange);
    if (result < 0)
        shim_fail_transport(&shim, "connect to", result == -ETIMEDOUT ? 0 : (int)-result);
    else
        run_exchange(&exchange);
}

int run(char *const *environment)
{
    size_t input_length = 0;
    sys_ignore_sigpipe();
    shim_start(&shim, environment);
    long deadline = sys_now_milliseconds() + shim.timeout_seconds * 1000L;
    bool readable = !shim_needs_input(&shim) || read_input(deadline, &input_length);
    if (readable && shim_prepare(&shim, input, input_length))
        ask_daemon(deadline, input_length);
    if (!write_answer(shim.answer.bytes, shim.answer.length))
        return 1;
    return shim.answer.exit_status;
}
