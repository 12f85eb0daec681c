/* main: mediaserver PLUGIN MODULE INPUT OUTPUT [THRESHOLD] loads both and filters a file. PIE is enough. */
#include "media/module.h"
#include "pipeline.h"

#include <gst/gst.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int load_plugin(const char *path, const char *element)
{
    GError *error = NULL;
    GstPlugin *plugin = gst_plugin_load_file(path, &error);
    char title[96];

    if (plugin == NULL) {
        fprintf(stderr, "mediaserver: %s\n", error->message);
        g_clear_error(&error);
        return -1;
    }
    snprintf(title, sizeof title, "%.32s %.32s", gst_plugin_get_name(plugin), gst_plugin_get_version(plugin));
    printf("plug-in %s has the element %s\n", title, element);
    gst_object_unref(plugin);
    return 0;
}

int main(int argc, char **argv)
{
    struct media_request request = {.threshold = 1000};
    const struct media_factory *factory;
    char description[2048];
    char error[256];

    if (argc < 5) {
        fprintf(stderr, "usage: %s PLUGIN MODULE INPUT OUTPUT [THRESHOLD]\n", argv[0]);
        return 2;
    }
    request.input = argv[3];
    request.output = argv[4];
    if (argc > 5)
        request.threshold = (unsigned)strtoul(argv[5], NULL, 10);
    gst_init(NULL, NULL);
    factory = media_module_load(argv[2], error, sizeof error);
    if (factory == NULL) {
        fprintf(stderr, "mediaserver: %s\n", error);
        return 1;
    }
    printf("module %s wants the element %s\n", factory->name, factory->element);
    if (load_plugin(argv[1], factory->element) != 0)
        return 1;
    if (factory->pipeline(&request, description, sizeof description) != 0) {
        fprintf(stderr, "mediaserver: the file names are too long\n");
        return 1;
    }
    fflush(stdout);
    return pipeline_run(description, stdout) == 0 ? 0 : 1;
}
