/* Jumps with one large frame over the guard page of a stack, into the memory behind it. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/mman.h>

#include "offence.h"

enum { STACK = 256 << 10, GUARD = 64 << 10, BEHIND = 1 << 20, FRAME = 512 << 10 };

static char *victim;

static void APART touch(volatile char *byte)
{
    *byte = 'x';
}

/* -ftrivial-auto-var-init would stumble over the guard page when it fills the frame */
#ifdef __has_attribute
#if __has_attribute(uninitialized)
#define LEFT_ALONE __attribute__((uninitialized))
#endif
#endif
#ifndef LEFT_ALONE
#define LEFT_ALONE
#endif

static void APART large_frame(void)
{
    char frame[FRAME] LEFT_ALONE;
    touch(frame);
    USED(frame);
}

static void *on_small_stack(void *argument)
{
    large_frame();
    return argument;
}

int main(void)
{
    pthread_attr_t attributes;
    pthread_t thread;
    victim = mmap(NULL, BEHIND + GUARD + STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (victim == MAP_FAILED || mprotect(victim + BEHIND, GUARD, PROT_NONE))
        return 44;
    if (pthread_attr_init(&attributes) || pthread_attr_setstack(&attributes, victim + BEHIND + GUARD, STACK))
        return 44;
    if (pthread_create(&thread, &attributes, on_small_stack, NULL) || pthread_join(thread, NULL))
        return 44;
    if (memchr(victim, 'x', BEHIND))
        went_through();
    return 1;
}
