/* Writes beyond an array on the stack, over what lies above it: the canary and the address to return to. */
#include "offence.h"

/* How many words above the array. The other ABIs keep there what went_through() needs: on s390x the stack pointer (120
 * bytes above the frame), on POWER the address of the program's data is not set by returning to a function. */
#if defined __powerpc64__
enum { BEYOND = 2 };
#elif defined __s390x__
enum { BEYOND = 4 };
#else
enum { BEYOND = 60 };
#endif

static void APART overwrite(void **words, int count)
{
    for (int word = 0; word < count; word++)
        words[word] = (void *)went_through;
    USED(words);
}

static void APART smash(int count)
{
    void *words[4];
    overwrite(words, count);
    USED(words);
}

static void APART caller(int count)
{
    char line[256];  /* what is overwritten where the address to return to lies below the array */
    USED(line);
    smash(count);
    USED(line);
}

int main(void)
{
    caller(4 + BEYOND * unknown_to_compiler);
    went_through();  /* nobody noticed */
}
