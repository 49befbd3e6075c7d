#pragma once

#include <stdexcept>
#include <string>

namespace devit {

// Throws std::invalid_argument (ValueError in Python) unless `condition` holds.
inline void require(bool condition, const std::string& message) {
  if (!condition) throw std::invalid_argument(message);
}

}  // namespace devit
