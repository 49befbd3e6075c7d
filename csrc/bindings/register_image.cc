#include <string>
#include <utility>

#include "base/check.h"
#include "bindings/array_view.h"
#include "bindings/arrow.h"
#include "bindings/module.h"
#include "kernels/registry.h"
#include "runtime/resize.h"

namespace devit {

using namespace py::literals;

namespace {

using Sizes = std::pair<std::size_t, std::size_t>;  // rows, columns

py::array_t<std::uint8_t> arrow_bytes(const py::capsule& capsule) {
  const ArrowBytes bytes = arrow_bytes_of(capsule.get_pointer<ArrowArray>());
  py::array_t<std::uint8_t> view({bytes.size}, {1}, bytes.data, capsule);
  view.attr("setflags")("write"_a = false);
  return view;
}

Interpolation interpolation_of(const std::string& name) {
  require(name == "bicubic" || name == "bilinear",
          "the interpolation is neither 'bicubic' nor 'bilinear'");
  return name == "bilinear" ? Interpolation::kBilinear : Interpolation::kBicubic;
}

void resize(const ArrayU8& pixels, ArrayU8& out, const std::pair<double, double>& extent,
            const Sizes& full, const Sizes& offset, const std::string& by, const std::string& isa) {
  const KernelTable& table = kernels(isa);
  const Interpolation interpolation = interpolation_of(by);
  require_axes("pixels", pixels, 3);
  require_shape("pixels", pixels, {dim(pixels, 0), dim(pixels, 1), 4});
  require_axes("out", out, 3);
  require_shape("out", out, {dim(out, 0), dim(out, 1), 3});
  const ResizeAxis rows{dim(pixels, 0), extent.first, full.first, offset.first, dim(out, 0)};
  const ResizeAxis cols{dim(pixels, 1), extent.second, full.second, offset.second, dim(out, 1)};
  const std::uint8_t* in = pixels.data();
  std::uint8_t* to = out.mutable_data();
  const py::gil_scoped_release nogil;
  resize_window(table.resize_u8, in, to, rows, cols, interpolation);
}

}  // namespace

void register_image(py::module_& m) {
  m.def("arrow_bytes", &arrow_bytes, "array"_a, R"doc(
The bytes of an Arrow array of pixels, without a copy.

Args:
    array: capsule of the Arrow C data interface that holds fixed-size lists of uint8, or uint8;
        the second one that ``__arrow_c_array__`` of a Pillow image returns.

Returns:
    uint8[size], read-only; keeps the capsule.
)doc");
  m.def("resize_window", &resize, "pixels"_a.noconvert(), "out"_a.noconvert(), py::kw_only(),
        "extent"_a, "full"_a, "offset"_a, "interpolation"_a = "bicubic", "isa"_a = "", R"doc(
A window of a picture resized as by Pillow: the columns first, then the rows.

Args:
    pixels: uint8, C-contiguous, (rows, columns, 4); the fourth channel is not looked at.
    out: uint8, C-contiguous, writeable, (rows, columns, 3): the window; overlaps no input.
    extent: rows and columns of ``pixels`` that the picture covers; the last of each perhaps partly.
    full: rows and columns of the whole resized picture.
    offset: first row and column of the window in it.
    interpolation: "bicubic" or "bilinear", Pillow's BICUBIC or BILINEAR.
    isa: instruction set; "" as in :func:`select_isa`.
)doc");
}

}  // namespace devit
