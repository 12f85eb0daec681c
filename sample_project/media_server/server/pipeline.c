/* pipeline: runs pipelines of GStreamer. An object of mediaserver, so PIE is enough. */
#include "pipeline.h"

#include <gst/gst.h>

static int failed(const char *what, GError *error)
{
    char line[256];

    snprintf(line, sizeof line, "%s: %s", what, error == NULL ? "no reason given" : error->message);
    fprintf(stderr, "mediaserver: %s\n", line);
    g_clear_error(&error);
    return -1;
}

/* Waits for the end of the stream. */
static int follow(GstBus *bus, FILE *out)
{
    GstMessageType wanted = GST_MESSAGE_EOS | GST_MESSAGE_ERROR | GST_MESSAGE_ELEMENT;

    for (;;) {
        GstMessage *message = gst_bus_timed_pop_filtered(bus, GST_CLOCK_TIME_NONE, wanted);
        GstMessageType type = GST_MESSAGE_TYPE(message);
        GError *error = NULL;
        const char *report;

        if (type == GST_MESSAGE_ERROR)
            gst_message_parse_error(message, &error, NULL);
        else if (type == GST_MESSAGE_ELEMENT &&
                 (report = gst_structure_get_string(gst_message_get_structure(message), "report")) != NULL)
            fprintf(out, "%s\n", report);
        gst_message_unref(message);
        if (type == GST_MESSAGE_ERROR)
            return failed("the stream ended", error);
        if (type == GST_MESSAGE_EOS)
            return 0;
    }
}

int pipeline_run(const char *description, FILE *out)
{
    GError *error = NULL;
    GstElement *pipeline = gst_parse_launch(description, &error);
    GstBus *bus;
    int result;

    if (pipeline == NULL || error != NULL) {
        gst_clear_object(&pipeline);
        return failed("no pipeline", error);
    }
    bus = gst_element_get_bus(pipeline);
    gst_element_set_state(pipeline, GST_STATE_PLAYING);
    result = follow(bus, out);
    gst_element_set_state(pipeline, GST_STATE_NULL);
    gst_object_unref(bus);
    gst_object_unref(pipeline);
    return result;
}
