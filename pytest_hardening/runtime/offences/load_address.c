/* Prints where its code lies. */
#include "offence.h"

int main(void)
{
    printf("%p\n", (void *)main);
}
