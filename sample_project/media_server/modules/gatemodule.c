/* gatemodule: makes pipelines with a noise gate. Only ever loaded with dlopen, so it must be PIC. */
#include "media/module.h"
#include "media/pcm.h"

#include <stdio.h>
#include <string.h>

enum { RATE = 8000, BUFFER_SIZE = RATE / 50 * PCM_SAMPLE_SIZE }; /* 20 ms */

/* A file name as a string of a pipeline; -1 when it does not fit. */
static int quote(const char *text, char *out, size_t size)
{
    size_t length = 0;

    for (; *text != '\0'; text++) {
        if (length + 3 > size)
            return -1;
        if (*text == '"' || *text == '\\')
            out[length++] = '\\';
        out[length++] = *text;
    }
    out[length] = '\0';
    return 0;
}

static int gate_pipeline(const struct media_request *request, char *out, size_t size)
{
    char input[512];
    char output[512];
    int length;

    if (quote(request->input, input, sizeof input) != 0 || quote(request->output, output, sizeof output) != 0)
        return -1;
    length = snprintf(out, size,
                      "filesrc location=\"%s\" blocksize=%d ! audio/x-raw,format=S16LE,rate=%d,channels=1,"
                      "layout=interleaved ! noisegate threshold=%u ! filesink location=\"%s\"",
                      input, BUFFER_SIZE, RATE, request->threshold, output);
    return length >= 0 && (size_t)length < size ? 0 : -1;
}

static const struct media_factory gate_factory = {"gate", "noisegate", gate_pipeline};

/* modules/module.map gives it its version, and exports nothing else. */
media_module_factory_function media_module_factory;

const struct media_factory *media_module_factory(void)
{
    return &gate_factory;
}
