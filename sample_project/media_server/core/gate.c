/* gate: the noise gate. An object of libmediacore.so, so it must be PIC. */
#include "media/gate.h"
#include "media/pcm.h"

#include <stdio.h>
#include <string.h>

int media_gate_process(struct media_gate *gate, unsigned char *data, size_t size)
{
    struct level level = {0};
    int16_t block[256];
    size_t count;

    for (size_t done = 0; done < size; done += count * PCM_SAMPLE_SIZE) {
        count = pcm_read(data + done, size - done, block, sizeof block / sizeof *block);
        if (count == 0)
            break;
        level_add(&level, block, count);
    }
    gate->buffers++;
    if (level.peak > gate->loudest.peak)
        gate->loudest = level;
    if (level.peak >= gate->threshold)
        return 0;
    memset(data, 0, size);
    gate->muted++;
    return 1;
}

size_t media_gate_describe(const struct media_gate *gate, char *out, size_t size)
{
    char bar[64];

    level_describe(&gate->loudest, bar, sizeof bar);
    return (size_t)snprintf(out, size, "%u of %u buffers muted, loudest %s", gate->muted, gate->buffers, bar);
}
