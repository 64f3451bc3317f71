/* The system calls that main.c needs; each gives its result, or -errno.
 *
 * A static glibc costs some 700 KiB, and a fresh machine has no other libc. So on x86_64 and aarch64 the calls are made
 * directly; elsewhere, or with -DSHIM_LIBC, the same functions go through libc. */
#ifndef OVNBRIDGE_SYS_LINUX_H
#define OVNBRIDGE_SYS_LINUX_H

#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#ifndef SHIM_LIBC

#include <sys/syscall.h>

#if defined(__x86_64__) && defined(__LP64__)

static inline long sys_call(long number, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

#elif defined(__aarch64__) && defined(__LP64__)

static inline long sys_call(long number, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}

#else
#error "no system calls for this architecture: build with LIBC=1"
#endif

struct sys_time { /* the kernel's timespec and timeval on 64-bit machines */
    long seconds;
    long fraction;
};

static inline long sys_read(int fd, void *bytes, size_t length)
{
    return sys_call(SYS_read, fd, (long)bytes, (long)length, 0, 0, 0);
}

static inline long sys_write(int fd, const void *bytes, size_t length)
{
    return sys_call(SYS_write, fd, (long)bytes, (long)length, 0, 0, 0);
}

static inline long sys_close(int fd)
{
    return sys_call(SYS_close, fd, 0, 0, 0, 0, 0);
}

static inline long sys_send(int fd, const void *bytes, size_t length)
{
    return sys_call(SYS_sendto, fd, (long)bytes, (long)length, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
}

static inline long sys_receive(int fd, void *bytes, size_t length)
{
    return sys_call(SYS_recvfrom, fd, (long)bytes, (long)length, MSG_DONTWAIT, 0, 0);
}

static inline long sys_socket(int domain, int type)
{
    return sys_call(SYS_socket, domain, type, 0, 0, 0, 0);
}

static inline long sys_connect(int fd, const struct sockaddr_un *address)
{
    return sys_call(SYS_connect, fd, (long)address, sizeof *address, 0, 0, 0);
}

static inline long sys_limit_connect(int fd, long milliseconds)
{
    struct sys_time limit = {milliseconds / 1000, milliseconds % 1000 * 1000};
    return sys_call(SYS_setsockopt, fd, SOL_SOCKET, SO_SNDTIMEO, (long)&limit, sizeof limit, 0);
}

static inline long sys_fcntl(int fd, int command, long argument)
{
    return sys_call(SYS_fcntl, fd, command, argument, 0, 0, 0);
}

static inline long sys_poll(struct pollfd *fd, long milliseconds)
{
    struct sys_time timeout = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    return sys_call(SYS_ppoll, (long)fd, 1, (long)&timeout, 0, 0, 0);
}

static inline long sys_now_milliseconds(void)
{
    struct sys_time now = {0, 0};
    sys_call(SYS_clock_gettime, 1 /* CLOCK_MONOTONIC */, (long)&now, 0, 0, 0, 0);
    return now.seconds * 1000 + now.fraction / 1000000;
}

static inline void sys_ignore_sigpipe(void)
{
    /* struct sigaction as the kernel has it: handler SIG_IGN, then flags, restorer and mask */
    const unsigned long action[4] = {1, 0, 0, 0};
    sys_call(SYS_rt_sigaction, 13 /* SIGPIPE */, (long)action, 0, 8, 0, 0);
}

static inline _Noreturn void sys_exit(int status)
{
    for (;;)
        sys_call(SYS_exit_group, status, 0, 0, 0, 0, 0);
}

#else /* SHIM_LIBC */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static inline long sys_result(long result)
{
    return result < 0 ? -errno : result;
}

static inline long sys_read(int fd, void *bytes, size_t length)
{
    return sys_result(read(fd, bytes, length));
}

static inline long sys_write(int fd, const void *bytes, size_t length)
{
    return sys_result(write(fd, bytes, length));
}

static inline long sys_close(int fd)
{
    return sys_result(close(fd));
}

static inline long sys_send(int fd, const void *bytes, size_t length)
{
    return sys_result(send(fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL));
}

static inline long sys_receive(int fd, void *bytes, size_t length)
{
    return sys_result(recv(fd, bytes, length, MSG_DONTWAIT));
}

static inline long sys_socket(int domain, int type)
{
    return sys_result(socket(domain, type, 0));
}

static inline long sys_connect(int fd, const struct sockaddr_un *address)
{
    return sys_result(connect(fd, (const struct sockaddr *)address, sizeof *address));
}

static inline long sys_limit_connect(int fd, long milliseconds)
{
    struct timeval limit = {milliseconds / 1000, milliseconds % 1000 * 1000};
    return sys_result(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit));
}

static inline long sys_fcntl(int fd, int command, long argument)
{
    return sys_result(fcntl(fd, command, argument));
}

static inline long sys_poll(struct pollfd *fd, long milliseconds)
{
    return sys_result(poll(fd, 1, (int)milliseconds));
}

static inline long sys_now_milliseconds(void)
{
    struct timespec now = {0, 0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static inline void sys_ignore_sigpipe(void)
{
    signal(SIGPIPE, SIG_IGN);
}

static inline _Noreturn void sys_exit(int status)
{
    _exit(status);
}

#endif
#endif
