/* H: PROGRAM [TEXT] sends a text to itself in packets and reports what arrived. */
#include "log.h"
#include "packetizer.h"
#include "session.h"

#include <stdio.h>
#include <string.h>

static struct frame_queue queue;
static struct stream stream;

int main(int argc, char **argv)
{
    const char *text = argc > 1 ? argv[1] : "Hello, media!";
    struct packetizer packetizer = {.rest = text};
    struct frame frame;
    char title[64];

    snprintf(title, sizeof title, "sending %zu characters", strlen(text));
    if (strlen(text) > sizeof stream.text - 1)
        strncat(title, ", too many to keep", sizeof title - strlen(title) - 1);
    log_line(LOG_INFO, "%s", title);

    do {
        while (queue.count < FRAME_QUEUE_SIZE && packetizer_next(&packetizer, &frame))
            frame_queue_push(&queue, &frame);
        frame_queue_report(&queue, stdout);
        while (frame_queue_pop(&queue, &frame))
            session_handle(&stream, frame.data, frame.size, stdout);
    } while (*packetizer.rest != '\0');

    session_report(&stream, stdout);
    return 0;
}
