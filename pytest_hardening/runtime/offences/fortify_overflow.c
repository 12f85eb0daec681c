/* Copies a text of 24 characters into an array of 16. */
#include "offence.h"

static struct {
    char text[16];
} copy;
static char long_text[64];

int main(void)
{
    memset(long_text, 'x', 8 + 16 * unknown_to_compiler);
    strcpy(copy.text, long_text);
    if (copy.text[unknown_to_compiler] != 'x')
        return 1;
    went_through();
}
