#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>

#include "base/thread_pool.h"
#include "kernels/registry.h"
#include "runtime/executor.h"
#include "runtime/shape.h"
#include "runtime/weights.h"
#include "runtime/workspace.h"

namespace devit {

// One sub-ViT, from raw pixels to the layer-normed prefix tokens (Dosovitskiy et al. 2021, eq.
// 1-4), or to the pooled token of a CCT (Hassani et al. 2021, eq. 2-5).
//
// In float16 the blocks' linear layers and all but the first convolution are those of gemm_f16.h:
// in float32 arithmetic the feature is the one of the same weights in float32, bit for bit; in
// halves, where attention is that of attention_f16.h, it is off by at most 2^-6 sqrt(blocks +
// convolutions) of its length on random weights (relative L2 error against float64 on the same
// halves; held by tests/kernels/test_sub_vit_f16.py).
//
// In int8 the blocks' linear layers, all but the first convolution, and the patch embedding are
// those of gemm_i8.h; attention is in halves where the CPU has them. Their activations have L
// levels of either sign, which costs about 1 / L of the feature's length for trained weights and at
// most 8 sqrt(blocks + convolutions) / L on random ones (relative L2 error against float64 on the
// same bytes; held by tests/kernels/test_sub_vit_i8.py).
//
// Allocates in the constructor only. Calls from several threads wait for each other.
class SubVit {
 public:
  // `threads` counts the calling one; 0 is one per available CPU.
  // Throws std::invalid_argument as load_weights() or for an impossible shape, and what `source`
  // throws.
  SubVit(SubVitShape shape, TensorSource& source, const KernelTable& kernels, Dtype dtype,
         std::size_t threads);

  // image: (image_size, image_size, 3); out: feature_dim floats.
  void features(const std::uint8_t* image, float* out);

  const SubVitShape& shape() const { return shape_; }
  const KernelTable& kernels() const { return kernels_; }
  Dtype dtype() const { return dtype_; }
  std::size_t threads() const { return pool_.threads(); }
  std::size_t memory_bytes() const { return weights_.bytes() + workspace_.bytes(); }

 private:
  void embed(const Executor& executor, const std::uint8_t* image);
  void pool_tokens(const Executor& executor, float* out);

  SubVitShape shape_;
  const KernelTable& kernels_;
  Dtype dtype_;
  Weights weights_;
  ThreadPool pool_;
  Workspace workspace_;
  std::mutex mutex_;
};

}  // namespace devit
