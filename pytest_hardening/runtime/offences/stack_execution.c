/* Puts a function that returns at once onto the stack, and calls it. */
#include "offence.h"

#if defined __x86_64__ || defined __i386__
static const unsigned char code[] = {0xc3};
#elif defined __aarch64__
static const unsigned int code[] = {0xd65f03c0};
#elif defined __arm__
static const unsigned int code[] = {0xe12fff1e};
#elif defined __powerpc64__
static const unsigned int code[] = {0x4e800020};
#elif defined __s390x__
static const unsigned short code[] = {0x07fe};
#elif defined __riscv
static const unsigned short code[] = {0x8082};
#else
#error "this architecture's return instruction is not known"
#endif

int main(void)
{
    unsigned char place[64] __attribute__((aligned(16)));
    void (*volatile function)(void) = (void (*)(void))place;
    memcpy(place, code, sizeof code);
    __builtin___clear_cache((char *)place, (char *)place + sizeof place);
    function();
    went_through();
}
