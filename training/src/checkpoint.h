// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "tensors.h"

namespace crinn::train {

struct Checkpoint {
  TensorMap tensors;
  std::map<std::string, std::string> metadata;
};

/// Tensors of any dtype as `dtype`, copied out of the file. Throws Error (data).
Checkpoint read_checkpoint(const std::filesystem::path& file, at::ScalarType dtype);

/// The weights of a Hugging Face folder: model.safetensors, or the shards that
/// model.safetensors.index.json names.
Checkpoint read_weights(const std::filesystem::path& folder, at::ScalarType dtype);

void write_checkpoint(const std::filesystem::path& file, const TensorMap& tensors,
                      const std::map<std::string, std::string>& metadata);

}  // namespace crinn::train
