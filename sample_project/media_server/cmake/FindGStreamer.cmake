# The target GStreamer::Base: GStreamer's core and base library, with GLib.
#
# Not through pkg_check_modules(): it asks for what only static linking needs as well, and fails where the package of
# another libunwind (LLVM's) has taken the place of the one that GStreamer names.

include(FindPackageHandleStandardArgs)
find_package(PkgConfig REQUIRED)
pkg_check_modules(GOBJECT REQUIRED IMPORTED_TARGET gobject-2.0 glib-2.0)

find_path(GStreamer_INCLUDE_DIR gst/base/gstbasetransform.h PATH_SUFFIXES gstreamer-1.0)
find_library(GStreamer_LIBRARY gstreamer-1.0)
find_library(GStreamer_BASE_LIBRARY gstbase-1.0)
find_package_handle_standard_args(
  GStreamer REQUIRED_VARS GStreamer_LIBRARY GStreamer_BASE_LIBRARY GStreamer_INCLUDE_DIR)

if(GStreamer_FOUND AND NOT TARGET GStreamer::Base)
  add_library(GStreamer::Base INTERFACE IMPORTED)
  target_include_directories(GStreamer::Base SYSTEM INTERFACE ${GStreamer_INCLUDE_DIR})
  target_link_libraries(
    GStreamer::Base INTERFACE ${GStreamer_BASE_LIBRARY} ${GStreamer_LIBRARY} PkgConfig::GOBJECT)
endif()
