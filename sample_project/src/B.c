/* B: names codecs. Goes through AB.a into libSHARED.so, so it must be PIC. */
#include "codec.h"

#include <stdio.h>
#include <string.h>

static const struct codec codecs[] = {
    {0, "PCMU", 8000},
    {8, "PCMA", 8000},
    {98, "t140", 1000}, /* text, RFC 4103 */
};

unsigned codec_lookups;

const struct codec *codec_find(unsigned payload_type)
{
    codec_lookups++;
    for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++)
        if (codecs[i].payload_type == payload_type)
            return &codecs[i];
    return NULL;
}

size_t codec_describe(unsigned payload_type, char *out, size_t size)
{
    char name[32] = "unknown";
    unsigned clock_rate = 0;
    const struct codec *codec = codec_find(payload_type);

    if (codec != NULL) {
        strncpy(name, codec->name, sizeof name - 1);
        clock_rate = codec->clock_rate;
    }
    return (size_t)snprintf(out, size, "%s/%u", name, clock_rate);
}
