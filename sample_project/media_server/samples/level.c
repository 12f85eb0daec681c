/* level: how loud samples are. Goes through libsamples.a into libmediacore.so, so it must be PIC. */
#include "media/level.h"

#include <stdio.h>
#include <string.h>

enum { BAR = 20 };

void level_add(struct level *level, const int16_t *samples, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        unsigned loudness = (unsigned)(samples[i] < 0 ? -(int)samples[i] : samples[i]);

        if (loudness > level->peak)
            level->peak = loudness;
    }
}

size_t level_describe(const struct level *level, char *out, size_t size)
{
    char bar[BAR + 1];
    size_t filled = (size_t)level->peak * BAR / LEVEL_MAX;

    memset(bar, '-', sizeof bar - 1);
    memset(bar, '#', filled);
    bar[BAR] = '\0';
    return (size_t)snprintf(out, size, "[%s] %u %%", bar, level->peak * 100 / LEVEL_MAX);
}
