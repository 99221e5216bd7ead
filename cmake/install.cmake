# make install: command, libraries, header, pkg-config and CMake package files, man page, shell completions. The package files
# find the rest from where they lie, so that an installed tree can be moved.
if(TARGET whet)
  install(TARGETS whet RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(TARGETS whet_static whet_shared
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES include/whet.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

list(TRANSFORM WHET_DEPENDENCIES PREPEND "-l" OUTPUT_VARIABLE private_libraries)
list(JOIN private_libraries " " WHET_PRIVATE_LIBRARIES)
set(pkgconfig_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH WHET_PREFIX_FROM_PC /prefix/${pkgconfig_dir} /prefix)
string(REGEX REPLACE "/$" "" WHET_PREFIX_FROM_PC "${WHET_PREFIX_FROM_PC}")
configure_file(cmake/whet.pc.in whet.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/whet.pc DESTINATION ${pkgconfig_dir})

include(CMakePackageConfigHelpers)
set(WHET_SHARED_NAME $<TARGET_FILE_NAME:whet_shared>)
configure_package_config_file(cmake/whetConfig.cmake.in whetConfig.cmake.gen
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/whet
  PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/whetConfig.cmake INPUT ${CMAKE_BINARY_DIR}/whetConfig.cmake.gen)
write_basic_package_version_file(whetConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/whetConfig.cmake ${CMAKE_BINARY_DIR}/whetConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/whet)

install(FILES docs/whet.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES tools/completions/whet.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME whet)
install(FILES tools/completions/whet.zsh DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions RENAME _whet)
install(FILES tools/completions/whet.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/whet)
