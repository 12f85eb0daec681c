/* The receiving end of one stream: counts packets, collects their text. */
#ifndef STREAM_H
#define STREAM_H

#include "packet.h"

struct stream {
    unsigned received;
    unsigned lost;
    unsigned expected; /* the next sequence number */
    char text[128];    /* printable characters only, cut where it is full */
};

extern unsigned streams_damaged;

/* 0 with *packet filled, or -1 when the data is no packet. */
int stream_receive(struct stream *stream, const unsigned char *data, size_t size, struct packet *packet);

/* "received/sent" and the text's beginning into out; returns the length it would need. */
size_t stream_describe(const struct stream *stream, char *out, size_t size);

#endif
