# find_package(PytestHardening REQUIRED) for CMake 3.14 and later; its folder is what
# `python -m pytest_hardening --cmake-dir` prints: pass it as PytestHardening_DIR.
#
#   pytest_hardening_add_test([NAME name] [TARGETS target...] [PROFILE name|file] [CHECKS check...] [ARGS argument...])
#
# adds a CTest test that judges what the targets of this build have made; all of them without TARGETS. ARGS are further
# arguments of pytest. Relative profile files start in the current source folder. Nothing is built by the test.
#
# PYTEST_HARDENING_PYTHON names the Python interpreter that has pytest-hardening, else find_package(Python3) finds one.

if(NOT PYTEST_HARDENING_PYTHON)
  find_package(Python3 QUIET COMPONENTS Interpreter)
  set(PYTEST_HARDENING_PYTHON "${Python3_EXECUTABLE}")
endif()

set(_pytest_hardening_dir "")
if(PYTEST_HARDENING_PYTHON)
  execute_process(
    COMMAND "${PYTEST_HARDENING_PYTHON}" -m pytest_hardening --cmake-dir
    OUTPUT_VARIABLE _pytest_hardening_dir OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
if(NOT _pytest_hardening_dir)
  set(PytestHardening_FOUND FALSE)
  set(PytestHardening_NOT_FOUND_MESSAGE
      "No Python with pytest-hardening (tried \"${PYTEST_HARDENING_PYTHON}\"): set PYTEST_HARDENING_PYTHON to its path.")
  return()
endif()

# CMake describes its targets where this file asks for it. It reads it before it reads any CMakeLists.txt, so the first run
# answers only if it is told so by a command as well, which is there since CMake 3.27.
set(_pytest_hardening_query [[{"requests": [{"kind": "codemodel", "version": 2}, {"kind": "cache", "version": 2}]}
]])
set(_pytest_hardening_file "${CMAKE_BINARY_DIR}/.cmake/api/v1/query/client-pytest-hardening/query.json")
set(_pytest_hardening_known "")
if(EXISTS "${_pytest_hardening_file}")
  file(READ "${_pytest_hardening_file}" _pytest_hardening_known)
endif()
if(NOT _pytest_hardening_known STREQUAL _pytest_hardening_query)
  file(WRITE "${_pytest_hardening_file}" "${_pytest_hardening_query}")
endif()
if(COMMAND cmake_file_api)
  cmake_file_api(QUERY API_VERSION 1 CODEMODEL 2 CACHE 2)
endif()

function(pytest_hardening_add_test)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "NAME;PROFILE" "TARGETS;CHECKS;ARGS")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "pytest_hardening_add_test: unknown arguments: ${arg_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT arg_NAME)
    set(arg_NAME hardening)
  endif()

  set(options)
  get_property(is_multi GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
  foreach(target IN LISTS arg_TARGETS)
    if(NOT TARGET "${target}")
      message(FATAL_ERROR "pytest_hardening_add_test: there is no target ${target}")
    endif()
    get_target_property(aliased "${target}" ALIASED_TARGET)
    if(aliased)
      set(target "${aliased}")
    endif()
    if(is_multi)
      set(target "$<CONFIG>/${target}")
    endif()
    list(APPEND options "--hardening-target=${target}")
  endforeach()
  foreach(check IN LISTS arg_CHECKS)
    list(APPEND options "--hardening-check=${check}")
  endforeach()
  if(arg_PROFILE)
    if(arg_PROFILE MATCHES "\\.toml$")
      get_filename_component(arg_PROFILE "${arg_PROFILE}" ABSOLUTE)
    endif()
    list(APPEND options "--hardening-profile=${arg_PROFILE}")
  endif()

  # an empty folder, so that pytest finds no other tests
  set(folder "${CMAKE_BINARY_DIR}/CMakeFiles/pytest-hardening")
  file(MAKE_DIRECTORY "${folder}")
  add_test(
    NAME "${arg_NAME}"
    COMMAND "${PYTEST_HARDENING_PYTHON}" -m pytest -p no:cacheprovider "--rootdir=${CMAKE_SOURCE_DIR}"
            "--hardening-build=${CMAKE_BINARY_DIR}" ${options} ${arg_ARGS}
    WORKING_DIRECTORY "${folder}")

  if(NOT COMMAND cmake_file_api)
    file(GLOB replies "${CMAKE_BINARY_DIR}/.cmake/api/v1/reply/index-*.json")
    if(NOT replies)
      if(NOT TEST pytest_hardening_ask_cmake)
        add_test(NAME pytest_hardening_ask_cmake COMMAND "${CMAKE_COMMAND}" "${CMAKE_BINARY_DIR}")
        set_tests_properties(pytest_hardening_ask_cmake PROPERTIES FIXTURES_SETUP pytest_hardening_reply)
      endif()
      set_tests_properties("${arg_NAME}" PROPERTIES FIXTURES_REQUIRED pytest_hardening_reply)
    endif()
  endif()
endfunction()
