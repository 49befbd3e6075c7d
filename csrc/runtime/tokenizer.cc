#include "runtime/tokenizer.h"

#include <algorithm>

#include "base/ceil_div.h"
#include "runtime/max_pool.h"
#include "runtime/windows.h"

namespace devit {

void run_tokenizer(const Executor& executor, const Weights& weights, Workspace& workspace,
                   const std::uint8_t* image) {
  float* wide = workspace.wide.data();
  for (const ConvWeights& conv : weights.tokenizer) {
    const ConvLayer& layer = conv.layer;
    const bool first = &conv == &weights.tokenizer.front();
    const bool last = &conv == &weights.tokenizer.back();
    const std::size_t channels = layer.conv.channels;
    const std::size_t windows = layer.convolved() * layer.convolved();
    executor.pool.parallel_for(
        ceil_div(windows, kWindowRows), [&](std::size_t task, std::size_t thread) {
          const std::size_t begin = task * kWindowRows;
          const std::size_t end = std::min(begin + kWindowRows, windows);
          float* pixels = workspace.scratch(thread);
          Epilogue epilogue = Epilogue::kNone;
          for (const KernelRows& rows : conv.rows) {
            const Windows seen{begin, end, rows.begin, rows.end};
            if (first) {
              unfold_windows(layer, image, weights.offset.data(), seen, pixels);
            } else {
              unfold_windows(layer, workspace.narrow.data(), seen, pixels);
            }
            executor.linear_here(rows.linear, pixels, workspace.converted(thread),
                                 wide + begin * channels, end - begin, epilogue);
            epilogue = Epilogue::kResidual;
          }
        });
    float* pooled = last ? workspace.stream.data() : workspace.narrow.data();
    executor.pool.parallel_for(layer.pooled(), [&](std::size_t row, std::size_t) {
      const std::size_t begin = row * layer.pooled() * channels;
      const std::size_t end = begin + layer.pooled() * channels;
      max_pool_row(wide, layer.convolved(), channels, row, pooled + begin);
      if (!last) return;
      const float* position = weights.pos_embed.data();
      for (std::size_t i = begin; i < end; ++i) pooled[i] += position[i];
    });
  }
}

}  // namespace devit
