#include "runtime/executor.h"

#include <algorithm>

#include "base/ceil_div.h"

namespace devit {
namespace {

constexpr std::size_t kTasksPerThread = 4;  // slack to even out cores of different speed
constexpr std::size_t kMaxTilesPerTask = 8;
constexpr std::size_t kMaxTilesPerWideTask = 40;    // 197 tokens and more
constexpr std::size_t kMaxWideTaskBytes = 320'000;  // activations that a cache of 512 kB keeps
constexpr std::size_t kMaxPanelsPerTask = 4;

struct Portion {
  std::size_t row_begin;
  std::size_t row_end;
  std::size_t panel_begin;
  std::size_t panel_end;
};

// Rows of one task, in tiles. Where weights become floats first, they do so once in a task: it is
// larger, if there are tasks enough for all threads, but each panel reads its activations again.
template <typename Gemm>
std::size_t max_tiles(const Gemm&, const PackedLinear&, std::size_t, std::size_t) {
  return kMaxTilesPerTask;
}

std::size_t max_tiles(const GemmF16& gemm, const PackedLinear& layer, std::size_t panels,
                      std::size_t threads) {
  const bool wide = gemm.round == nullptr && (threads == 1 || panels >= kTasksPerThread * threads);
  if (!wide) return kMaxTilesPerTask;
  const std::size_t tile_bytes = gemm.tile_rows * layer.depth * sizeof(float);
  return std::clamp(kMaxWideTaskBytes / tile_bytes, kMaxTilesPerTask, kMaxTilesPerWideTask);
}

// Calls run(portion) for portions that cover all of out; Gemm is GemmF32, GemmF16 or GemmI8.
template <typename Gemm, typename Run>
void spread(ThreadPool& pool, const Gemm& gemm, const PackedLinear& layer, std::size_t rows,
            const Run& run) {
  const std::size_t tiles = ceil_div(rows, gemm.tile_rows);
  const std::size_t panels = ceil_div(layer.cols, gemm.tile_cols);
  const std::size_t row_tasks = ceil_div(tiles, max_tiles(gemm, layer, panels, pool.threads()));
  const std::size_t row_step = ceil_div(tiles, row_tasks) * gemm.tile_rows;
  const std::size_t panel_step = std::clamp<std::size_t>(
      panels * row_tasks / (kTasksPerThread * pool.threads()), 1, kMaxPanelsPerTask);
  // Consecutive tasks share their panels: weights, the larger side, come from memory once. Rows are
  // passed there and back: where they are more than a cache holds, it has the latest ones.
  pool.parallel_for(ceil_div(panels, panel_step) * row_tasks, [&](std::size_t task, std::size_t) {
    const std::size_t pass = task / row_tasks;
    const std::size_t step = task % row_tasks;
    const std::size_t row = (pass % 2 == 0 ? step : row_tasks - 1 - step) * row_step;
    const std::size_t panel = pass * panel_step;
    if (row >= rows) return;
    run({.row_begin = row,
         .row_end = std::min(row + row_step, rows),
         .panel_begin = panel,
         .panel_end = std::min(panel + panel_step, panels)});
  });
}

// A kernel's arguments, one overload for each; `converted` is for those that take no floats.
GemmF32Args arguments(const GemmF32&, const PackedLinear& layer, const float* a, ConvertedRows,
                      float* out, Epilogue epilogue, const Portion& portion) {
  return {.a = a,
          .panels = reinterpret_cast<const float*>(layer.panels.data()),
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

GemmF16Args arguments(const GemmF16& gemm, const PackedLinear& layer, const float* a,
                      ConvertedRows converted, float* out, Epilogue epilogue,
                      const Portion& portion) {
  const bool halves = gemm.round != nullptr;
  return {.a = halves ? static_cast<const void*>(converted.rows) : a,
          .a_scale = converted.scales,
          .panels = layer.panels.data(),
          .out = out,
          .depth = layer.depth,
          .cols = layer.cols,
          .a_stride = halves ? rounded_row_f16(layer.depth) : layer.depth,
          .panel_stride = panel_f16(layer.depth, gemm.tile_cols),
          .out_stride = layer.cols,
          .row_begin = portion.row_begin,
          .row_end = portion.row_end,
          .panel_begin = portion.panel_begin,
          .panel_end = portion.panel_end,
          .epilogue = epilogue};
}

GemmI8Args arguments(const GemmI8& gemm, const PackedLinear& layer, const float*,
                     ConvertedRows converted, float* out, Epilogue epilogue,
                     const Portion& portion) {
  return {.a = converted.rows,
          .a_scale = converted.scales,
          .panels = layer.panels.data(),
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

// Calls use(gemm) with the kernels for a layer of `dtype`.
template <typename Use>
void with_gemm(const KernelTable& kernels, Dtype dtype, const Use& use) {
  switch (dtype) {
    case Dtype::kFloat32:
      return use(kernels.gemm_f32);
    case Dtype::kFloat16:
      return use(kernels.gemm_f16);
    case Dtype::kInt8:
      return use(kernels.gemm_i8);
  }
}

// Writes `rows` rows of `a` as the layer's kernel takes them; converted_row_bytes() is not 0.
void convert_rows(const KernelTable& kernels, const PackedLinear& layer, const float* a,
                  ConvertedRows converted, std::size_t rows) {
  if (layer.dtype == Dtype::kInt8) {
    kernels.gemm_i8.quantize({.x = a,
                              .q = converted.rows,
                              .scale = converted.scales,
                              .depth = layer.depth,
                              .x_stride = layer.depth,
                              .q_stride = quantized_row_i8(layer.depth, kernels.gemm_i8),
                              .row_begin = 0,
                              .row_end = rows});
  } else {
    kernels.gemm_f16.round({.x = a,
                            .q = reinterpret_cast<Half*>(converted.rows),
                            .scale = converted.scales,
                            .depth = layer.depth,
                            .x_stride = layer.depth,
                            .q_stride = rounded_row_f16(layer.depth),
                            .row_begin = 0,
                            .row_end = rows,
                            .limit = layer.limit});
  }
}

// A whole layer on the calling thread.
void run_here(const KernelTable& kernels, const PackedLinear& layer, const float* a,
              ConvertedRows converted, float* out, std::size_t rows, Epilogue epilogue) {
  with_gemm(kernels, layer.dtype, [&](const auto& gemm) {
    const Portion all{0, rows, 0, ceil_div(layer.cols, gemm.tile_cols)};
    gemm.run(arguments(gemm, layer, a, converted, out, epilogue, all));
  });
}

}  // namespace

std::size_t converted_row_bytes(const KernelTable& kernels, const PackedLinear& layer) {
  if (layer.dtype == Dtype::kInt8) return quantized_row_i8(layer.depth, kernels.gemm_i8);
  const bool halves = layer.dtype == Dtype::kFloat16 && kernels.gemm_f16.round != nullptr;
  return halves ? rounded_row_f16(layer.depth) * sizeof(Half) : 0;
}

void Executor::linear(const PackedLinear& layer, const float* a, ConvertedRows converted,
                      float* out, std::size_t rows, Epilogue epilogue) const {
  if (converted_row_bytes(kernels, layer) != 0) convert(layer, a, converted, rows);
  multiply(layer, a, converted, out, rows, epilogue);
}

void Executor::convert(const PackedLinear& layer, const float* a, ConvertedRows converted,
                       std::size_t rows) const {
  const std::size_t row_bytes = converted_row_bytes(kernels, layer);
  pool.parallel_for(ceil_div(rows, kNormRows), [&](std::size_t task, std::size_t) {
    const std::size_t begin = task * kNormRows;
    convert_rows(kernels, layer, a + begin * layer.depth, converted.from(begin, row_bytes),
                 std::min(kNormRows, rows - begin));
  });
}

void Executor::convert_normed(const PackedLinear& layer, const float* x, ThreadFloats normed,
                              ConvertedRows converted, std::size_t rows, float eps) const {
  const std::size_t row_bytes = converted_row_bytes(kernels, layer);
  pool.parallel_for(ceil_div(rows, kNormRows), [&](std::size_t task, std::size_t thread) {
    const std::size_t begin = task * kNormRows;
    const std::size_t count = std::min(kNormRows, rows - begin);
    float* floats = normed.data + thread * normed.stride;
    kernels.layer_norm_f32({.x = x + begin * layer.depth,
                            .out = floats,
                            .dim = layer.depth,
                            .x_stride = layer.depth,
                            .out_stride = layer.depth,
                            .row_begin = 0,
                            .row_end = count,
                            .eps = eps});
    convert_rows(kernels, layer, floats, converted.from(begin, row_bytes), count);
  });
}

void Executor::multiply(const PackedLinear& layer, const float* a, ConvertedRows converted,
                        float* out, std::size_t rows, Epilogue epilogue) const {
  with_gemm(kernels, layer.dtype, [&](const auto& gemm) {
    spread(pool, gemm, layer, rows, [&](const Portion& portion) {
      gemm.run(arguments(gemm, layer, a, converted, out, epilogue, portion));
    });
  });
}

void Executor::linear_here(const PackedLinear& layer, const float* a, ConvertedRows converted,
                           float* out, std::size_t rows, Epilogue epilogue) const {
  if (converted_row_bytes(kernels, layer) != 0) convert_rows(kernels, layer, a, converted, rows);
  run_here(kernels, layer, a, converted, out, rows, epilogue);
}

void Executor::linear_converted(const PackedLinear& layer, ConvertedRows converted, float* out,
                                std::size_t rows, Epilogue epilogue) const {
  run_here(kernels, layer, nullptr, converted, out, rows, epilogue);
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
