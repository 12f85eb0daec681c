/* A noise gate: what is quieter than the threshold becomes silence. */
#ifndef MEDIA_GATE_H
#define MEDIA_GATE_H

#include "level.h"

struct media_gate {
    unsigned threshold; /* 0 to LEVEL_MAX; 0 lets everything through */
    unsigned buffers;
    unsigned muted;
    struct level loudest;
};

/* Mutes the samples in `data` if they are quieter than the threshold; 1 when it did, else 0. */
int media_gate_process(struct media_gate *gate, unsigned char *data, size_t size);

/* Text such as "3 of 8 buffers muted, loudest [####----------------] 20 %"; returns the length it would need. */
size_t media_gate_describe(const struct media_gate *gate, char *out, size_t size);

#endif
