/* pcm: reads samples. Goes through libsamples.a into libmediacore.so, so it must be PIC. */
#include "media/pcm.h"

#include <stdio.h>
#include <string.h>

static const struct {
    unsigned rate;
    const char *name;
} usual_rates[] = {{8000, "narrowband"}, {16000, "wideband"}, {48000, "fullband"}};

size_t pcm_read(const unsigned char *data, size_t size, int16_t *samples, size_t room)
{
    size_t count = size / PCM_SAMPLE_SIZE < room ? size / PCM_SAMPLE_SIZE : room;

    for (size_t i = 0; i < count; i++)
        samples[i] = (int16_t)(data[2 * i] | (unsigned)data[2 * i + 1] << 8);
    if (count < room && size % PCM_SAMPLE_SIZE != 0)
        fprintf(stderr, "pcm: the last of %zu bytes is no sample\n", size);
    return count;
}

size_t pcm_describe(size_t size, unsigned rate, char *out, size_t out_size)
{
    char band[32] = "";
    size_t milliseconds = rate == 0 ? 0 : size / PCM_SAMPLE_SIZE * 1000 / rate;

    for (size_t i = 0; i < sizeof usual_rates / sizeof *usual_rates; i++)
        if (usual_rates[i].rate == rate)
            snprintf(band, sizeof band, " (%s)", usual_rates[i].name);
    return (size_t)snprintf(out, out_size, "%zu ms of S16LE at %u Hz%s", milliseconds, rate, band);
}
