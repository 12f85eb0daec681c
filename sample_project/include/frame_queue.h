/* A bounded queue of packets on their way out. */
#ifndef FRAME_QUEUE_H
#define FRAME_QUEUE_H

#include <stddef.h>
#include <stdio.h>

enum { FRAME_SIZE = 64, FRAME_QUEUE_SIZE = 4 };

struct frame {
    unsigned char data[FRAME_SIZE];
    size_t size;
};

struct frame_queue {
    struct frame frames[FRAME_QUEUE_SIZE];
    unsigned first;
    unsigned count;
};

extern unsigned frame_queue_peak;

/* 0, or -1 when the queue is full. */
int frame_queue_push(struct frame_queue *queue, const struct frame *frame);

/* 1 with *frame filled, or 0 when the queue is empty. */
int frame_queue_pop(struct frame_queue *queue, struct frame *frame);

/* A line such as "queue [##..] 2 of 4, peak 3". */
void frame_queue_report(const struct frame_queue *queue, FILE *out);

#endif
