# For scripts/wheels.py, which sets the variables of the environment: GCC for this or another CPU.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR $ENV{DEVIT_ARCH})
set(CMAKE_CXX_COMPILER $ENV{DEVIT_CXX})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)

# This machine's strip may not know the other's files.
set(CMAKE_STRIP "")

# GCC's library inside is for the module alone. What it does not use of it is left out: with that go
# 15 % of the module, and arc4random, which glibc has from 2.36 on only.
string(CONCAT CMAKE_MODULE_LINKER_FLAGS_INIT
    "-s -static-libstdc++ -static-libgcc -Wl,--exclude-libs,ALL -Wl,--gc-sections")

set(Python_INCLUDE_DIR $ENV{DEVIT_PYTHON_INCLUDE} CACHE PATH "" FORCE)
set(Python_SOABI $ENV{DEVIT_SOABI} CACHE STRING "" FORCE)
set(PYTHON_MODULE_EXTENSION ".${Python_SOABI}.so" CACHE STRING "" FORCE)  # pybind11 reads these,
set(PYTHON_MODULE_DEBUG_POSTFIX "" CACHE STRING "")
set(PYTHON_IS_DEBUG OFF CACHE BOOL "")
set(PYBIND11_USE_CROSSCOMPILING ON CACHE BOOL "")                         # and asks no interpreter
