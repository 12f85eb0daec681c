/* F: a queue of packets. Goes through EF.a into PROGRAM, so PIE is enough. */
#include "frame_queue.h"

#include <stdio.h>
#include <string.h>

unsigned frame_queue_peak;

int frame_queue_push(struct frame_queue *queue, const struct frame *frame)
{
    if (queue->count == FRAME_QUEUE_SIZE)
        return -1;
    queue->frames[(queue->first + queue->count) % FRAME_QUEUE_SIZE] = *frame;
    queue->count++;
    if (queue->count > frame_queue_peak)
        frame_queue_peak = queue->count;
    return 0;
}

int frame_queue_pop(struct frame_queue *queue, struct frame *frame)
{
    if (queue->count == 0)
        return 0;
    *frame = queue->frames[queue->first];
    queue->first = (queue->first + 1) % FRAME_QUEUE_SIZE;
    queue->count--;
    return 1;
}

void frame_queue_report(const struct frame_queue *queue, FILE *out)
{
    char bar[32] = "";

    for (unsigned i = 0; i < FRAME_QUEUE_SIZE; i++)
        strcat(bar, i < queue->count ? "#" : ".");
    fprintf(out, "queue [%s] %u of %d, peak %u\n", bar, queue->count, FRAME_QUEUE_SIZE, frame_queue_peak);
}
