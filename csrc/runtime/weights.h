#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "kernels/registry.h"
#include "runtime/shape.h"

namespace devit {

// Where tensors come from; files and Python are not our business.
class TensorSource {
 public:
  virtual ~TensorSource() = default;

  // Calls `use` with the C-contiguous float32 tensor `name`, which lives until `use` returns.
  // Throws if there is none, or if it has another shape.
  virtual void read(const std::string& name, std::span<const std::size_t> shape,
                    const std::function<void(const float*)>& use) = 0;

  // Calls `use` with a matrix of halves; all else is as for read().
  virtual void read_float16(const std::string& name, std::span<const std::size_t> shape,
                            const std::function<void(const Half*)>& use) = 0;

  // Calls `use` with a matrix of bytes, -127 to 127, and a scale for each row (the first axis); all
  // else is as for read().
  virtual void read_int8(const std::string& name, std::span<const std::size_t> shape,
                         const std::function<void(const std::int8_t*, const float*)>& use) = 0;
};

// How the weights of the blocks' linear layers, and of all but the first convolution, are kept, and
// in int8 those of the patch embedding too;
// gemm_<dtype>.h says how they are computed with.
enum class Dtype { kFloat32, kFloat16, kInt8 };

// One linear layer, packed for one instruction set.
struct PackedLinear {
  Dtype dtype = Dtype::kFloat32;
  std::size_t depth = 0;
  std::size_t cols = 0;
  AlignedBuffer<std::byte> panels;
  float limit = 0.0f;  // half_limit(), in float16
};

struct BlockWeights {
  std::size_t heads = 0;
  PackedLinear qkv;
  PackedLinear proj;
  AlignedBuffer<float> norm_scale;  // embed_dim numbers, with residual_norm only
  AlignedBuffer<float> norm_shift;  // embed_dim numbers, with residual_norm only
  PackedLinear fc1;
  PackedLinear fc2;
};

// Some rows of a convolution's kernel: a linear layer of the pixels below them.
struct KernelRows {
  std::size_t begin;
  std::size_t end;
  PackedLinear linear;
};

// One convolution: the sum of what its kernel's rows give. Taken a few at a time, the packed panels
// stay in the first-level cache.
struct ConvWeights {
  ConvLayer layer;
  std::vector<KernelRows> rows;
};

struct Weights {
  PackedLinear patch_embed;            // without a tokenizer
  AlignedBuffer<float> offset;         // with one: subtracted from the pixels, RGB
  std::vector<ConvWeights> tokenizer;  // with one
  AlignedBuffer<float> pos_embed;
  std::vector<BlockWeights> blocks;
  AlignedBuffer<float> pool;  // with a tokenizer: scores the tokens, embed_dim numbers

  std::size_t bytes() const;
};

// Reads and packs every tensor, in the order of devit_iot/bundle/spec.py, one at a time.
// Throws std::invalid_argument if a number is NaN or infinite, if int8 cannot hold a layer
// (kMaxGemmI8Depth), or if a scale is not positive and finite.
Weights load_weights(const SubVitShape& shape, const KernelTable& kernels, Dtype dtype,
                     TensorSource& source);

}  // namespace devit
