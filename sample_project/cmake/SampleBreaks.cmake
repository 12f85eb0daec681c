# The switch -DBREAK=name of the sample project. Breaks that are a flag of the whole build are in
# common_build_flags(); those of one unit or target are here.

include(Break)
declare_breaks(
  pie-link pic-member relro bind-now stack-protector stack-protector-unit fortify fortify-unit format-security
  nx-stack rwx-segments rpath cf-protection parent-scope)

# Call this after the last target.
macro(apply_break)
  if(BREAK STREQUAL "pic-member")
    absolute_code_flags(absolute_code)
    set_property(SOURCE src/B.c APPEND PROPERTY COMPILE_OPTIONS ${absolute_code})
  elseif(BREAK STREQUAL "stack-protector-unit")
    set_property(SOURCE src/F.c APPEND PROPERTY COMPILE_OPTIONS -fno-stack-protector)
  elseif(BREAK STREQUAL "fortify-unit")
    set_property(SOURCE src/F.c APPEND PROPERTY COMPILE_OPTIONS -U_FORTIFY_SOURCE)
  elseif(BREAK STREQUAL "rpath")
    target_link_options(SHARED PRIVATE LINKER:-rpath,/tmp/lib)
    target_link_options(PROGRAM PRIVATE LINKER:-rpath,/tmp/lib)
  elseif(BREAK STREQUAL "nx-stack")
    enable_language(ASM)
    set_property(SOURCE src/break_nx_stack.S APPEND PROPERTY COMPILE_OPTIONS ${CF_PROTECTION})
    target_sources(SHARED PRIVATE src/break_nx_stack.S)
    target_sources(PROGRAM PRIVATE src/break_nx_stack.S)
  elseif(BREAK STREQUAL "rwx-segments")
    target_sources(SHARED PRIVATE src/break_rwx_segments.c)
    target_sources(PROGRAM PRIVATE src/break_rwx_segments.c)
  endif()
endmacro()
