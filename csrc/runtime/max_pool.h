#pragma once

#include <cstddef>

namespace devit {

// One row of ReLU and max pooling over 3 x 3 pixels, every second row and column, edges padded by
// one (Hassani et al. 2021, eq. 2).
//
//   out[x][c] = max(0, max_{i, j in -1 .. 1} map[2 row + i][2 x + j][c])
//
// where the maximum is over what lies inside the map: it and ReLU commute.
//
// Shapes    map: (side, side, channels), out: ((side - 1) / 2 + 1, channels)
// Needs     row <= (side - 1) / 2; out does not overlap the map
// Accuracy  exact
// State     none: no allocation, no lock, no global.
void max_pool_row(const float* map, std::size_t side, std::size_t channels, std::size_t row,
                  float* out);

}  // namespace devit
