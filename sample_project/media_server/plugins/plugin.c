/* plugin: what GStreamer asks for when it loads libgstnoisegate.so. */
#include "gstnoisegate.h"

#define PACKAGE "media_server" /* GST_PLUGIN_DEFINE wants it */

static gboolean plugin_init(GstPlugin *plugin)
{
    return gst_element_register(plugin, "noisegate", GST_RANK_NONE, GST_TYPE_NOISE_GATE);
}

GST_PLUGIN_DEFINE(GST_VERSION_MAJOR, GST_VERSION_MINOR, noisegate, "Noise gate", plugin_init, "6.7.0", "Apache 2.0",
                  "media_server", "https://example.org/media_server")
