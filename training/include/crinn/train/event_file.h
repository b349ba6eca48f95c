// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace crinn::train {

/// Writes a TensorBoard event file: TFRecord framing (length and data, each with a masked CRC-32C)
/// around protocol-buffer Events with scalar summaries. Throws Error (data) that names the file.
class EventFile {
 public:
  /// Creates `folder`/events.out.tfevents.SECONDS.HOST.PID. `first_step` > 0 starts a session that
  /// replaces what earlier files of the folder say from that step on.
  EventFile(const std::filesystem::path& folder, int64_t first_step);
  ~EventFile();
  EventFile(EventFile&&) noexcept;

  /// One Event with all scalars of a step; flushed.
  void scalars(int64_t step, std::span<const std::pair<std::string, double>> values);
  const std::filesystem::path& path() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// CRC-32C (Castagnoli), reflected, as TFRecord uses it.
uint32_t crc32c(std::string_view data);

}  // namespace crinn::train
