/* What a plug-in and its host agree on. */
#ifndef PLUGIN_H
#define PLUGIN_H

#include <stddef.h>

#define PLUGIN_ABI 1u
#define PLUGIN_ENTRY "plugin_entry"

/* Filled in by the plug-in; constant, so that its function pointers end in read-only memory. */
struct plugin {
    unsigned abi;
    const char *name;
    /* Text about the input into out; returns the length it would need, 0 for no result. */
    size_t (*process)(const char *input, char *out, size_t size);
};

/* The one symbol that a plug-in exports. */
typedef const struct plugin *plugin_entry_function(void);
plugin_entry_function plugin_entry;

#endif
