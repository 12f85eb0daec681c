/* What all offences share: an offence that nothing stopped ends with `went_through`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __clang__
#define APART __attribute__((noinline))
#else
#define APART __attribute__((noinline, noclone))
#endif

/* Who knows what happens to this memory: no compiler leaves out what is done to it. */
#define USED(pointer) __asm__ volatile("" : : "r"(pointer) : "memory")

/* Written without the C library's buffers: the stack may be damaged when it is called. */
static void APART went_through(void)
{
    static const char text[] = "offence: went through\n";
    if (write(1, text, sizeof text - 1) < 0)
        _exit(43);
    _exit(42);
}

static void APART held(void)
{
    static const char text[] = "offence: had no effect\n";
    if (write(1, text, sizeof text - 1) < 0)
        _exit(43);
    _exit(0);
}

/* A value that no compiler knows. */
static volatile int unknown_to_compiler = 1;
