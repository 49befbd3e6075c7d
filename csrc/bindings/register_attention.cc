#include <string>

#include "base/aligned_buffer.h"
#include "bindings/array_view.h"
#include "bindings/module.h"
#include "kernels/registry.h"

namespace devit {

using namespace py::literals;

namespace {

void attention(const ArrayF32& qkv, ArrayF32& out, const std::string& isa) {
  const KernelTable& table = kernels(isa);
  require_axes("qkv", qkv, 4);
  const std::size_t tokens = dim(qkv, 0);
  const std::size_t heads = dim(qkv, 2);
  const std::size_t head_dim = dim(qkv, 3);
  require_shape("qkv", qkv, {tokens, 3, heads, head_dim});
  require_shape("out", out, {tokens, heads, head_dim});
  const std::size_t inner = heads * head_dim;
  const float* in = qkv.data();
  float* out_data = out.mutable_data();

  const py::gil_scoped_release nogil;
  AlignedBuffer<float> scratch(attention_f32_scratch(tokens, head_dim));
  for (std::size_t column = 0; column < inner; column += head_dim) {
    table.attention_f32.run({.q = in + column,
                             .k = in + inner + column,
                             .v = in + 2 * inner + column,
                             .out = out_data + column,
                             .scratch = scratch.data(),
                             .tokens = tokens,
                             .head_dim = head_dim,
                             .qkv_stride = 3 * inner,
                             .out_stride = inner,
                             .row_begin = 0,
                             .row_end = tokens});
  }
}

bool attention_f16(const ArrayF32& qkv, ArrayF32& out, const std::string& isa) {
  const AttentionF16& kernel = kernels(isa).attention_f16;
  require_axes("qkv", qkv, 4);
  const std::size_t tokens = dim(qkv, 0);
  const std::size_t heads = dim(qkv, 2);
  const std::size_t head_dim = dim(qkv, 3);
  require_shape("qkv", qkv, {tokens, 3, heads, head_dim});
  require_shape("out", out, {tokens, heads, head_dim});
  require(head_dim <= kMaxHeadF16, "halves take heads of at most " + std::to_string(kMaxHeadF16) +
                                       " numbers, got " + std::to_string(head_dim));
  if (kernel.run == nullptr) return false;
  const std::size_t inner = heads * head_dim;
  const float* in = qkv.data();
  float* out_data = out.mutable_data();

  const py::gil_scoped_release nogil;
  AlignedBuffer<Half> queries(packed_queries_f16(tokens, head_dim));
  AlignedBuffer<Half> keys(packed_rows_f16(tokens, head_dim));
  AlignedBuffer<Half> values(packed_rows_f16(tokens, head_dim));
  AlignedBuffer<float> scratch(attention_f16_scratch(tokens));
  for (std::size_t column = 0; column < inner; column += head_dim) {
    HeadF16 head{queries.data(), keys.data(), values.data(), 0.0f, 0.0f};
    kernel.pack({.q = in + column,
                 .k = in + inner + column,
                 .v = in + 2 * inner + column,
                 .head = &head,
                 .tokens = tokens,
                 .rows = tokens,
                 .head_dim = head_dim,
                 .qkv_stride = 3 * inner});
    kernel.run({.head = &head,
                .out = out_data + column,
                .scratch = scratch.data(),
                .tokens = tokens,
                .head_dim = head_dim,
                .out_stride = inner,
                .row_begin = 0,
                .row_end = tokens});
  }
  return true;
}

}  // namespace

void register_attention(py::module_& m) {
  m.def("attention", &attention, "qkv"_a.noconvert(), "out"_a.noconvert(), py::kw_only(),
        "isa"_a = "", R"doc(
Multi-head self-attention, ``out[:, h] = softmax(Q K^T) V``; the scale is folded into Q.

Args:
    qkv: float32, C-contiguous, (tokens, 3, heads, head_dim); read in place.
    out: float32, C-contiguous, writeable, (tokens, heads, head_dim); overlaps no input.
    isa: instruction set; "" as in :func:`select_isa`.
)doc");
  m.def("attention_f16", &attention_f16, "qkv"_a.noconvert(), "out"_a.noconvert(), py::kw_only(),
        "isa"_a = "", R"doc(
What :func:`attention` computes, in halves; False, and nothing is written, where the instruction set
has no such kernel.

Args:
    qkv: float32, C-contiguous, (tokens, 3, heads, head_dim); read in place.
    out: float32, C-contiguous, writeable, (tokens, heads, head_dim); overlaps no input.
    isa: instruction set; "" as in :func:`select_isa`.

Raises:
    ValueError: a head has more than 64 numbers.
)doc");
}

}  // namespace devit
