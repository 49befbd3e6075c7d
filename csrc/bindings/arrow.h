#pragma once

#include <cstddef>
#include <cstdint>

#include "base/check.h"

// The array of the Arrow C data interface: https://arrow.apache.org/docs/format/CDataInterface.html
// The layout is fixed there for good.
struct ArrowArray {
  std::int64_t length;
  std::int64_t null_count;
  std::int64_t offset;
  std::int64_t n_buffers;
  std::int64_t n_children;
  const void** buffers;
  ArrowArray** children;
  ArrowArray* dictionary;
  void (*release)(ArrowArray*);
  void* private_data;
};

namespace devit {

struct ArrowBytes {
  const std::uint8_t* data;
  std::size_t size;
};

// The uint8 values of `array`, or of its one child if it is an array of lists.
// Throws std::invalid_argument if it is neither, or was released.
inline ArrowBytes arrow_bytes_of(const ArrowArray* array) {
  require(array->release != nullptr, "the Arrow array was released");
  const ArrowArray* values = array->n_children == 1 ? array->children[0] : array;
  require(values->n_children == 0 && values->n_buffers == 2 && values->offset == 0 &&
              values->length >= 0 && values->buffers[1] != nullptr,
          "the Arrow array is no array of bytes");
  return {static_cast<const std::uint8_t*>(values->buffers[1]),
          static_cast<std::size_t>(values->length)};
}

}  // namespace devit
