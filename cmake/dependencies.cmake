# The libraries Whet stands on, by header and library file: every distribution has those, while names of CMake packages and
# pkg-config modules differ between distributions and releases. Where pkg-config knows the module, its folders are looked in too.
find_package(Threads REQUIRED)
find_package(PkgConfig QUIET)

set(WHET_DEPENDENCIES "")
function(whet_require library header module)
  if(PKG_CONFIG_FOUND)
    pkg_check_modules(PC_${library} QUIET ${module})
  endif()
  find_path(${library}_INCLUDE_DIR ${header} HINTS ${PC_${library}_INCLUDE_DIRS})
  find_library(${library}_LIBRARY ${library} HINTS ${PC_${library}_LIBRARY_DIRS})
  mark_as_advanced(${library}_INCLUDE_DIR ${library}_LIBRARY)
  if(NOT ${library}_INCLUDE_DIR OR NOT ${library}_LIBRARY)
    message(FATAL_ERROR "Whet needs the library ${library} with its header <${header}>. "
      "`make` installs what is missing; `tools/setup.sh --print build` names the packages.")
  endif()
  add_library(dependency_${library} INTERFACE)
  target_include_directories(dependency_${library} SYSTEM INTERFACE ${${library}_INCLUDE_DIR})
  target_link_libraries(dependency_${library} INTERFACE ${${library}_LIBRARY})
  set(WHET_DEPENDENCIES ${WHET_DEPENDENCIES} ${library} PARENT_SCOPE)
endfunction()

whet_require(Zydis Zydis/Zydis.h zydis)
whet_require(cpuinfo cpuinfo.h libcpuinfo)
# Zydis's own base library; an archive of Zydis needs it after itself, a shared one brings it along.
find_library(Zycore_LIBRARY Zycore)
mark_as_advanced(Zycore_LIBRARY)
if(Zycore_LIBRARY)
  target_link_libraries(dependency_Zydis INTERFACE ${Zycore_LIBRARY})
  list(INSERT WHET_DEPENDENCIES 1 Zycore)
endif()

add_library(whet_dependencies INTERFACE)
target_link_libraries(whet_dependencies INTERFACE dependency_Zydis dependency_cpuinfo
  Threads::Threads m ${CMAKE_DL_LIBS})
