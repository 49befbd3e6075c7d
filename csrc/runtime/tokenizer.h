#pragma once

#include <cstdint>

#include "runtime/executor.h"
#include "runtime/weights.h"
#include "runtime/workspace.h"

namespace devit {

// workspace.stream = the tokens that a CCT's convolutions make of `image`, plus pos_embed (Hassani
// et al. 2021, eq. 2). `image` is (image_size, image_size, 3); weights.tokenizer is not empty.
void run_tokenizer(const Executor& executor, const Weights& weights, Workspace& workspace,
                   const std::uint8_t* image);

}  // namespace devit
