#include "runtime/sub_vit.h"

#include <algorithm>
#include <utility>

#include "base/ceil_div.h"
#include "base/check.h"
#include "runtime/block.h"
#include "runtime/executor.h"
#include "runtime/patches.h"
#include "runtime/tokenizer.h"

namespace devit {
namespace {

constexpr std::size_t kMaxThreads = 1024;

SubVitShape validated(SubVitShape shape) {
  shape.validate();
  return shape;
}

std::size_t crew(std::size_t threads) {
  require(threads <= kMaxThreads, "threads must be at most " + std::to_string(kMaxThreads));
  return threads == 0 ? available_cpus() : threads;
}

}  // namespace

SubVit::SubVit(SubVitShape shape, TensorSource& source, const KernelTable& kernels, Dtype dtype,
               std::size_t threads)
    : shape_(validated(std::move(shape))),
      kernels_(kernels),
      dtype_(dtype),
      weights_(load_weights(shape_, kernels, dtype, source)),
      pool_(crew(threads)),
      workspace_(shape_, weights_, kernels, pool_.threads()) {}

void SubVit::features(const std::uint8_t* image, float* out) {
  const std::lock_guard lock(mutex_);
  const Executor executor{kernels_, pool_};
  if (shape_.tokenizer.empty()) {
    embed(executor, image);
  } else {
    run_tokenizer(executor, weights_, workspace_, image);
  }
  for (const BlockWeights& block : weights_.blocks) {
    const bool last = &block == &weights_.blocks.back();
    run_block(executor, shape_, block, workspace_, last ? shape_.read_tokens() : shape_.tokens());
  }
  if (shape_.tokenizer.empty()) {
    executor.layer_norm(workspace_.stream.data(), out, shape_.prefix_tokens, shape_.embed_dim,
                        shape_.norm_eps);
  } else {
    pool_tokens(executor, out);
  }
}

// stream = pos_embed, plus the patches times their weight.
void SubVit::embed(const Executor& executor, const std::uint8_t* image) {
  const std::size_t dim = shape_.embed_dim;
  const PackedLinear& layer = weights_.patch_embed;
  const bool in_bytes = layer.dtype == Dtype::kInt8;
  std::copy_n(weights_.pos_embed.data(), weights_.pos_embed.size(), workspace_.stream.data());
  float* patch_rows = workspace_.stream.data() + shape_.prefix_tokens * dim;
  const std::size_t tasks = ceil_div(shape_.patches(), kPatchRows);
  pool_.parallel_for(tasks, [&](std::size_t task, std::size_t thread) {
    const std::size_t begin = task * kPatchRows;
    const std::size_t end = std::min(begin + kPatchRows, shape_.patches());
    float* out = patch_rows + begin * dim;
    const ConvertedRows converted = workspace_.converted(thread);
    if (in_bytes && kernels_.gemm_i8.activation_bytes == 1) {
      unfold_patches_i8(
          shape_, image, begin, end, kPixelOffset - kernels_.gemm_i8.activation_offset,
          converted_row_bytes(kernels_, layer), reinterpret_cast<std::uint8_t*>(converted.rows));
      std::fill_n(converted.scales, end - begin, 1.0f);
      executor.linear_converted(layer, converted, out, end - begin, Epilogue::kResidual);
    } else {
      float* pixels = workspace_.scratch(thread);
      unfold_patches(shape_, image, begin, end, in_bytes ? kPixelOffset : 0, pixels);
      executor.linear_here(layer, pixels, converted, out, end - begin, Epilogue::kResidual);
    }
  });
}

// Sequence pooling (Hassani et al. 2021, eq. 3 to 5) is attention with a query that was learnt, and
// the normed tokens as keys and values.
void SubVit::pool_tokens(const Executor& executor, float* out) {
  const std::size_t dim = shape_.embed_dim;
  float* tokens = workspace_.narrow.data();
  executor.layer_norm(workspace_.stream.data(), tokens, shape_.tokens(), dim, shape_.norm_eps);
  kernels_.attention_f32.run({.q = weights_.pool.data(),
                              .k = tokens,
                              .v = tokens,
                              .out = out,
                              .scratch = workspace_.scratch(0),
                              .tokens = shape_.tokens(),
                              .head_dim = dim,
                              .qkv_stride = dim,
                              .out_stride = dim,
                              .row_begin = 0,
                              .row_end = 1});
}

}  // namespace devit
