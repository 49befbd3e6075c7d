#pragma once

#include <cstddef>

// Include simd_<isa>.h first, in a block of its own.
namespace devit {
namespace {

// Factors that are broadcast: element (i, k) is data[i * row + k * step].
struct BroadcastFactors {
  const float* data;
  std::size_t row;
  std::size_t step;
};

// Factors that are vectors: those of k begin at data[k * step].
struct VectorFactors {
  const float* data;
  std::size_t step;
};

// How much of a vector there is in memory.
struct WholeVectors {
  static Vec load(const float* p) { return devit::load(p); }
  static void store(float* p, Vec a) { devit::store(p, a); }
};
constexpr WholeVectors whole_vectors;

struct FirstLanes {
  std::size_t count;  // < Vec::kLanes
  Vec load(const float* p) const { return load_partial(p, count); }
  void store(float* p, Vec a) const { store_partial(p, a, count); }
};

template <std::size_t rows, std::size_t vecs>
inline void fill(Vec (&acc)[rows][vecs], Vec value) {
#pragma GCC unroll 16
  for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 16
    for (std::size_t j = 0; j < vecs; ++j) acc[i][j] = value;
  }
}

// acc[i][...] += sum_k a(i, k) * b(k, ...), k in ascending order: the core of every matrix product
// here. All of acc stays in registers.
template <std::size_t rows, std::size_t vecs, typename Part>
inline void add_outer_products(BroadcastFactors a, VectorFactors b, std::size_t depth, Part part,
                               Vec (&acc)[rows][vecs]) {
  for (std::size_t k = 0; k < depth; ++k, b.data += b.step) {
    Vec w[vecs];
#pragma GCC unroll 16
    for (std::size_t j = 0; j < vecs; ++j) w[j] = part.load(b.data + j * Vec::kLanes);
#pragma GCC unroll 16
    for (std::size_t i = 0; i < rows; ++i) {
      const Vec x = broadcast(a.data[i * a.row + k * a.step]);
#pragma GCC unroll 16
      for (std::size_t j = 0; j < vecs; ++j) acc[i][j] = fma(x, w[j], acc[i][j]);
    }
  }
}

}  // namespace
}  // namespace devit
