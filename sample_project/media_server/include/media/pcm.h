/* Samples of 16 bits, little endian, one channel: what GStreamer calls S16LE. */
#ifndef MEDIA_PCM_H
#define MEDIA_PCM_H

#include <stddef.h>
#include <stdint.h>

enum { PCM_SAMPLE_SIZE = 2 };

/* Reads at most `room` samples; returns how many. A byte that is left over is no sample. */
size_t pcm_read(const unsigned char *data, size_t size, int16_t *samples, size_t room);

/* Text such as "20 ms of S16LE at 8000 Hz" into out; returns the length it would need. */
size_t pcm_describe(size_t size, unsigned rate, char *out, size_t out_size);

#endif
