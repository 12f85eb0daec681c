/* Lets a format that lies in writable memory write into memory. */
#include "offence.h"

static char format[16];

int main(void)
{
    int count = 0;
    strcpy(format, "%d%n\n");
    format[5 * unknown_to_compiler] = '\0';
    printf(format, unknown_to_compiler, &count);
    if (count == 1)
        went_through();
    return 1;
}
