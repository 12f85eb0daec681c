# The switch -DBREAK=name of the media server. Breaks that are a flag of the whole build are in common_build_flags(),
# pie-link is in CMakeLists.txt too; those of one unit or target are here.

include(Break)
declare_breaks(
  format-security fortify unoptimised stack-protector-unit relro bind-now parent-scope pie-link pic-member nx-stack
  nodlopen)

# Call this after the last target.
macro(apply_break)
  if(BREAK STREQUAL "stack-protector-unit")
    set_property(SOURCE plugins/gstnoisegate.c APPEND PROPERTY COMPILE_OPTIONS -fno-stack-protector)
  elseif(BREAK STREQUAL "pic-member")
    absolute_code_flags(absolute_code)
    set_property(SOURCE samples/pcm.c APPEND PROPERTY COMPILE_OPTIONS ${absolute_code})
  elseif(BREAK STREQUAL "nx-stack")
    enable_language(ASM)
    set_property(SOURCE plugins/break_nx_stack.S APPEND PROPERTY COMPILE_OPTIONS ${CF_PROTECTION})
    target_sources(gstnoisegate PRIVATE plugins/break_nx_stack.S)
  elseif(BREAK STREQUAL "nodlopen")
    target_link_options(gstnoisegate PRIVATE LINKER:-z,nodlopen)
  endif()
endmacro()
