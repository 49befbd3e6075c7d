#pragma once

#include <pybind11/pybind11.h>

namespace devit {

void register_registry(pybind11::module_& m);   // the instruction sets that there are
void register_kernels(pybind11::module_& m);    // single kernels, for tests and benchmarks
void register_attention(pybind11::module_& m);  // its kernels, for tests and benchmarks
void register_image(pybind11::module_& m);      // resizing for engine/image.py
void register_runtime(pybind11::module_& m);    // SubVit

}  // namespace devit
