/* What stands in for libc: the entry point, the stack protector and the few memory functions that the compiler calls.
 * With SHIM_LIBC only a main() is left. Built without the stack protector, which is set up here. */
#include "main.h"
#include "sys_linux.h"

#ifdef SHIM_LIBC

extern char **environ;

int main(void)
{
    return run(environ);
}

#else

#include <elf.h>
#include <stdint.h>
#include <string.h>

uintptr_t __stack_chk_guard = 0x00000aff0d0affu; /* until start() has a random one */
_Noreturn void __stack_chk_fail(void);
_Noreturn void shim_entry(uintptr_t *stack);

_Noreturn void __stack_chk_fail(void)
{
    __builtin_trap();
}

#if defined(__x86_64__)
__asm__(".text\n.globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall shim_entry\n\thlt\n");
#else
__asm__(".text\n.globl _start\n_start:\n\tmov x29, #0\n\tmov x30, #0\n\tmov x0, sp\n\tbl shim_entry\n\tbrk #1\n");
#endif

/* The kernel leaves 16 random bytes; the lowest byte of the guard stays 0, so that no string copy can repeat it. */
static void seed_stack_guard(const uintptr_t *auxiliary)
{
    for (; auxiliary[0] != AT_NULL; auxiliary += 2)
        if (auxiliary[0] == AT_RANDOM) {
            memcpy(&__stack_chk_guard, (const void *)auxiliary[1], sizeof __stack_chk_guard);
            __stack_chk_guard &= ~(uintptr_t)0xff;
        }
}

/* The stack as the kernel leaves it: argc, argv..., NULL, environment..., NULL, auxiliary vector. */
_Noreturn void shim_entry(uintptr_t *stack)
{
    char **environment = (char **)(stack + 1 + stack[0] + 1);
    uintptr_t *after = (uintptr_t *)environment;
    while (*after)
        after++;
    seed_stack_guard(after + 1);
    sys_exit(run(environment));
}

void *memcpy(void *restrict to, const void *restrict from, size_t length)
{
    char *out = to;
    const char *in = from;
    while (length--)
        *out++ = *in++;
    return to;
}

void *memmove(void *to, const void *from, size_t length)
{
    char *out = to;
    const char *in = from;
    if (out <= in)
        return memcpy(to, from, length);
    while (length--)
        out[length] = in[length];
    return to;
}

void *memset(void *to, int byte, size_t length)
{
    char *out = to;
    while (length--)
        *out++ = (char)byte;
    return to;
}

int memcmp(const void *left, const void *right, size_t length)
{
    const unsigned char *a = left, *b = right;
    for (; length--; a++, b++)
        if (*a != *b)
            return *a - *b;
    return 0;
}

size_t strlen(const char *string)
{
    size_t length = 0;
    while (string[length])
        length++;
    return length;
}

int strcmp(const char *left, const char *right)
{
    while (*left && *left == *right) {
        left++;
        right++;
    }
    return (unsigned char)*left - (unsigned char)*right;
}

int strncmp(const char *left, const char *right, size_t length)
{
    for (; length--; left++, right++)
        if (*left != *right || !*left)
            return (unsigned char)*left - (unsigned char)*right;
    return 0;
}

char *strchr(const char *string, int wanted)
{
    for (; *string; string++)
        if (*string == (char)wanted)
            return (char *)(uintptr_t)string;
    return NULL;
}

#endif
