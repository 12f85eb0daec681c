/* E: cuts a text into packets. Goes through EF.a into PROGRAM, so PIE is enough. */
#include "packetizer.h"

#include "packet.h"

#include <stdio.h>
#include <string.h>

enum { T140 = 98, TICKS_PER_PACKET = 300 };

unsigned packetizer_chunk = 8; /* characters of text in a packet */

static void write_header(unsigned char *data, unsigned sequence, int last)
{
    unsigned long timestamp = (unsigned long)sequence * TICKS_PER_PACKET;
    const unsigned char header[PACKET_HEADER_SIZE] = {
        2u << 6,
        (unsigned char)(T140 | (last ? 0x80 : 0)),
        (unsigned char)(sequence >> 8),
        (unsigned char)sequence,
        (unsigned char)(timestamp >> 24),
        (unsigned char)(timestamp >> 16),
        (unsigned char)(timestamp >> 8),
        (unsigned char)timestamp,
        0, 0, 0, 1, /* the source's identifier: there is one source */
    };
    memcpy(data, header, sizeof header);
}

int packetizer_next(struct packetizer *packetizer, struct frame *frame)
{
    char chunk[FRAME_SIZE - PACKET_HEADER_SIZE];
    size_t length;

    if (*packetizer->rest == '\0')
        return 0;
    snprintf(chunk, sizeof chunk, "%.*s", (int)packetizer_chunk, packetizer->rest);
    length = strlen(chunk);
    packetizer->rest += length;
    write_header(frame->data, packetizer->sequence++, strcmp(packetizer->rest, "") == 0);
    memcpy(frame->data + PACKET_HEADER_SIZE, chunk, length);
    frame->size = PACKET_HEADER_SIZE + length;
    return 1;
}
