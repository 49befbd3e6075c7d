#pragma once

#include <cstddef>

#include "runtime/executor.h"
#include "runtime/shape.h"
#include "runtime/weights.h"
#include "runtime/workspace.h"

namespace devit {

// One pre-norm transformer block on workspace.stream (Dosovitskiy et al. 2021, eq. 2 and 3); with
// residual_norm the second norm, scale and shift included, replaces the stream.
//
// Only the first `rows` rows of the stream are brought up to date; all rows are read, as keys and
// values. The last block needs the prefix tokens alone, unless all tokens are pooled.
void run_block(const Executor& executor, const SubVitShape& shape, const BlockWeights& weights,
               Workspace& workspace, std::size_t rows);

}  // namespace devit
