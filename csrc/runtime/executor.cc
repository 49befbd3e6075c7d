#include "runtime/executor.h"

#include <algorithm>

namespace devit {
namespace {

constexpr std::size_t kTasksPerThread = 4;  // slack to even out cores of different speed
constexpr std::size_t kMaxTilesPerTask = 8;
constexpr std::size_t kMaxPanelsPerTask = 4;
constexpr std::size_t kNormRows = 16;

std::size_t ceil_div(std::size_t a, std::size_t b) { return (a + b - 1) / b; }

}  // namespace

void Executor::linear(const PackedLinear& layer, const float* a, float* out, std::size_t rows,
                      Epilogue epilogue) const {
  const GemmF32& gemm = kernels.gemm_f32;
  const std::size_t tiles = ceil_div(rows, gemm.tile_rows);
  const std::size_t row_tasks = ceil_div(tiles, kMaxTilesPerTask);
  const std::size_t row_step = ceil_div(tiles, row_tasks) * gemm.tile_rows;
  const std::size_t panels = ceil_div(layer.cols, gemm.tile_cols);
  const std::size_t panel_step = std::clamp<std::size_t>(
      panels * row_tasks / (kTasksPerThread * pool.threads()), 1, kMaxPanelsPerTask);
  // Consecutive tasks share their panels: weights, the larger side, come from memory once.
  pool.parallel_for(ceil_div(panels, panel_step) * row_tasks, [&](std::size_t task, std::size_t) {
    const std::size_t row = task % row_tasks * row_step;
    const std::size_t panel = task / row_tasks * panel_step;
    if (row >= rows) return;
    gemm.run({.a = a,
              .panels = layer.panels.data(),
              .out = out,
              .depth = layer.depth,
              .cols = layer.cols,
              .a_stride = layer.depth,
              .out_stride = layer.cols,
              .row_begin = row,
              .row_end = std::min(row + row_step, rows),
              .panel_begin = panel,
              .panel_end = std::min(panel + panel_step, panels),
              .epilogue = epilogue});
  });
}

void Executor::linear_here(const PackedLinear& layer, const float* a, float* out, std::size_t rows,
                           Epilogue epilogue) const {
  const GemmF32& gemm = kernels.gemm_f32;
  gemm.run({.a = a,
            .panels = layer.panels.data(),
            .out = out,
            .depth = layer.depth,
            .cols = layer.cols,
            .a_stride = layer.depth,
            .out_stride = layer.cols,
            .row_begin = 0,
            .row_end = rows,
            .panel_begin = 0,
            .panel_end = ceil_div(layer.cols, gemm.tile_cols),
            .epilogue = epilogue});
}

void Executor::layer_norm(const float* x, float* out, std::size_t rows, std::size_t dim,
                          float eps) const {
  pool.parallel_for(ceil_div(rows, kNormRows), [&](std::size_t task, std::size_t) {
    kernels.layer_norm_f32({.x = x,
                            .out = out,
                            .dim = dim,
                            .x_stride = dim,
                            .out_stride = dim,
                            .row_begin = task * kNormRows,
                            .row_end = std::min((task + 1) * kNormRows, rows),
                            .eps = eps});
  });
}

void Executor::layer_norm_in_place(float* x, const float* scale, const float* shift,
                                   std::size_t rows, std::size_t dim, float eps) const {
  pool.parallel_for(ceil_div(rows, kNormRows), [&](std::size_t task, std::size_t) {
    const std::size_t begin = task * kNormRows;
    const std::size_t end = std::min(begin + kNormRows, rows);
    kernels.layer_norm_f32({.x = x,
                            .out = x,
                            .dim = dim,
                            .x_stride = dim,
                            .out_stride = dim,
                            .row_begin = begin,
                            .row_end = end,
                            .eps = eps});
    for (float* row = x + begin * dim; row != x + end * dim; row += dim) {
      for (std::size_t i = 0; i < dim; ++i) row[i] = row[i] * scale[i] + shift[i];
    }
  });
}

}  // namespace devit
