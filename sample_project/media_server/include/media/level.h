/* How loud samples are. */
#ifndef MEDIA_LEVEL_H
#define MEDIA_LEVEL_H

#include <stddef.h>
#include <stdint.h>

enum { LEVEL_MAX = 32768 };

struct level {
    unsigned peak; /* 0 to LEVEL_MAX */
};

/* Raises the level to the loudest of the samples. */
void level_add(struct level *level, const int16_t *samples, size_t count);

/* Text such as "[#####---------------] 25 %" into out; returns the length it would need. */
size_t level_describe(const struct level *level, char *out, size_t size);

#endif
