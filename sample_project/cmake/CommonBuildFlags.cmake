# The flags of every target: warnings, optimisation, hardening.

include(CheckCSourceCompiles)

# Call this before the first target. It sets in the caller's scope:
#   CMAKE_C_FLAGS, CMAKE_EXE_LINKER_FLAGS, CMAKE_SHARED_LINKER_FLAGS, CMAKE_MODULE_LINKER_FLAGS
#   CF_PROTECTION  the branch protection flag, empty where the compiler has none
#
# -fPIC, -fPIE and -pie are not here: POSITION_INDEPENDENT_CODE and check_pie_supported() bring them.
function(common_build_flags)
  set(optimization "-O2")
  set(format "-Wformat -Werror=format-security")
  set(fortify "-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2")
  set(stack_protector "-fstack-protector-strong")
  set(cf_protection "")
  set(relro "-Wl,-z,relro")
  set(bind_now "-Wl,-z,now")
  set(nx_stack "-Wl,-z,noexecstack")
  set(no_pie "")
  set(text_relocations "")

  # x86 only. check_c_compiler_flag() would also say no because of a warning about some other flag of the user,
  # and the mitigation would be lost silently.
  set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY) # do not link: a bare cross compiler may not be able to
  set(CMAKE_REQUIRED_FLAGS -fcf-protection=full)
  check_c_source_compiles("int unit;" HAVE_CF_PROTECTION)
  if(HAVE_CF_PROTECTION)
    set(cf_protection "-fcf-protection=full")
  endif()

  # A distribution's compiler may have any of these on by default: each break turns its mitigation off explicitly.
  if(BREAK STREQUAL "format-security")
    set(format "")
  elseif(BREAK STREQUAL "unoptimised")
    set(optimization "-O0")
  elseif(BREAK STREQUAL "fortify")
    set(fortify "-U_FORTIFY_SOURCE")
  elseif(BREAK STREQUAL "stack-protector")
    set(stack_protector "-fno-stack-protector")
  elseif(BREAK STREQUAL "cf-protection" AND HAVE_CF_PROTECTION)
    set(cf_protection "-fcf-protection=none")
  elseif(BREAK STREQUAL "relro")
    set(relro "-Wl,-z,norelro")
  elseif(BREAK STREQUAL "bind-now")
    set(bind_now "-Wl,-z,lazy")
  elseif(BREAK STREQUAL "nx-stack")
    set(nx_stack "")
  elseif(BREAK STREQUAL "pie-link")
    set(no_pie "-no-pie")
  elseif(BREAK STREQUAL "pic-member")
    set(text_relocations "-Wl,-z,notext")
  endif()

  set(CMAKE_C_FLAGS
      "${CMAKE_C_FLAGS} ${optimization} -g -Wall -Wextra ${format} ${fortify} ${stack_protector} ${cf_protection}"
      PARENT_SCOPE)
  set(CF_PROTECTION "${cf_protection}" PARENT_SCOPE)

  set(CMAKE_SHARED_LINKER_FLAGS
      "${CMAKE_SHARED_LINKER_FLAGS} ${relro} ${bind_now} ${nx_stack} ${text_relocations}" PARENT_SCOPE)
  set(CMAKE_MODULE_LINKER_FLAGS "${CMAKE_MODULE_LINKER_FLAGS} ${relro} ${bind_now} ${nx_stack}" PARENT_SCOPE)

  if(BREAK STREQUAL "parent-scope")
    # The bug: PARENT_SCOPE sets the caller's variable and leaves this function's copy as it was, so the second
    # line starts again from the old value and the first line's flags are lost, without a message.
    set(CMAKE_EXE_LINKER_FLAGS "${CMAKE_EXE_LINKER_FLAGS} ${relro} ${bind_now}" PARENT_SCOPE)
    set(CMAKE_EXE_LINKER_FLAGS "${CMAKE_EXE_LINKER_FLAGS} ${nx_stack}" PARENT_SCOPE)
  else()
    set(CMAKE_EXE_LINKER_FLAGS "${CMAKE_EXE_LINKER_FLAGS} ${relro} ${bind_now} ${nx_stack} ${no_pie}" PARENT_SCOPE)
  endif()
endfunction()
