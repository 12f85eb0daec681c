/* D: what users of the library call. An object of libSHARED.so, so it must be PIC. */
#include "session.h"

#include "codec.h"

#include <string.h>

unsigned session_events;

int session_handle(struct stream *stream, const unsigned char *data, size_t size, FILE *out)
{
    char what[32];
    char line[128] = "";
    struct packet packet;

    session_events++;
    if (stream_receive(stream, data, size, &packet) != 0) {
        fprintf(out, "event %u: no packet\n", session_events);
        return -1;
    }
    codec_describe(packet.payload_type, what, sizeof what);
    packet_describe(&packet, line, sizeof line);
    fprintf(out, "event %u: %s, %s\n", session_events, what, line);
    return 0;
}

void session_report(const struct stream *stream, FILE *out)
{
    char rule[48];
    char line[96];
    size_t length = stream_describe(stream, line, sizeof line);

    if (length >= sizeof rule)
        length = sizeof rule - 1;
    memset(rule, '-', length);
    rule[length] = '\0';
    fprintf(out, "%s\n%s\n%u events, text: %s\n", rule, line, session_events, stream->text);
}
