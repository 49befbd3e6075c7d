#include "kernels/resize/resize_u8_inl.h"

namespace devit {

void resize_columns_u8_scalar(const ResizeColumnsArgs& args) {
  resize_columns_plain(args, 0, args.rows);
}

void resize_rows_u8_scalar(const ResizeRowsArgs& args) {
  for (std::size_t row = 0; row < args.rows; ++row) resize_row_plain(args, row, 0);
}

}  // namespace devit
