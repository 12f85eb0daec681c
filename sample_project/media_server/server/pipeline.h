/* Runs pipelines of GStreamer. */
#ifndef PIPELINE_H
#define PIPELINE_H

#include <stdio.h>

/* Runs a pipeline to its end and writes what its elements report; 0, or -1 with the error written to stderr. */
int pipeline_run(const char *description, FILE *out);

#endif
