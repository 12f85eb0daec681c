/* host: HOST PLUGIN [TEXT] loads a plug-in, gives it the text and prints its answer. An executable: PIE is enough. */
#include "plugin.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static const struct plugin *registered;

static const char *register_plugin(const char *path)
{
    plugin_entry_function *entry;
    void *symbol;
    /* Everything is bound at once: a plug-in that lacks a symbol fails here, not in the middle of a stream. */
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);

    if (module == NULL || (symbol = dlsym(module, PLUGIN_ENTRY)) == NULL)
        return dlerror();
    /* C knows no cast from an object pointer to a function pointer; POSIX says their bytes are the same. */
    memcpy(&entry, &symbol, sizeof entry);
    registered = entry();
    return registered->abi == PLUGIN_ABI ? NULL : "the plug-in was built for another host";
}

int main(int argc, char **argv)
{
    const char *text = argc > 2 ? argv[2] : "the quick brown fox";
    const char *error;
    char answer[128];
    char title[48];

    if (argc < 2) {
        fprintf(stderr, "usage: %s PLUGIN [TEXT]\n", argv[0]);
        return 2;
    }
    error = register_plugin(argv[1]);
    if (error != NULL) {
        fprintf(stderr, "%s: %s\n", argv[0], error);
        return 1;
    }
    snprintf(title, sizeof title, "%.32s (ABI %u)", registered->name, registered->abi);
    if (registered->process(text, answer, sizeof answer) == 0)
        strcpy(answer, "no answer");
    printf("%s: %s\n", title, answer);
    return 0;
}
