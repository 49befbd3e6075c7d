#include "bindings/module.h"

PYBIND11_MODULE(_core, m) {
  m.doc() = "The native engine: vision transformer kernels and the forward pass on top of them.";
  devit::register_registry(m);
  devit::register_kernels(m);
  devit::register_attention(m);
  devit::register_image(m);
  devit::register_runtime(m);
}
