#pragma once

#include <algorithm>
#include <cstddef>

#include "base/aligned_buffer.h"
#include "kernels/attention_f32.h"
#include "kernels/gemm_i8.h"
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

  Workspace(const SubVitShape& shape, const Weights& weights, const GemmI8& gemm_i8,
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
    size_quantized(tokens, weights, gemm_i8, threads);
  }

  // One thread's own memory for a tile of scores or some rows of pixels.
  float* scratch(std::size_t thread) { return scratch_.data() + thread * scratch_stride_; }

  // Room for a layer's quantised input: one thread's rows of pixels, or all tokens from thread 0's
  // place on.
  QuantizedRows quantized(std::size_t thread) {
    return {quantized_.data() + thread * quantized_stride_,
            scales_.data() + thread * scale_stride_};
  }

  std::size_t bytes() const {
    return stream.bytes() + narrow.bytes() + wide.bytes() + scratch_.bytes() + quantized_.bytes() +
           scales_.bytes();
  }

 private:
  void size_quantized(std::size_t tokens, const Weights& weights, const GemmI8& gemm,
                      std::size_t threads) {
    std::size_t size = 0;
    const auto row = [&](const PackedLinear& layer) {
      return layer.is_int8() ? quantized_row_i8(layer.depth, gemm) : 0;
    };
    for (const BlockWeights& block : weights.blocks) {
      for (const PackedLinear* layer : {&block.qkv, &block.proj, &block.fc1, &block.fc2}) {
        size = std::max(size, tokens * row(*layer));
      }
    }
    for (const auto& [layer, kernel_rows] : weights.tokenizer) {
      for (const KernelRows& rows : kernel_rows) {
        quantized_stride_ = std::max(quantized_stride_, kWindowRows * row(rows.linear));
      }
    }
    if (size == 0) return;  // float32
    scale_stride_ = quantized_stride_ == 0 ? 0 : kWindowRows;
    quantized_ = AlignedBuffer<std::byte>(std::max(size, threads * quantized_stride_));
    scales_ = AlignedBuffer<float>(std::max(tokens, threads * scale_stride_));
  }

  std::size_t quantized_stride_ = 0;
  std::size_t scale_stride_ = 0;
  AlignedBuffer<std::byte> quantized_;
  AlignedBuffer<float> scales_;
  std::size_t scratch_stride_;
  AlignedBuffer<float> scratch_;
};

}  // namespace devit
