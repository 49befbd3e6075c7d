#include "runtime/executor.h"

#include <algorithm>

namespace devit {
namespace {

constexpr std::size_t kTasksPerThread = 4;  // slack to even out cores of different speed
constexpr std::size_t kMaxTilesPerTask = 8;
constexpr std::size_t kMaxPanelsPerTask = 4;
constexpr std::size_t kNormRows = 16;

std::size_t ceil_div(std::size_t a, std::size_t b) { return (a + b - 1) / b; }

struct Portion {
  std::size_t row_begin;
  std::size_t row_end;
  std::size_t panel_begin;
  std::size_t panel_end;
};

// Calls run(portion) for portions that cover all of out; Gemm is GemmF32 or GemmI8.
template <typename Gemm, typename Run>
void spread(ThreadPool& pool, const Gemm& gemm, std::size_t rows, std::size_t cols,
            const Run& run) {
  const std::size_t tiles = ceil_div(rows, gemm.tile_rows);
  const std::size_t row_tasks = ceil_div(tiles, kMaxTilesPerTask);
  const std::size_t row_step = ceil_div(tiles, row_tasks) * gemm.tile_rows;
  const std::size_t panels = ceil_div(cols, gemm.tile_cols);
  const std::size_t panel_step = std::clamp<std::size_t>(
      panels * row_tasks / (kTasksPerThread * pool.threads()), 1, kMaxPanelsPerTask);
  // Consecutive tasks share their panels: weights, the larger side, come from memory once.
  pool.parallel_for(ceil_div(panels, panel_step) * row_tasks, [&](std::size_t task, std::size_t) {
    const std::size_t row = task % row_tasks * row_step;
    const std::size_t panel = task / row_tasks * panel_step;
    if (row >= rows) return;
    run({.row_begin = row,
         .row_end = std::min(row + row_step, rows),
         .panel_begin = panel,
         .panel_end = std::min(panel + panel_step, panels)});
  });
}

GemmF32Args portion_f32(const PackedLinear& layer, const float* a, float* out, Epilogue epilogue,
                        const Portion& portion) {
  return {.a = a,
          .panels = layer.panels.data(),
          .out = out,
          .depth = layer.depth,
          .cols = layer.cols,
          .a_stride = layer.depth,
          .out_stride = layer.cols,
          .row_begin = portion.row_begin,
          .row_end = portion.row_end,
          .panel_begin = portion.panel_begin,
          .panel_end = portion.panel_end,
          .epilogue = epilogue};
}

GemmI8Args portion_i8(const GemmI8& gemm, const PackedLinear& layer, QuantizedRows a, float* out,
                      Epilogue epilogue, const Portion& portion) {
  return {.a = a.rows,
          .a_scale = a.scales,
          .panels = layer.panels_i8.data(),
          .out = out,
          .depth = layer.depth,
          .cols = layer.cols,
          .a_stride = quantized_row_i8(layer.depth, gemm),
          .panel_stride = panel_i8(layer.depth, gemm),
          .out_stride = layer.cols,
          .row_begin = portion.row_begin,
          .row_end = portion.row_end,
          .panel_begin = portion.panel_begin,
          .panel_end = portion.panel_end,
          .epilogue = epilogue};
}

QuantizeI8Args rows_i8(const GemmI8& gemm, const PackedLinear& layer, const float* a,
                       QuantizedRows quantized, std::size_t row_begin, std::size_t row_end) {
  return {.x = a,
          .q = quantized.rows,
          .scale = quantized.scales,
          .depth = layer.depth,
          .x_stride = layer.depth,
          .q_stride = quantized_row_i8(layer.depth, gemm),
          .row_begin = row_begin,
          .row_end = row_end};
}

}  // namespace

void Executor::linear(const PackedLinear& layer, const float* a, QuantizedRows quantized,
                      float* out, std::size_t rows, Epilogue epilogue) const {
  if (!layer.is_int8()) {
    spread(pool, kernels.gemm_f32, rows, layer.cols, [&](const Portion& portion) {
      kernels.gemm_f32.run(portion_f32(layer, a, out, epilogue, portion));
    });
    return;
  }
  const GemmI8& gemm = kernels.gemm_i8;
  pool.parallel_for(ceil_div(rows, kNormRows), [&](std::size_t task, std::size_t) {
    const std::size_t begin = task * kNormRows;
    const std::size_t end = std::min(begin + kNormRows, rows);
    gemm.quantize(rows_i8(gemm, layer, a, quantized, begin, end));
  });
  spread(pool, gemm, rows, layer.cols, [&](const Portion& portion) {
    gemm.run(portion_i8(gemm, layer, quantized, out, epilogue, portion));
  });
}

void Executor::linear_here(const PackedLinear& layer, const float* a, QuantizedRows quantized,
                           float* out, std::size_t rows, Epilogue epilogue) const {
  const auto all = [&](std::size_t tile_cols) {
    return Portion{0, rows, 0, ceil_div(layer.cols, tile_cols)};
  };
  if (layer.is_int8()) {
    const GemmI8& gemm = kernels.gemm_i8;
    gemm.quantize(rows_i8(gemm, layer, a, quantized, 0, rows));
    gemm.run(portion_i8(gemm, layer, quantized, out, epilogue, all(gemm.tile_cols)));
  } else {
    const GemmF32& gemm = kernels.gemm_f32;
    gemm.run(portion_f32(layer, a, out, epilogue, all(gemm.tile_cols)));
  }
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
