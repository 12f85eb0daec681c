/* Reads a local variable that was never set, where another function left its secrets. */
#include "offence.h"

static void APART look(const volatile unsigned char *bytes, int count)
{
    int left = 0;
    for (int n = 0; n < count; n++)
        left += bytes[n] == 0xa5;
    if (left)
        went_through();
    held();
}

static void APART secret(void)
{
    volatile unsigned char bytes[4096];
    for (int n = 0; n < (int)sizeof bytes; n++)
        bytes[n] = 0xa5;
}

static void APART leak(void)
{
    unsigned char bytes[512];
    look(bytes, sizeof bytes);
}

int main(void)
{
    secret();
    leak();
}
