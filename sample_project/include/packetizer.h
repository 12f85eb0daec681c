/* Cuts a text into packets. */
#ifndef PACKETIZER_H
#define PACKETIZER_H

#include "frame_queue.h"

struct packetizer {
    const char *rest; /* what is still to send */
    unsigned sequence;
};

extern unsigned packetizer_chunk;

/* 1 with *frame filled, or 0 when the text has been sent. */
int packetizer_next(struct packetizer *packetizer, struct frame *frame);

#endif
