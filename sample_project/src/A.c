/* A: reads packet headers. Goes through AB.a into libSHARED.so, so it must be PIC. */
#include "packet.h"

#include <stdio.h>
#include <string.h>

enum { VERSION = 2 };

unsigned packets_rejected;

static unsigned read_16(const unsigned char *data)
{
    return (unsigned)data[0] << 8 | data[1];
}

int packet_parse(const unsigned char *data, size_t size, struct packet *packet)
{
    if (size < PACKET_HEADER_SIZE || data[0] >> 6 != VERSION) {
        packets_rejected++;
        return -1;
    }
    packet->marker = data[1] >> 7;
    packet->payload_type = data[1] & 0x7f;
    packet->sequence = read_16(data + 2);
    packet->timestamp = (unsigned long)read_16(data + 4) << 16 | read_16(data + 6);
    packet->payload = data + PACKET_HEADER_SIZE;
    packet->payload_size = size - PACKET_HEADER_SIZE;
    return 0;
}

size_t packet_describe(const struct packet *packet, char *out, size_t size)
{
    char line[96];

    snprintf(line, sizeof line, "seq %u, time %lu, %zu bytes", packet->sequence, packet->timestamp,
             packet->payload_size);
    if (packet->marker)
        strncat(line, ", last", sizeof line - strlen(line) - 1);
    return (size_t)snprintf(out, size, "%s (%u rejected)", line, packets_rejected);
}
