/* A format that is no constant text: whoever writes it, commands printf. */
#include <stdio.h>

int main(int count, char **words)
{
    printf(words[count - 1]);
    return 0;
}
