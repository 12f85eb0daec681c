/* C: the receiving end of a stream. An object of libSHARED.so, so it must be PIC. */
#include "stream.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

unsigned streams_damaged;

static void append_text(struct stream *stream, const struct packet *packet)
{
    size_t length = strlen(stream->text);

    for (size_t i = 0; i < packet->payload_size && length < sizeof stream->text - 1; i++)
        stream->text[length++] = isprint(packet->payload[i]) ? (char)packet->payload[i] : '.';
    stream->text[length] = '\0';
}

int stream_receive(struct stream *stream, const unsigned char *data, size_t size, struct packet *packet)
{
    if (packet_parse(data, size, packet) != 0)
        return -1;
    if (stream->received > 0 && packet->sequence != stream->expected) {
        if (stream->lost == 0)
            streams_damaged++;
        stream->lost += (packet->sequence - stream->expected) & 0xffff;
    }
    stream->expected = (packet->sequence + 1) & 0xffff;
    stream->received++;
    append_text(stream, packet);
    return 0;
}

size_t stream_describe(const struct stream *stream, char *out, size_t size)
{
    char excerpt[40];

    /* A byte of the array stays free for the mark of a text that was cut. */
    snprintf(excerpt, sizeof excerpt - 1, "%u/%u \"%.16s\"", stream->received, stream->received + stream->lost,
             stream->text);
    if (strlen(stream->text) > 16)
        strcat(excerpt, "+");
    return (size_t)snprintf(out, size, "%s, %u damaged", excerpt, streams_damaged);
}
