// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <hdf5.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

/// The little of HDF5's C interface that the formats need, with owned handles and Errors that name
/// the file and the object. Not for use from several threads at once: the library may lack locks.
/// What is written holds no time: the same content is the same bytes.
namespace crinn::eval::h5 {

/// An owned hid_t of any kind.
class Handle {
 public:
  Handle() = default;
  Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  Handle(Handle&& other) noexcept
      : id_(std::exchange(other.id_, -1)), close_(std::exchange(other.close_, nullptr)) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
    return *this;
  }
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  hid_t get() const { return id_; }
  bool valid() const { return id_ >= 0; }

 private:
  hid_t id_ = -1;
  herr_t (*close_)(hid_t) = nullptr;
};

/// A two-dimensional numeric dataset.
struct Table {
  std::string name;
  Handle dataset;
  int64_t rows = 0, cols = 0;
};

class File {
 public:
  static File open(const std::filesystem::path& path);
  static File create(const std::filesystem::path& path);

  const std::string& name() const { return name_; }
  bool has(const char* dataset) const;
  /// Error unless the dataset is there, has two dimensions of a number class, and its size agrees
  /// with the bytes that the file stores for it.
  Table table(const char* dataset) const;
  /// Reads rows [first, first + count), converted to `memory_type` (as H5T_NATIVE_FLOAT).
  void read(const Table& table, int64_t first, int64_t count, hid_t memory_type, void* out) const;
  /// The string attribute of the root group, or "" where there is none.
  std::string text_attribute(const char* attribute) const;
  /// The integer attribute of the root group, or `fallback`.
  int64_t integer_attribute(const char* attribute, int64_t fallback) const;

  void write(const char* dataset, int64_t rows, int64_t cols, hid_t file_type, hid_t memory_type,
             const void* data) const;
  /// One dimension.
  void write_vector(const char* dataset, int64_t size, hid_t file_type, hid_t memory_type,
                    const void* data) const;
  void write_attribute(const char* attribute, std::string_view text) const;
  void write_attribute(const char* attribute, int64_t value) const;
  void write_attribute(const char* attribute, double value) const;

  [[noreturn]] void fail(const std::string& message) const;

 private:
  File(Handle file, std::string name) : file_(std::move(file)), name_(std::move(name)) {}
  void write_array(const char* dataset, int rank, const hsize_t* shape, hid_t file_type,
                   hid_t memory_type, const void* data) const;
  void write_number(const char* attribute, hid_t file_type, hid_t memory_type,
                    const void* value) const;
  Handle file_;
  std::string name_;
};

}  // namespace crinn::eval::h5
