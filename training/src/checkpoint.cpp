// SPDX-License-Identifier: Apache-2.0
#include "checkpoint.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "crinn/base/error.h"
#include "crinn/base/files.h"
#include "crinn/train/safetensors.h"

namespace crinn::train {
namespace {

constexpr std::pair<std::string_view, at::ScalarType> kTypes[]{
    {"F64", at::kDouble}, {"F32", at::kFloat}, {"F16", at::kHalf}, {"BF16", at::kBFloat16}};

at::ScalarType type_of(const std::string& dtype, const std::string& tensor) {
  for (const auto& [name, type] : kTypes) {
    if (name == dtype) return type;
  }
  throw Error(ErrorCategory::kData,
              fmt::format("load: tensor {} is {}, not a floating-point type", tensor, dtype));
}

std::string name_of(at::ScalarType type) {
  for (const auto& [name, known] : kTypes) {
    if (known == type) return std::string(name);
  }
  throw Error(ErrorCategory::kUsage, "save: not a floating-point type");
}

}  // namespace

Checkpoint read_checkpoint(const std::filesystem::path& file, at::ScalarType dtype) {
  const SafetensorsFile source(file);
  Checkpoint checkpoint;
  checkpoint.metadata = source.metadata();
  for (const auto& [name, entry] : source.entries()) {
    // Other writers do not align their tensors, so copy the bytes before they are used as numbers.
    at::Tensor tensor = at::empty(entry.shape, type_of(entry.dtype, name));
    if (!entry.data.empty()) std::memcpy(tensor.data_ptr(), entry.data.data(), entry.data.size());
    checkpoint.tensors[name] = tensor.to(dtype);
  }
  return checkpoint;
}

Checkpoint read_weights(const std::filesystem::path& folder, at::ScalarType dtype) {
  const std::filesystem::path index = folder / "model.safetensors.index.json";
  if (std::filesystem::exists(folder / "model.safetensors") || !std::filesystem::exists(index)) {
    return read_checkpoint(folder / "model.safetensors", dtype);
  }
  std::set<std::string> shards;
  try {
    const auto document = nlohmann::json::parse(read_file(index));
    for (const auto& shard : document.at("weight_map")) shards.insert(shard.get<std::string>());
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorCategory::kData, fmt::format("load {}: {}", index.string(), error.what()));
  }
  Checkpoint checkpoint;
  for (const std::string& shard : shards) {
    checkpoint.tensors.merge(read_checkpoint(folder / shard, dtype).tensors);
  }
  return checkpoint;
}

void write_checkpoint(const std::filesystem::path& file, const TensorMap& tensors,
                      const std::map<std::string, std::string>& metadata) {
  TensorMap contiguous;
  std::map<std::string, SafetensorsEntry> entries;
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor& held = contiguous[name] = tensor.detach().cpu().contiguous();
    entries[name] = {name_of(held.scalar_type()),
                     held.sizes().vec(),
                     {static_cast<const std::byte*>(held.data_ptr()), held.nbytes()}};
  }
  write_safetensors(file, entries, metadata);
}

}  // namespace crinn::train
