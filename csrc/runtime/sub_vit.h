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
