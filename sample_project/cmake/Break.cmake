# The switch -DBREAK=name: loses one mitigation on purpose.

include(CheckCCompilerFlag)

# Say which breaks a project knows, before common_build_flags(), which looks at BREAK.
function(declare_breaks)
  set(BREAK "" CACHE STRING "The mitigation to lose, or nothing")
  set_property(CACHE BREAK PROPERTY STRINGS "" ${ARGN})
  if(NOT BREAK STREQUAL "" AND NOT BREAK IN_LIST ARGN)
    list(JOIN ARGN " " names)
    message(FATAL_ERROR "BREAK=${BREAK} is unknown. Valid names: ${names}")
  endif()
endfunction()

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
