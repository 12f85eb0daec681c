/* plugin: counts words. plugin.so is only ever loaded with dlopen, so it must be PIC and has no SONAME. */
#include "plugin.h"

#include <stdio.h>
#include <string.h>

enum { CALLS_EXPECTED = 1000 };

static unsigned calls;

static size_t count_words(const char *input, char *out, size_t size)
{
    static const char separators[] = " \t\n";
    char longest[32] = "";
    size_t words = 0;

    if (++calls > CALLS_EXPECTED)
        fprintf(stderr, "word-counter: call %u of %d expected\n", calls, CALLS_EXPECTED);
    for (input += strspn(input, separators); *input != '\0'; input += strspn(input, separators)) {
        size_t length = strcspn(input, separators);

        if (length > strlen(longest))
            snprintf(longest, sizeof longest, "%.*s", (int)(length < sizeof longest ? length : sizeof longest - 1),
                     input);
        input += length;
        words++;
    }
    return (size_t)snprintf(out, size, "call %u: %zu words, the longest is \"%s\"", calls, words, longest);
}

static const struct plugin word_counter = {PLUGIN_ABI, "word-counter", count_words};

const struct plugin *plugin_entry(void)
{
    return &word_counter;
}
