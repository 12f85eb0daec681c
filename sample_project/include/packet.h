/* Media packets: the fixed header of RTP (RFC 3550, section 5.1). */
#ifndef PACKET_H
#define PACKET_H

#include <stddef.h>

enum { PACKET_HEADER_SIZE = 12 };

struct packet {
    int marker; /* set on the last packet of a text */
    unsigned payload_type;
    unsigned sequence; /* 16 bits, wraps */
    unsigned long timestamp;
    const unsigned char *payload; /* points into the parsed data */
    size_t payload_size;
};

extern unsigned packets_rejected;

/* 0, or -1 when the data is no packet. */
int packet_parse(const unsigned char *data, size_t size, struct packet *packet);

/* One line of text into out; returns the length it would need. */
size_t packet_describe(const struct packet *packet, char *out, size_t size);

#endif
