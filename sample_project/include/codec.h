/* What a payload type stands for. */
#ifndef CODEC_H
#define CODEC_H

#include <stddef.h>

struct codec {
    unsigned payload_type;
    const char *name;
    unsigned clock_rate; /* Hz */
};

extern unsigned codec_lookups;

/* NULL when the payload type is unknown. */
const struct codec *codec_find(unsigned payload_type);

/* "name/clock rate" into out; returns the length it would need. */
size_t codec_describe(unsigned payload_type, char *out, size_t size);

#endif
