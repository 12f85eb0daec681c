# The switch -DBREAK=name: loses one mitigation on purpose. Breaks that are a flag of the whole build are in
# common_build_flags(); those of one unit or target are here.

include(CheckCCompilerFlag)

set(BREAKS
    pie-link pic-member relro bind-now stack-protector stack-protector-unit fortify fortify-unit
    format-security nx-stack rwx-segments rpath cf-protection parent-scope)
set(BREAK "" CACHE STRING "The mitigation to lose, or nothing")
set_property(CACHE BREAK PROPERTY STRINGS "" ${BREAKS})

if(NOT BREAK STREQUAL "" AND NOT BREAK IN_LIST BREAKS)
  list(JOIN BREAKS " " names)
  message(FATAL_ERROR "BREAK=${BREAK} is unknown. Valid names: ${names}")
endif()

# Flags that make absolute code of a unit, such that a shared library can still be linked from it: on most
# targets the linker refuses the short relocations of ordinary absolute code.
function(absolute_code_flags result)
  set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
  # Some compilers have a large code model for absolute code only.
  set(CMAKE_POSITION_INDEPENDENT_CODE OFF)
  set(CMAKE_REQUIRED_FLAGS -fno-pic)
  set(flags -fno-pic)
  check_c_compiler_flag(-mcmodel=large HAVE_LARGE_CODE_MODEL)
  check_c_compiler_flag(-mword-relocations HAVE_WORD_RELOCATIONS)
  if(HAVE_LARGE_CODE_MODEL)
    list(APPEND flags -mcmodel=large)
  elseif(HAVE_WORD_RELOCATIONS)
    list(APPEND flags -mword-relocations -mlong-calls)
  endif()
  set(${result} ${flags} PARENT_SCOPE)
endfunction()

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
