#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>

#include "base/check.h"
#include "kernels/gemm/gemm_f16.h"

namespace pybind11::detail {

// numpy's float16.
template <>
struct npy_format_descriptor<devit::Half> {
  static constexpr auto name = const_name("numpy.float16");
  static pybind11::dtype dtype() { return pybind11::dtype("e"); }
};

}  // namespace pybind11::detail

namespace devit {

namespace py = pybind11;

// A C-contiguous array of T, taken as it is: as an argument anything else is a TypeError, no copy.
// py::array_t would make an empty array for each argument of each call, to put the real one in.
template <typename T>
class Array : public py::array {
 public:
  Array() : Array(py::handle(), stolen_t{}) {}
  Array(py::handle h, borrowed_t tag) : py::array(h, tag) {}
  Array(py::handle h, stolen_t tag) : py::array(h, tag) {}

  static bool check_(py::handle h) { return py::array_t<T, py::array::c_style>::check_(h); }

  const T* data() const { return static_cast<const T*>(py::array::data()); }
  T* mutable_data() { return static_cast<T*>(py::array::mutable_data()); }
};

using ArrayF32 = Array<float>;
using ArrayF16 = Array<Half>;
using ArrayI8 = Array<std::int8_t>;
using ArrayU8 = Array<std::uint8_t>;

inline std::size_t dim(const py::array& array, py::ssize_t axis) {
  return static_cast<std::size_t>(array.shape(axis));
}

template <typename Sizes>
std::string shape_text(const Sizes& sizes) {
  std::string text = "(";
  for (const auto size : sizes) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + (text.find(',') == text.npos && text.size() > 1 ? ",)" : ")");
}

inline std::string shape_text(const py::array& array) {
  return shape_text(std::vector<py::ssize_t>(array.shape(), array.shape() + array.ndim()));
}

// Throws std::invalid_argument (ValueError) unless `array` has exactly this shape. Allocates for
// the message only: the engine asks for each image.
template <typename Sizes>
void require_shape(const std::string& name, const py::array& array, const Sizes& wanted) {
  bool same = static_cast<std::size_t>(array.ndim()) == wanted.size();
  py::ssize_t axis = 0;
  for (auto size = wanted.begin(); same && size != wanted.end(); ++size) {
    same = dim(array, axis++) == *size;
  }
  if (same) return;
  throw std::invalid_argument(name + " must have shape " + shape_text(wanted) + ", got " +
                              shape_text(array));
}

inline void require_shape(const std::string& name, const py::array& array,
                          std::initializer_list<std::size_t> wanted) {
  require_shape<std::initializer_list<std::size_t>>(name, array, wanted);
}

// Throws std::invalid_argument unless `array` has `ndim` axes, none of them empty.
inline void require_axes(const std::string& name, const py::array& array, py::ssize_t ndim) {
  require(array.ndim() == ndim && array.size() > 0, name + " must have " + std::to_string(ndim) +
                                                        " axes and no empty one, got shape " +
                                                        shape_text(array));
}

}  // namespace devit

template <typename T>
struct pybind11::detail::handle_type_name<devit::Array<T>> {
  static constexpr auto name =
      const_name("numpy.typing.NDArray[") + npy_format_descriptor<T>::name + const_name("]");
};
