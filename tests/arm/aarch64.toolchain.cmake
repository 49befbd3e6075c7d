# Cross-builds for 64-bit Arm Linux against the headers and Python of a root file system:
#   cmake --toolchain tests/arm/aarch64.toolchain.cmake -DDEVIT_ROOTFS=... -DDEVIT_PYTHON=3.11
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES DEVIT_ROOTFS DEVIT_PYTHON)

# Debian keeps pyconfig.h in a directory of its own, per architecture.
set(CMAKE_CXX_FLAGS_INIT "-idirafter ${DEVIT_ROOTFS}/usr/include")

string(REPLACE "." "" python_tag "${DEVIT_PYTHON}")
set(Python_INCLUDE_DIR "${DEVIT_ROOTFS}/usr/include/python${DEVIT_PYTHON}" CACHE PATH "")
set(Python_SOABI "cpython-${python_tag}-aarch64-linux-gnu" CACHE STRING "")
set(PYTHON_MODULE_EXTENSION ".${Python_SOABI}.so" CACHE STRING "")  # pybind11 reads these two,
set(PYTHON_MODULE_DEBUG_POSTFIX "" CACHE STRING "")
set(PYTHON_IS_DEBUG OFF CACHE BOOL "")
set(PYBIND11_USE_CROSSCOMPILING ON CACHE BOOL "")                   # and asks no interpreter
