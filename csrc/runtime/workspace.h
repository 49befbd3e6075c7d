#pragma once

#include <algorithm>
#include <cstddef>

#include "base/aligned_buffer.h"
#include "kernels/attention/attention_f32.h"
#include "kernels/registry.h"
#include "runtime/executor.h"
#include "runtime/patches.h"
#include "runtime/shape.h"
#include "runtime/weights.h"
#include "runtime/windows.h"

namespace devit {

// Every activation of one image, allocated once.
struct Workspace {
  // The residual stream, (tokens, embed_dim).
  AlignedBuffer<float> stream;
  // In turn the normed stream and the attention's output: neither outlives the other's birth.
  // Before them, what the tokenizer's layers but the last made.
  AlignedBuffer<float> narrow;
  // In turn Q, K, V and the hidden layer of the MLP. Before them, the tokenizer's convolutions.
  AlignedBuffer<float> wide;

  Workspace(const SubVitShape& shape, const Weights& weights, const KernelTable& kernels,
            std::size_t threads) {
    std::size_t inner = 0;
    std::size_t mlp_dim = 0;
    for (const BlockShape& block : shape.blocks) {
      inner = std::max(inner, block.heads * shape.head_dim);
      mlp_dim = std::max(mlp_dim, block.mlp_dim);
    }
    const std::size_t tokens = shape.tokens();
    std::size_t narrow_size = tokens * std::max(shape.embed_dim, inner);
    std::size_t wide_size = tokens * std::max(3 * inner, mlp_dim);
    // A CCT's pooling is attention too, of one head as wide as the stream.
    const std::size_t head_dim = std::max(shape.head_dim, shape.embed_dim);
    std::size_t needed =
        std::max(attention_f32_scratch(tokens, head_dim), kPatchRows * shape.patch_dim());
    for (const auto& [layer, kernel_rows] : weights.tokenizer) {
      const std::size_t channels = layer.conv.channels;
      narrow_size = std::max(narrow_size, layer.pooled() * layer.pooled() * channels);
      wide_size = std::max(wide_size, layer.convolved() * layer.convolved() * channels);
      for (const KernelRows& rows : kernel_rows) {
        needed = std::max(needed, kWindowRows * rows.linear.depth);
      }
    }
    stream = AlignedBuffer<float>(tokens * shape.embed_dim);
    narrow = AlignedBuffer<float>(narrow_size);
    wide = AlignedBuffer<float>(wide_size);
    scratch_stride_ = (needed + 15) / 16 * 16;  // threads share no cache line
    scratch_ = AlignedBuffer<float>(threads * scratch_stride_);
    size_narrowed(tokens, weights, kernels, threads);
  }

  // One thread's own memory for a tile of scores or some rows of pixels.
  float* scratch(std::size_t thread) { return scratch_.data() + thread * scratch_stride_; }

  // Room for a layer's narrowed input: one thread's rows of pixels, or all tokens from thread 0's
  // place on.
  NarrowRows narrowed(std::size_t thread) {
    return {narrowed_.data() + thread * narrowed_stride_, scales_.data() + thread * scale_stride_};
  }

  std::size_t bytes() const {
    return stream.bytes() + narrow.bytes() + wide.bytes() + scratch_.bytes() + narrowed_.bytes() +
           scales_.bytes();
  }

 private:
  void size_narrowed(std::size_t tokens, const Weights& weights, const KernelTable& kernels,
                     std::size_t threads) {
    std::size_t size = 0;
    for (const BlockWeights& block : weights.blocks) {
      for (const PackedLinear* layer : {&block.qkv, &block.proj, &block.fc1, &block.fc2}) {
        size = std::max(size, tokens * narrow_row_bytes(kernels, *layer));
      }
    }
    for (const auto& [layer, kernel_rows] : weights.tokenizer) {
      for (const KernelRows& rows : kernel_rows) {
        narrowed_stride_ =
            std::max(narrowed_stride_, kWindowRows * narrow_row_bytes(kernels, rows.linear));
      }
    }
    if (size == 0) return;  // all kernels take floats
    scale_stride_ = narrowed_stride_ == 0 ? 0 : kWindowRows;
    narrowed_ = AlignedBuffer<std::byte>(std::max(size, threads * narrowed_stride_));
    scales_ = AlignedBuffer<float>(std::max(tokens, threads * scale_stride_));
  }

  std::size_t narrowed_stride_ = 0;
  std::size_t scale_stride_ = 0;
  AlignedBuffer<std::byte> narrowed_;
  AlignedBuffer<float> scales_;
  std::size_t scratch_stride_;
  AlignedBuffer<float> scratch_;
};

}  // namespace devit
