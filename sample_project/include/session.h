/* Feeds packets to a stream and writes about it: what users of libSHARED.so call. */
#ifndef SESSION_H
#define SESSION_H

#include "stream.h"

#include <stdio.h>

extern unsigned session_events;

/* Handles one packet and writes a line about it; -1 when the data is no packet. */
int session_handle(struct stream *stream, const unsigned char *data, size_t size, FILE *out);

/* Writes the summary of the stream. */
void session_report(const struct stream *stream, FILE *out);

#endif
