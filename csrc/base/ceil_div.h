#pragma once

#include <cstddef>

namespace devit {

// a / b, rounded up; b > 0.
constexpr std::size_t ceil_div(std::size_t a, std::size_t b) { return (a + b - 1) / b; }

}  // namespace devit
