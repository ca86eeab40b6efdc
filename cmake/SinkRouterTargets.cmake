# sr_layer(name SOURCES ... LINKS ... PUBLIC_LINKS ...): one static library per folder of src/.
# LINKS are private, so a layer reaches only what it names; headers are written "layer/file.h".
include(GNUInstallDirs)

add_library(sr_options INTERFACE)
target_compile_features(sr_options INTERFACE cxx_std_20)
target_compile_options(sr_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wno-psabi>)
if(SINKROUTER_SANITIZE)
  target_compile_options(sr_options INTERFACE -fsanitize=${SINKROUTER_SANITIZE}
                                              -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(sr_options INTERFACE -fsanitize=${SINKROUTER_SANITIZE})
endif()

function(sr_configure target)
  target_include_directories(${target} PRIVATE "${CMAKE_SOURCE_DIR}/src"
                                       PUBLIC "${CMAKE_SOURCE_DIR}/include")
  target_link_libraries(${target} PRIVATE sr_options)
endfunction()

function(sr_layer name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_library(sr_${name} STATIC ${ARG_SOURCES})
  sr_configure(sr_${name})
  target_link_libraries(sr_${name} PRIVATE ${ARG_LINKS})
endfunction()

# sr_test(name SOURCES ... LINKS ...): one GoogleTest program, registered with ctest.
function(sr_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  sr_configure(${name})
  target_include_directories(${name} PRIVATE "${CMAKE_SOURCE_DIR}/tests")
  target_link_libraries(${name} PRIVATE ${ARG_LINKS} GTest::gtest_main fmt::fmt)
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}")
  set_tests_properties(${name} PROPERTIES TIMEOUT 900)
  if(ARG_LABELS)
    set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}")
  endif()
endfunction()
