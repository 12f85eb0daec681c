/* gstnoisegate: the element. The plug-in is only ever loaded with dlopen, so it must be PIC.
 *
 * gst-launch-1.0 filesrc location=speech.raw ! audio/x-raw,format=S16LE,rate=8000,channels=1,layout=interleaved ! \
 *     noisegate threshold=1000 ! filesink location=gated.raw
 */
#include "gstnoisegate.h"

#include "media/gate.h"
#include "media/pcm.h"

#include <stdio.h>
#include <string.h>

GST_DEBUG_CATEGORY_STATIC(noise_gate_debug);
#define GST_CAT_DEFAULT noise_gate_debug

struct _GstNoiseGate {
    GstBaseTransform parent;
    struct media_gate gate;
    unsigned rate; /* Hz */
};

enum { PROPERTY_THRESHOLD = 1 };

#define FORMAT "audio/x-raw, format=S16LE, layout=interleaved, rate=[1, max], channels=1"

static GstStaticPadTemplate sink_template =
    GST_STATIC_PAD_TEMPLATE("sink", GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS(FORMAT));
static GstStaticPadTemplate source_template =
    GST_STATIC_PAD_TEMPLATE("src", GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS(FORMAT));

G_DEFINE_TYPE(GstNoiseGate, gst_noise_gate, GST_TYPE_BASE_TRANSFORM)

static gboolean start(GstBaseTransform *base)
{
    GstNoiseGate *self = GST_NOISE_GATE(base);
    unsigned threshold = self->gate.threshold;

    memset(&self->gate, 0, sizeof self->gate);
    self->gate.threshold = threshold;
    return TRUE;
}

static gboolean set_caps(GstBaseTransform *base, GstCaps *input, GstCaps *output)
{
    int rate = 0;

    (void)output;
    if (!gst_structure_get_int(gst_caps_get_structure(input, 0), "rate", &rate))
        return FALSE;
    GST_NOISE_GATE(base)->rate = (unsigned)rate;
    return TRUE;
}

static GstFlowReturn transform_in_place(GstBaseTransform *base, GstBuffer *buffer)
{
    GstNoiseGate *self = GST_NOISE_GATE(base);
    GstMapInfo map;
    char line[96];

    if (!gst_buffer_map(buffer, &map, GST_MAP_READWRITE))
        return GST_FLOW_ERROR;
    pcm_describe(map.size, self->rate, line, sizeof line);
    if (media_gate_process(&self->gate, map.data, map.size)) {
        GST_BUFFER_FLAG_SET(buffer, GST_BUFFER_FLAG_GAP);
        strncat(line, ": muted", sizeof line - strlen(line) - 1);
    }
    GST_LOG_OBJECT(self, "%s", line);
    gst_buffer_unmap(buffer, &map);
    return GST_FLOW_OK;
}

/* At the end of the stream the application is told what was done. */
static gboolean sink_event(GstBaseTransform *base, GstEvent *event)
{
    GstNoiseGate *self = GST_NOISE_GATE(base);
    char report[192];
    char summary[128];

    if (GST_EVENT_TYPE(event) == GST_EVENT_EOS) {
        media_gate_describe(&self->gate, summary, sizeof summary);
        snprintf(report, sizeof report, "%.32s: %s", GST_OBJECT_NAME(self), summary);
        gst_element_post_message(GST_ELEMENT(self),
                                 gst_message_new_element(GST_OBJECT(self),
                                                         gst_structure_new("noisegate", "report", G_TYPE_STRING, report,
                                                                           "muted", G_TYPE_UINT, self->gate.muted,
                                                                           NULL)));
    }
    return GST_BASE_TRANSFORM_CLASS(gst_noise_gate_parent_class)->sink_event(base, event);
}

static void set_property(GObject *object, guint id, const GValue *value, GParamSpec *parameter)
{
    if (id == PROPERTY_THRESHOLD)
        GST_NOISE_GATE(object)->gate.threshold = g_value_get_uint(value);
    else
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, parameter);
}

static void get_property(GObject *object, guint id, GValue *value, GParamSpec *parameter)
{
    if (id == PROPERTY_THRESHOLD)
        g_value_set_uint(value, GST_NOISE_GATE(object)->gate.threshold);
    else
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, parameter);
}

static void gst_noise_gate_class_init(GstNoiseGateClass *class)
{
    GObjectClass *object = G_OBJECT_CLASS(class);
    GstElementClass *element = GST_ELEMENT_CLASS(class);
    GstBaseTransformClass *transform = GST_BASE_TRANSFORM_CLASS(class);

    GST_DEBUG_CATEGORY_INIT(noise_gate_debug, "noisegate", 0, "noise gate");
    object->set_property = set_property;
    object->get_property = get_property;
    g_object_class_install_property(object, PROPERTY_THRESHOLD,
                                    g_param_spec_uint("threshold", "Threshold", "Buffers quieter than this are muted",
                                                      0, LEVEL_MAX, 0, G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS));
    gst_element_class_set_static_metadata(element, "Noise gate", "Filter/Effect/Audio",
                                          "Mutes what is quieter than a threshold", "The sample project");
    gst_element_class_add_static_pad_template(element, &sink_template);
    gst_element_class_add_static_pad_template(element, &source_template);
    transform->start = start;
    transform->set_caps = set_caps;
    transform->transform_ip = transform_in_place;
    transform->sink_event = sink_event;
}

static void gst_noise_gate_init(GstNoiseGate *self)
{
    gst_base_transform_set_in_place(GST_BASE_TRANSFORM(self), TRUE);
}
