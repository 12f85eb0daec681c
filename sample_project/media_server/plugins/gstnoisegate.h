/* noisegate: the noise gate as an element of GStreamer. */
#ifndef GST_NOISE_GATE_H
#define GST_NOISE_GATE_H

#include <gst/base/gstbasetransform.h>

#define GST_TYPE_NOISE_GATE (gst_noise_gate_get_type())
G_DECLARE_FINAL_TYPE(GstNoiseGate, gst_noise_gate, GST, NOISE_GATE, GstBaseTransform)

#endif
