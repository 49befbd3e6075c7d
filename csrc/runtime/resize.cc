#include "runtime/resize.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/check.h"

namespace devit {
namespace {

// In Pillow's order of operations.
double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

double bilinear(double x) {
  x = std::abs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

// The weight at a distance from the output, and the distance from which on it is 0.
struct Kernel {
  double (*weight)(double);
  double support;
};

Kernel kernel_of(Interpolation interpolation) {
  if (interpolation == Interpolation::kBilinear) return {bilinear, 1.0};
  return {bicubic, 2.0};
}

// The weights of one axis's outputs, and their memory.
class Weights {
 public:
  Weights(const ResizeAxis& axis, const Kernel& kernel) {
    require(axis.size > 0 && axis.count > 0, "an axis of the picture or the window is empty");
    require(axis.count <= axis.full && axis.begin <= axis.full - axis.count,
            "the window reaches out of the resized picture");
    const double inputs = static_cast<double>(axis.size);
    require(axis.extent <= inputs && axis.extent > inputs - 1.0,
            "the picture's extent does not end in its last row or column");
    const double scale = axis.extent / static_cast<double>(axis.full);
    const double stretch = std::max(scale, 1.0);
    const double support = kernel.support * stretch;
    taps_ = static_cast<std::size_t>(std::ceil(support)) * 2 + 2;
    begin_.resize(axis.count);
    count_.resize(axis.count);
    high_.resize(axis.count * taps_);
    low_.resize(axis.count * taps_);
    std::vector<double> values(taps_);
    for (std::size_t j = 0; j < axis.count; ++j) {
      const double centre = (static_cast<double>(axis.begin + j) + 0.5) * scale;
      const auto first = static_cast<std::size_t>(std::max(centre - support + 0.5, 0.0));
      const auto last = static_cast<std::size_t>(std::min(centre + support + 0.5, inputs));
      double sum = 0.0;
      for (std::size_t i = first; i < last; ++i) {
        const double distance = static_cast<double>(i) - centre + 0.5;
        values[i - first] = kernel.weight(distance * (1.0 / stretch));
        sum += values[i - first];
      }
      // An odd number of inputs gets one more, of weight 0, where there is one: vectors take pairs.
      const std::size_t odd = (last - first) % 2;
      const std::size_t before = odd == 1 && last == axis.size && first > 0 ? 1 : 0;
      const std::size_t after = odd == 1 && last < axis.size ? 1 : 0;
      begin_[j] = static_cast<std::uint32_t>(first - before);
      count_[j] = static_cast<std::uint32_t>(last + after - begin_[j]);
      for (std::size_t t = 0; t < last - first; ++t) {
        store(j * taps_ + before + t, values[t] / sum);
      }
    }
  }

  ResizeFilter filter() const {
    return {.begin = begin_.data(),
            .count = count_.data(),
            .high = high_.data(),
            .low = low_.data(),
            .taps = taps_};
  }

  // The inputs of all outputs: [first, last).
  std::size_t first() const { return begin_.front(); }
  std::size_t last() const { return begin_.back() + count_.back(); }

  void count_inputs_from(std::size_t first) {
    for (std::uint32_t& begin : begin_) begin -= static_cast<std::uint32_t>(first);
  }

 private:
  void store(std::size_t at, double value) {
    const double scaled = value * (1 << kResizeWeightBits);
    const auto weight = static_cast<std::int32_t>(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
    const std::int32_t high = weight >> kResizeLowBits;
    high_[at] = static_cast<std::int16_t>(high);
    low_[at] = static_cast<std::int16_t>(weight - high * (1 << kResizeLowBits));
  }

  std::vector<std::uint32_t> begin_, count_;
  std::vector<std::int16_t> high_, low_;
  std::size_t taps_;
};

}  // namespace

void resize_window(const ResizeU8& kernels, const std::uint8_t* in, std::uint8_t* out,
                   const ResizeAxis& rows, const ResizeAxis& cols, Interpolation interpolation) {
  const Kernel kernel = kernel_of(interpolation);
  const Weights columns(cols, kernel);
  Weights lines(rows, kernel);
  const std::size_t first = lines.first();
  const std::size_t needed = lines.last() - first;
  lines.count_inputs_from(first);
  const std::size_t in_stride = 4 * cols.size;
  const std::size_t bytes = 3 * cols.count;
  std::vector<std::uint8_t> between(needed * bytes);
  kernels.columns({.in = in + first * in_stride,
                   .out = between.data(),
                   .filter = columns.filter(),
                   .rows = needed,
                   .cols = cols.count,
                   .in_stride = in_stride,
                   .out_stride = bytes});
  kernels.rows({.in = between.data(),
                .out = out,
                .filter = lines.filter(),
                .rows = rows.count,
                .bytes = bytes,
                .in_stride = bytes});
}

}  // namespace devit
