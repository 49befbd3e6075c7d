#pragma once

#include <cstddef>

#include "kernels/registry.h"
#include "runtime/executor.h"
#include "runtime/shape.h"
#include "runtime/weights.h"

namespace devit {

struct Workspace;

// Whether the block's attention is that of attention_f16.h: its linear layers have fewer than 32
// bits, and the kernels and the size of the heads allow it.
bool attends_in_halves(const KernelTable& kernels, const SubVitShape& shape,
                       const BlockWeights& weights);

// Bytes of one head in halves, for all tokens.
std::size_t packed_head_bytes(const SubVitShape& shape);

// workspace.narrow = attention of the first `rows` queries in workspace.wide.
void run_attention(const Executor& executor, const SubVitShape& shape, const BlockWeights& weights,
                   Workspace& workspace, std::size_t rows);

}  // namespace devit
