#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "base/aligned_buffer.h"
#include "kernels/attention/attention_f16.h"
#include "kernels/attention/attention_f32.h"
#include "kernels/registry.h"
#include "runtime/attention.h"
#include "runtime/executor.h"
#include "runtime/patches.h"
#include "runtime/shape.h"
#include "runtime/weights.h"
#include "runtime/windows.h"

namespace devit {

// Every activation of one image, allocated once.
//
// Shapes    each buffer is as large as the largest of the matrices that take turns in it; all of
//           them are dense and begin at the buffer's first number:
//           stream  (tokens, embed_dim), the residual stream
//           narrow  (tokens, embed_dim), a normed stream; (tokens, heads * head_dim), attention's
//                   output; (pooled, pooled, channels), the map between two layers of a tokenizer
//           wide    (tokens, 3 * heads * head_dim), Q, K and V side by side, each head by head;
//                   (tokens, mlp_dim), the hidden layer or some of its rows; (convolved,
//                   convolved, channels), a map before its pooling
//           heads   one for each head, where attention is computed in halves; head_memory() says
//                   where they lie
// Needs     `shape` is valid, `weights` are of it and packed for `kernels`; `threads` counts every
//           thread that calls scratch() or converted(), which are numbered from 0.
// State     the constructor allocates, nothing else does. One image at a time; what one step wrote
//           is gone when a later one writes to the same buffer.
struct Workspace {
  AlignedBuffer<float> stream;
  AlignedBuffer<float> narrow;
  AlignedBuffer<float> wide;
  std::vector<HeadF16> heads;

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
        std::max({attention_f32_scratch(tokens, head_dim), attention_f16_scratch(tokens),
                  kPatchRows * shape.patch_dim(), kNormRows * shape.embed_dim});
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
    size_converted(shape, weights, kernels, threads);
  }

  // One thread's own memory: a tile of attention's scores (attention_f32_scratch() floats, or
  // attention_f16_scratch()), or kPatchRows patches, or kNormRows rows of the stream, or what
  // kWindowRows windows of a convolution see. Threads share no cache line of it.
  float* scratch(std::size_t thread) { return scratch_.data() + thread * scratch_stride_; }
  ThreadFloats thread_floats() { return {scratch_.data(), scratch_stride_}; }

  // Room for a layer's input in fewer bits. The tasks of a convolution, or of the patch embedding,
  // run side by side, so each thread has its own kWindowRows or kPatchRows rows. All tokens of a
  // block's layer are in converted(0), which reaches over other threads' places: the two uses must
  // not overlap in time. For an MLP it holds fc1's input, and behind that fc2's.
  ConvertedRows converted(std::size_t thread) {
    return {converted_.data() + thread * converted_stride_,
            scales_.data() + thread * scale_stride_};
  }

  // Where a head lies in halves, in the memory of converted(0): the two uses must not overlap in
  // time.
  HeadF16 head_memory(const SubVitShape& shape, std::size_t head) {
    const std::size_t rows = packed_rows_f16(shape.tokens(), shape.head_dim);
    Half* keys = reinterpret_cast<Half*>(converted_.data() + head * packed_head_bytes(shape));
    return {keys + 2 * rows, keys, keys + rows, 0.0f, 0.0f};
  }

  std::size_t bytes() const {
    return stream.bytes() + narrow.bytes() + wide.bytes() + scratch_.bytes() + converted_.bytes() +
           scales_.bytes();
  }

 private:
  void size_converted(const SubVitShape& shape, const Weights& weights, const KernelTable& kernels,
                      std::size_t threads) {
    const std::size_t tokens = shape.tokens();
    std::size_t size = 0;
    for (const BlockWeights& block : weights.blocks) {
      if (attends_in_halves(kernels, shape, block)) {
        size = std::max(size, block.heads * packed_head_bytes(shape));
        heads.resize(std::max(heads.size(), block.heads));
      }
      for (const PackedLinear* layer : {&block.qkv, &block.proj}) {
        size = std::max(size, tokens * converted_row_bytes(kernels, *layer));
      }
      size = std::max(size, tokens * (converted_row_bytes(kernels, block.fc1) +
                                      converted_row_bytes(kernels, block.fc2)));
    }
    std::size_t own_rows = 0;
    const auto reserve = [&](std::size_t rows, const PackedLinear& layer) {
      const std::size_t bytes = rows * converted_row_bytes(kernels, layer);
      if (bytes != 0) own_rows = std::max(own_rows, rows);
      converted_stride_ = std::max(converted_stride_, bytes);
    };
    if (weights.tokenizer.empty()) reserve(kPatchRows, weights.patch_embed);
    for (const auto& [layer, kernel_rows] : weights.tokenizer) {
      for (const KernelRows& rows : kernel_rows) reserve(kWindowRows, rows.linear);
    }
    if (size == 0 && own_rows == 0) return;     // all kernels take floats
    scale_stride_ = (own_rows + 15) / 16 * 16;  // threads share no cache line
    converted_ = AlignedBuffer<std::byte>(std::max(size, threads * converted_stride_));
    scales_ = AlignedBuffer<float>(std::max(2 * tokens, threads * scale_stride_));
  }

  std::size_t converted_stride_ = 0;
  std::size_t scale_stride_ = 0;
  AlignedBuffer<std::byte> converted_;
  AlignedBuffer<float> scales_;
  std::size_t scratch_stride_;
  AlignedBuffer<float> scratch_;
};

}  // namespace devit
