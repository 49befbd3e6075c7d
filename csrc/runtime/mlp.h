#pragma once

#include <cstddef>

#include "runtime/executor.h"
#include "runtime/shape.h"
#include "runtime/weights.h"

namespace devit {

struct Workspace;

// workspace.stream += MLP of its norm, for the first `rows` rows; with residual_norm the norm,
// scale and shift included, replaces the stream before.
void run_mlp(const Executor& executor, const SubVitShape& shape, const BlockWeights& weights,
             Workspace& workspace, std::size_t rows);

}  // namespace devit
