/* What a server module and the server agree on.
 *
 * A module is loaded with dlopen and has one symbol, MEDIA_MODULE_FACTORY of version MEDIA_MODULE_VERSION. A server of
 * another version does not find it, and so never calls a module that was built for other structures.
 */
#ifndef MEDIA_MODULE_H
#define MEDIA_MODULE_H

#include <stddef.h>

#define MEDIA_MODULE_FACTORY "media_module_factory"
#define MEDIA_MODULE_VERSION "MEDIA_6.7"

struct media_request {
    const char *input;  /* file names */
    const char *output;
    unsigned threshold;
};

/* Filled in by the module; constant, so that its function pointers end in read-only memory. */
struct media_factory {
    const char *name;
    const char *element; /* the GStreamer element that its pipelines need */
    /* The pipeline for a request, in the notation of gst-launch-1.0; 0, or -1 when it does not fit. */
    int (*pipeline)(const struct media_request *request, char *out, size_t size);
};

typedef const struct media_factory *media_module_factory_function(void);

/* Loads a module and asks for its factory; NULL, and a text in `error`, when it cannot be had. */
const struct media_factory *media_module_load(const char *path, char *error, size_t size);

#endif
