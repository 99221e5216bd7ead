# libwhet, three times from the same objects:
#   whet_shared    libwhet.so: exports what whet.h declares
#   whet_static    libwhet.a: the same, one object whose internal symbols are local, so that names as plain as `text_put` cannot
#                  clash with a user's own
#   whet_internal  for tests and fuzz targets: every symbol can be linked to
file(GLOB_RECURSE WHET_SOURCES CONFIGURE_DEPENDS src/*.c)
list(FILTER WHET_SOURCES EXCLUDE REGEX "/src/cli/")
# Loops over strips, the products of LSTM and its kin, and the search for the largest of a line are written to be vectorised.
file(GLOB strip_sources src/kernel/strip*.c src/kernel/eval*.c src/ops/recurrent.c src/ops/order.c)
set_source_files_properties(${strip_sources} PROPERTIES COMPILE_OPTIONS -O3)
add_library(whet_objects OBJECT ${WHET_SOURCES})
target_include_directories(whet_objects PRIVATE include src)
target_link_libraries(whet_objects PRIVATE whet_dependencies)

add_library(whet_internal STATIC $<TARGET_OBJECTS:whet_objects>)
add_library(whet_shared SHARED $<TARGET_OBJECTS:whet_objects>)
if(WHET_LOCALIZE)
  find_program(WHET_LD NAMES ${CMAKE_LINKER} ld REQUIRED)
  set(whole ${CMAKE_BINARY_DIR}/whet.o)
  add_custom_command(
    OUTPUT ${whole}
    COMMAND ${WHET_LD} -r -o ${whole} $<TARGET_OBJECTS:whet_objects>
    COMMAND ${CMAKE_OBJCOPY} --localize-hidden ${whole}
    DEPENDS whet_objects $<TARGET_OBJECTS:whet_objects>
    COMMENT "Making internal symbols local"
    COMMAND_EXPAND_LISTS VERBATIM)
  set_source_files_properties(${whole} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
  add_library(whet_static STATIC ${whole})
  set_target_properties(whet_static PROPERTIES LINKER_LANGUAGE C)
else()
  add_library(whet_static STATIC $<TARGET_OBJECTS:whet_objects>)
endif()
foreach(library whet_static whet_shared)
  set_target_properties(${library} PROPERTIES OUTPUT_NAME whet)
endforeach()
set_target_properties(whet_shared PROPERTIES
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})  # 0.x: any minor may break
foreach(library whet_static whet_shared whet_internal)
  target_include_directories(${library} INTERFACE include)
endforeach()
target_link_libraries(whet_shared PRIVATE whet_dependencies)
target_link_libraries(whet_static INTERFACE whet_dependencies)
target_link_libraries(whet_internal INTERFACE whet_dependencies)
