/* modules: loads server modules. An object of libmediacore.so, so it must be PIC. */
#define _GNU_SOURCE /* dlvsym */
#include "media/module.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

/* "gate" of "modules/libgatemodule.so" */
static void name_of(const char *path, char *name, size_t size)
{
    const char *base = strrchr(path, '/');
    char *end;

    base = base == NULL ? path : base + 1;
    if (strncmp(base, "lib", 3) == 0)
        base += 3;
    snprintf(name, size, "%.*s", (int)(size - 1), base);
    if ((end = strstr(name, "module.so")) != NULL)
        *end = '\0';
}

const struct media_factory *media_module_load(const char *path, char *error, size_t size)
{
    media_module_factory_function *factory;
    const struct media_factory *made;
    char name[32];
    void *symbol;
    /* Everything is bound at once: a module that lacks a symbol fails here, not in the middle of a stream. */
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);

    name_of(path, name, sizeof name);
    if (module == NULL || (symbol = dlvsym(module, MEDIA_MODULE_FACTORY, MEDIA_MODULE_VERSION)) == NULL) {
        snprintf(error, size, "module %s: %s", name, dlerror());
        return NULL;
    }
    /* C knows no cast from an object pointer to a function pointer; POSIX says their bytes are the same. */
    memcpy(&factory, &symbol, sizeof factory);
    made = factory();
    if (strcmp(made->name, name) != 0) {
        snprintf(error, size, "module %s: its factory is one of %s", name, made->name);
        return NULL;
    }
    return made;
}
