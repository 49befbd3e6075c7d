#include <algorithm>
#include <array>
#include <string>

#include "base/aligned_buffer.h"
#include "bindings/array_view.h"
#include "bindings/module.h"
#include "kernels/registry.h"

namespace devit {

using namespace py::literals;

namespace {

Epilogue parse_epilogue(const std::string& name) {
  if (name == "none") return Epilogue::kNone;
  if (name == "gelu") return Epilogue::kGelu;
  if (name == "residual") return Epilogue::kResidual;
  throw std::invalid_argument("epilogue must be 'none', 'gelu' or 'residual', got '" + name + "'");
}

void require_gemm_i8_depth(std::size_t depth) {
  require(depth <= kMaxGemmI8Depth, "int8 takes rows of at most " +
                                        std::to_string(kMaxGemmI8Depth) + " numbers, got " +
                                        std::to_string(depth));
}

void gemm(const ArrayF32& a, const ArrayF32& weight, const ArrayF32& bias, ArrayF32& out,
          const std::string& epilogue, const std::string& isa) {
  const KernelTable& table = kernels(isa);
  const Epilogue parsed = parse_epilogue(epilogue);
  require_axes("a", a, 2);
  require_axes("weight", weight, 2);
  const std::size_t rows = dim(a, 0);
  const std::size_t depth = dim(a, 1);
  const std::size_t cols = dim(weight, 0);
  require_shape("weight", weight, {cols, depth});
  require_shape("bias", bias, {cols});
  require_shape("out", out, {rows, cols});
  const float* a_data = a.data();
  const float* weight_data = weight.data();
  const float* bias_data = bias.data();
  float* out_data = out.mutable_data();

  const py::gil_scoped_release nogil;
  const std::size_t tile_cols = table.gemm_f32.tile_cols;
  AlignedBuffer<float> panels(packed_gemm_f32_size(depth, cols, tile_cols));
  pack_gemm_f32_weight(weight_data, depth, cols, tile_cols, panels.data());
  pack_gemm_f32_bias(bias_data, depth, cols, tile_cols, panels.data());
  table.gemm_f32.run({.a = a_data,
                      .panels = panels.data(),
                      .out = out_data,
                      .depth = depth,
                      .cols = cols,
                      .a_stride = depth,
                      .out_stride = cols,
                      .row_begin = 0,
                      .row_end = rows,
                      .panel_begin = 0,
                      .panel_end = (cols + tile_cols - 1) / tile_cols,
                      .epilogue = parsed});
}

void gemm_f16(const ArrayF32& a, const ArrayF16& weight, const ArrayF32& bias, ArrayF32& out,
              const std::string& epilogue, const std::string& isa) {
  const GemmF16& gemm = kernels(isa).gemm_f16;
  const Epilogue parsed = parse_epilogue(epilogue);
  require_axes("a", a, 2);
  require_axes("weight", weight, 2);
  const std::size_t rows = dim(a, 0);
  const std::size_t depth = dim(a, 1);
  const std::size_t cols = dim(weight, 0);
  require_shape("weight", weight, {cols, depth});
  require_shape("bias", bias, {cols});
  require_shape("out", out, {rows, cols});
  const float* a_data = a.data();
  const Half* weight_data = weight.data();
  const float* bias_data = bias.data();
  float* out_data = out.mutable_data();

  const py::gil_scoped_release nogil;
  const bool halves = gemm.round != nullptr;
  const std::size_t tile_cols = gemm.tile_cols;
  const std::size_t q_stride = rounded_row_f16(depth);
  AlignedBuffer<std::byte> panels(packed_gemm_f16_size(depth, cols, tile_cols));
  AlignedBuffer<Half> rounded(halves ? rows * q_stride : 0);
  AlignedBuffer<float> a_scale(halves ? rows : 0);
  pack_gemm_f16_weight(weight_data, depth, cols, tile_cols, panels.data());
  pack_gemm_f16_bias(bias_data, depth, cols, tile_cols, panels.data());
  if (halves) {
    gemm.round({.x = a_data,
                .q = rounded.data(),
                .scale = a_scale.data(),
                .depth = depth,
                .x_stride = depth,
                .q_stride = q_stride,
                .row_begin = 0,
                .row_end = rows,
                .limit = half_limit(weight_data, cols * depth)});
  }
  gemm.run({.a = halves ? static_cast<const void*>(rounded.data()) : a_data,
            .a_scale = a_scale.data(),
            .panels = panels.data(),
            .out = out_data,
            .depth = depth,
            .cols = cols,
            .a_stride = halves ? q_stride : depth,
            .panel_stride = panel_f16(depth, tile_cols),
            .out_stride = cols,
            .row_begin = 0,
            .row_end = rows,
            .panel_begin = 0,
            .panel_end = (cols + tile_cols - 1) / tile_cols,
            .epilogue = parsed});
}

py::object round_f16(const ArrayF32& x, const ArrayF16& weight, const std::string& isa) {
  const GemmF16& gemm = kernels(isa).gemm_f16;
  require_axes("x", x, 2);
  require_axes("weight", weight, 2);
  if (gemm.round == nullptr) return py::none();
  py::array_t<Half> q({x.shape(0), x.shape(1)});
  py::array_t<float> scale(x.shape(0));
  const RoundF16Args args{.x = x.data(),
                          .q = q.mutable_data(),
                          .scale = scale.mutable_data(),
                          .depth = dim(x, 1),
                          .x_stride = dim(x, 1),
                          .q_stride = dim(x, 1),
                          .row_begin = 0,
                          .row_end = dim(x, 0),
                          .limit = half_limit(weight.data(), dim(weight, 0) * dim(weight, 1))};
  {
    const py::gil_scoped_release nogil;
    gemm.round(args);
  }
  return py::make_tuple(q, scale);
}

void gemm_i8(const ArrayF32& a, const ArrayI8& weight, const ArrayF32& scale, const ArrayF32& bias,
             ArrayF32& out, const std::string& epilogue, const std::string& isa) {
  const GemmI8& gemm = kernels(isa).gemm_i8;
  const Epilogue parsed = parse_epilogue(epilogue);
  require_axes("a", a, 2);
  require_axes("weight", weight, 2);
  const std::size_t rows = dim(a, 0);
  const std::size_t depth = dim(a, 1);
  const std::size_t cols = dim(weight, 0);
  require_gemm_i8_depth(depth);
  require_shape("weight", weight, {cols, depth});
  require_shape("scale", scale, {cols});
  require_shape("bias", bias, {cols});
  require_shape("out", out, {rows, cols});
  const float* a_data = a.data();
  const std::int8_t* weight_data = weight.data();
  const float* scale_data = scale.data();
  const float* bias_data = bias.data();
  float* out_data = out.mutable_data();

  const py::gil_scoped_release nogil;
  AlignedBuffer<std::byte> panels(packed_gemm_i8_size(depth, cols, gemm));
  const std::size_t row_bytes = quantized_row_i8(depth, gemm);
  AlignedBuffer<std::byte> quantized(rows * row_bytes);
  AlignedBuffer<float> a_scale(rows);
  pack_gemm_i8_weight(weight_data, scale_data, depth, cols, gemm, panels.data());
  pack_gemm_i8_bias(bias_data, depth, cols, gemm, panels.data());
  gemm.quantize({.x = a_data,
                 .q = quantized.data(),
                 .scale = a_scale.data(),
                 .depth = depth,
                 .x_stride = depth,
                 .q_stride = row_bytes,
                 .row_begin = 0,
                 .row_end = rows});
  gemm.run({.a = quantized.data(),
            .a_scale = a_scale.data(),
            .panels = panels.data(),
            .out = out_data,
            .depth = depth,
            .cols = cols,
            .a_stride = row_bytes,
            .panel_stride = panel_i8(depth, gemm),
            .out_stride = cols,
            .row_begin = 0,
            .row_end = rows,
            .panel_begin = 0,
            .panel_end = (cols + gemm.tile_cols - 1) / gemm.tile_cols,
            .epilogue = parsed});
}

py::tuple quantize_i8(const ArrayF32& x, const std::string& isa) {
  const GemmI8& gemm = kernels(isa).gemm_i8;
  require_axes("x", x, 2);
  const std::size_t rows = dim(x, 0);
  const std::size_t depth = dim(x, 1);
  require_gemm_i8_depth(depth);
  const std::size_t row_bytes = quantized_row_i8(depth, gemm);
  py::array q(
      gemm.activation_bytes == 1 ? py::dtype::of<std::int8_t>() : py::dtype::of<std::int16_t>(),
      std::array{rows, row_bytes / gemm.activation_bytes});
  py::array_t<float> scale(static_cast<py::ssize_t>(rows));
  const QuantizeI8Args args{.x = x.data(),
                            .q = q.mutable_data(),
                            .scale = scale.mutable_data(),
                            .depth = depth,
                            .x_stride = depth,
                            .q_stride = row_bytes,
                            .row_begin = 0,
                            .row_end = rows};
  {
    const py::gil_scoped_release nogil;
    gemm.quantize(args);
  }
  if (gemm.activation_offset != 0) {
    std::uint8_t* byte = static_cast<std::uint8_t*>(q.mutable_data());
    for (std::size_t i = 0; i < rows * row_bytes; ++i) {
      byte[i] = static_cast<std::uint8_t>(byte[i] - gemm.activation_offset);
    }
  }
  const py::ssize_t end = static_cast<py::ssize_t>(depth);
  return py::make_tuple(q[py::make_tuple(py::ellipsis(), py::slice(0, end, 1))], scale);
}

void layer_norm(const ArrayF32& x, ArrayF32& out, float eps, const std::string& isa) {
  const KernelTable& table = kernels(isa);
  require_axes("x", x, 2);
  require_shape("out", out, {dim(x, 0), dim(x, 1)});
  require(eps > 0.0f, "eps must be positive");
  const LayerNormF32Args args{.x = x.data(),
                              .out = out.mutable_data(),
                              .dim = dim(x, 1),
                              .x_stride = dim(x, 1),
                              .out_stride = dim(x, 1),
                              .row_begin = 0,
                              .row_end = dim(x, 0),
                              .eps = eps};
  const py::gil_scoped_release nogil;
  table.layer_norm_f32(args);
}

}  // namespace

void register_kernels(py::module_& m) {
  m.def("gemm", &gemm, "a"_a.noconvert(), "weight"_a.noconvert(), "bias"_a.noconvert(),
        "out"_a.noconvert(), py::kw_only(), "epilogue"_a = "none", "isa"_a = "", R"doc(
One linear layer, ``out = f(a @ weight.T + bias)``; packs ``weight`` first.

Args:
    a: float32, C-contiguous, (rows, depth).
    weight: float32, C-contiguous, (cols, depth).
    bias: float32, (cols,).
    out: float32, C-contiguous, writeable, (rows, cols); overlaps no input.
    epilogue: f: "none", "gelu" (exact), or "residual", which adds what ``out`` held.
    isa: instruction set; "" as in :func:`select_isa`.
)doc");
  m.def("gemm_f16", &gemm_f16, "a"_a.noconvert(), "weight"_a.noconvert(), "bias"_a.noconvert(),
        "out"_a.noconvert(), py::kw_only(), "epilogue"_a = "none", "isa"_a = "", R"doc(
One linear layer on halves, ``out = f(a @ weight.T + bias)``; packs ``weight`` first.

The instruction set decides whether products are summed in float32 or in halves.

Args:
    a: float32, C-contiguous, (rows, depth).
    weight: float16, C-contiguous, (cols, depth), finite.
    bias: float32, (cols,).
    out: float32, C-contiguous, writeable, (rows, cols); overlaps no input.
    epilogue: f, as in :func:`gemm`.
    isa: instruction set; "" as in :func:`select_isa`.
)doc");
  m.def("round_f16", &round_f16, "x"_a.noconvert(), "weight"_a.noconvert(), py::kw_only(),
        "isa"_a = "", R"doc(
Make halves of each row as :func:`gemm_f16` does: ``x`` is about ``scale[:, None] * q``.

Args:
    x: float32, C-contiguous, (rows, depth).
    weight: float16, C-contiguous, two axes: it decides how large q may be.
    isa: instruction set; "" as in :func:`select_isa`.

Returns:
    q, float16, (rows, depth); and scale, float32, (rows,). None if products are summed in float32.
)doc");
  m.def("gemm_i8", &gemm_i8, "a"_a.noconvert(), "weight"_a.noconvert(), "scale"_a.noconvert(),
        "bias"_a.noconvert(), "out"_a.noconvert(), py::kw_only(), "epilogue"_a = "none",
        "isa"_a = "", R"doc(
One linear layer in integers, ``out = f(a @ (scale[:, None] * weight).T + bias)``.

Packs ``weight`` and quantises the rows of ``a`` first.

Args:
    a: float32, C-contiguous, (rows, depth).
    weight: int8, C-contiguous, (cols, depth).
    scale: float32, (cols,).
    bias: float32, (cols,).
    out: float32, C-contiguous, writeable, (rows, cols); overlaps no input.
    epilogue: f, as in :func:`gemm`.
    isa: instruction set; "" as in :func:`select_isa`.
)doc");
  m.def("quantize_i8", &quantize_i8, "x"_a.noconvert(), py::kw_only(), "isa"_a = "", R"doc(
Quantise each row as :func:`gemm_i8` does: ``x`` is about ``scale[:, None] * q``.

Args:
    x: float32, C-contiguous, (rows, depth).
    isa: instruction set; "" as in :func:`select_isa`.

Returns:
    q, int8 or int16 (the instruction set decides), (rows, depth); and scale, float32, (rows,).
)doc");
  m.def("layer_norm", &layer_norm, "x"_a.noconvert(), "out"_a.noconvert(), "eps"_a, py::kw_only(),
        "isa"_a = "", R"doc(
Layer norm of each row, without scale and shift.

Args:
    x: float32, C-contiguous, (rows, dim).
    out: float32, C-contiguous, writeable, (rows, dim); ``x`` itself, or no overlap.
    eps: added to the variance.
    isa: instruction set; "" as in :func:`select_isa`.
)doc");
}

}  // namespace devit
