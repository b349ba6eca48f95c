// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "crinn/ann/knn_half.h"
#include "crinn/base/error.h"

/// Files of every vector format, made byte by byte from the formats' definitions.
namespace crinn::data_files {

template <class T>
std::string bytes(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

template <class T>
std::string bytes(T value) {
  return bytes(std::vector<T>{value});
}

/// IEEE binary16, as bits.
inline std::vector<uint16_t> halves(const std::vector<float>& values) {
  std::vector<uint16_t> out;
  for (const float value : values) out.push_back(ann::half_bits(value));
  return out;
}

inline std::filesystem::path save(const std::filesystem::path& path, const std::string& content) {
  std::filesystem::remove(path);  // rewriting in place makes ext4 flush at once
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

/// TEXMEX: each row is its int32 dimension and its values.
template <class T>
std::string vecs(const std::vector<std::vector<T>>& rows) {
  std::string out;
  for (const auto& row : rows) out += bytes(static_cast<int32_t>(row.size())) + bytes(row);
  return out;
}

/// big-ann: Size rows, Size columns, values.
template <class Size, class T>
std::string bin(Size rows, Size cols, const std::vector<T>& values) {
  return bytes(rows) + bytes(cols) + bytes(values);
}

inline std::string npy(int version, const std::string& dictionary, const std::string& content) {
  const std::string prefix = std::string("\x93NUMPY") + static_cast<char>(version) + '\0';
  const std::string length = version == 1 ? bytes(static_cast<uint16_t>(dictionary.size()))
                                          : bytes(static_cast<uint32_t>(dictionary.size()));
  return prefix + length + dictionary + content;
}

inline std::string npy_header(const std::string& type, const std::string& shape,
                              const std::string& fortran = "False") {
  return "{'descr': '" + type + "', 'fortran_order': " + fortran + ", 'shape': " + shape + ", }\n";
}

/// Expects `call` to throw an Error whose message holds all of `parts`.
template <class Call>
void expect_error(Call call, const std::vector<std::string>& parts) {
  try {
    call();
    ADD_FAILURE() << "no error; expected one with: " << parts.front();
  } catch (const Error& error) {
    for (const std::string& part : parts) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
          << "'" << part << "' is not in: " << error.what();
    }
  }
}

}  // namespace crinn::data_files
