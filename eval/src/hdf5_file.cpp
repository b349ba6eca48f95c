// SPDX-License-Identifier: Apache-2.0
#include "hdf5_file.h"

#include <fmt/format.h>

#include <limits>
#include <vector>

#include "sources.h"

namespace crinn::eval::h5 {
namespace {

/// The library prints its error stack to stderr unless it is told not to: our Errors say it.
template <class Call>
auto quietly(Call call) {
  H5E_auto2_t print = nullptr;
  void* argument = nullptr;
  H5Eget_auto2(H5E_DEFAULT, &print, &argument);
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  auto result = call();
  H5Eset_auto2(H5E_DEFAULT, print, argument);
  return result;
}

Handle owned(hid_t id, herr_t (*close)(hid_t)) { return Handle(id, close); }

Handle open_attribute(hid_t file, const char* attribute) {
  return quietly([&] {
    if (H5Aexists(file, attribute) <= 0) return Handle();
    return owned(H5Aopen(file, attribute, H5P_DEFAULT), H5Aclose);
  });
}

}  // namespace

File File::open(const std::filesystem::path& path) {
  Handle file =
      quietly([&] { return owned(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose); });
  const bool valid = file.valid();
  File result(std::move(file), path.string());
  if (!valid) {
    std::error_code ignored;
    result.fail(std::filesystem::exists(path, ignored) ? "not a readable HDF5 file"
                                                       : "no such file");
  }
  return result;
}

File File::create(const std::filesystem::path& path) {
  Handle file = quietly([&] {
    return owned(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose);
  });
  const bool valid = file.valid();
  File result(std::move(file), path.string());
  if (!valid) result.fail("cannot create the HDF5 file");
  return result;
}

bool File::has(const char* dataset) const {
  return quietly([&] { return H5Lexists(file_.get(), dataset, H5P_DEFAULT); }) > 0;
}

Table File::table(const char* dataset) const {
  if (!has(dataset)) fail(fmt::format("no dataset '{}'", dataset));
  Table table;
  table.name = dataset;
  table.dataset =
      quietly([&] { return owned(H5Dopen2(file_.get(), dataset, H5P_DEFAULT), H5Dclose); });
  if (!table.dataset.valid()) fail(fmt::format("'{}' is not a dataset", dataset));
  const hid_t id = table.dataset.get();
  const Handle space = owned(H5Dget_space(id), H5Sclose);
  const Handle type = owned(H5Dget_type(id), H5Tclose);
  const H5T_class_t kind = H5Tget_class(type.get());
  if (H5Sget_simple_extent_ndims(space.get()) != 2 || (kind != H5T_FLOAT && kind != H5T_INTEGER)) {
    fail(fmt::format("'{}' is not a matrix of numbers", dataset));
  }
  hsize_t shape[2];
  H5Sget_simple_extent_dims(space.get(), shape, nullptr);
  constexpr auto kMost = static_cast<hsize_t>(std::numeric_limits<int64_t>::max());
  if (shape[0] > kMost || shape[1] > kMost) fail(fmt::format("'{}' is too large", dataset));
  table.rows = static_cast<int64_t>(shape[0]);
  table.cols = static_cast<int64_t>(shape[1]);
  // Filters may compress; deflate, the strongest in use, by at most 1032.
  const Handle creation = owned(H5Dget_create_plist(id), H5Pclose);
  const int64_t ratio = H5Pget_nfilters(creation.get()) > 0 ? 1032 : 1;
  const auto stored = static_cast<int64_t>(H5Dget_storage_size(id));
  require_shape(fmt::format("{}: '{}'", name_, dataset), table.rows, table.cols,
                static_cast<int64_t>(H5Tget_size(type.get())), stored * ratio);
  return table;
}

void File::read(const Table& table, int64_t first, int64_t count, hid_t memory_type,
                void* out) const {
  const herr_t status = quietly([&]() -> herr_t {
    const hid_t id = table.dataset.get();
    const hsize_t start[] = {static_cast<hsize_t>(first), 0};
    const hsize_t shape[] = {static_cast<hsize_t>(count), static_cast<hsize_t>(table.cols)};
    const Handle stored = owned(H5Dget_space(id), H5Sclose);
    const Handle memory = owned(H5Screate_simple(2, shape, nullptr), H5Sclose);
    if (H5Sselect_hyperslab(stored.get(), H5S_SELECT_SET, start, nullptr, shape, nullptr) < 0) {
      return -1;
    }
    return H5Dread(id, memory_type, memory.get(), stored.get(), H5P_DEFAULT, out);
  });
  if (status < 0) {
    fail(fmt::format("'{}': rows {} to {} cannot be read: the file is damaged or truncated",
                     table.name, first, first + count - 1));
  }
}

std::string File::text_attribute(const char* attribute) const {
  const Handle handle = open_attribute(file_.get(), attribute);
  if (!handle.valid()) return {};
  const Handle type = owned(H5Aget_type(handle.get()), H5Tclose);
  const Handle space = owned(H5Aget_space(handle.get()), H5Sclose);
  if (H5Tget_class(type.get()) != H5T_STRING || H5Sget_simple_extent_npoints(space.get()) != 1) {
    fail(fmt::format("attribute '{}' is not a string", attribute));
  }
  // The memory type keeps the file's character set: the library does not convert between sets.
  const Handle memory = owned(H5Tcopy(type.get()), H5Tclose);
  if (H5Tis_variable_str(type.get()) > 0) {
    char* text = nullptr;
    if (quietly([&] { return H5Aread(handle.get(), memory.get(), &text); }) < 0 || !text) {
      fail(fmt::format("attribute '{}' cannot be read", attribute));
    }
    std::string result = text;
    H5free_memory(text);
    return result;
  }
  std::string text(H5Tget_size(type.get()), '\0');
  if (quietly([&] { return H5Aread(handle.get(), memory.get(), text.data()); }) < 0) {
    fail(fmt::format("attribute '{}' cannot be read", attribute));
  }
  text.resize(text.find_last_not_of(std::string_view("\0 ", 2)) + 1);
  return text;
}

int64_t File::integer_attribute(const char* attribute, int64_t fallback) const {
  const Handle handle = open_attribute(file_.get(), attribute);
  if (!handle.valid()) return fallback;
  const Handle space = owned(H5Aget_space(handle.get()), H5Sclose);
  int64_t value = fallback;
  if (H5Sget_simple_extent_npoints(space.get()) != 1 ||
      quietly([&] { return H5Aread(handle.get(), H5T_NATIVE_INT64, &value); }) < 0) {
    fail(fmt::format("attribute '{}' is not an integer", attribute));
  }
  return value;
}

void File::write_array(const char* dataset, int rank, const hsize_t* shape, hid_t file_type,
                       hid_t memory_type, const void* data) const {
  const herr_t status = quietly([&]() -> herr_t {
    const Handle space = owned(H5Screate_simple(rank, shape, nullptr), H5Sclose);
    const Handle creation = owned(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    H5Pset_obj_track_times(creation.get(), false);
    const Handle handle = owned(H5Dcreate2(file_.get(), dataset, file_type, space.get(),
                                           H5P_DEFAULT, creation.get(), H5P_DEFAULT),
                                H5Dclose);
    return handle.valid() ? H5Dwrite(handle.get(), memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data)
                          : -1;
  });
  if (status < 0) fail(fmt::format("cannot write '{}'", dataset));
}

void File::write(const char* dataset, int64_t rows, int64_t cols, hid_t file_type,
                 hid_t memory_type, const void* data) const {
  const hsize_t shape[2] = {static_cast<hsize_t>(rows), static_cast<hsize_t>(cols)};
  write_array(dataset, 2, shape, file_type, memory_type, data);
}

void File::write_vector(const char* dataset, int64_t size, hid_t file_type, hid_t memory_type,
                        const void* data) const {
  const hsize_t shape[1] = {static_cast<hsize_t>(size)};
  write_array(dataset, 1, shape, file_type, memory_type, data);
}

void File::write_attribute(const char* attribute, std::string_view text) const {
  // Variable length UTF-8: what h5py writes and reads as str.
  const Handle type = owned(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.get(), H5T_VARIABLE);
  H5Tset_cset(type.get(), H5T_CSET_UTF8);
  const Handle space = owned(H5Screate(H5S_SCALAR), H5Sclose);
  const Handle handle =
      owned(H5Acreate2(file_.get(), attribute, type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT),
            H5Aclose);
  const std::string value(text);
  const char* pointer = value.c_str();
  if (!handle.valid() || H5Awrite(handle.get(), type.get(), &pointer) < 0) {
    fail(fmt::format("cannot write attribute '{}'", attribute));
  }
}

void File::write_number(const char* attribute, hid_t file_type, hid_t memory_type,
                        const void* value) const {
  const Handle space = owned(H5Screate(H5S_SCALAR), H5Sclose);
  const Handle handle =
      owned(H5Acreate2(file_.get(), attribute, file_type, space.get(), H5P_DEFAULT, H5P_DEFAULT),
            H5Aclose);
  if (!handle.valid() || H5Awrite(handle.get(), memory_type, value) < 0) {
    fail(fmt::format("cannot write attribute '{}'", attribute));
  }
}

void File::write_attribute(const char* attribute, int64_t value) const {
  write_number(attribute, H5T_STD_I64LE, H5T_NATIVE_INT64, &value);
}

void File::write_attribute(const char* attribute, double value) const {
  write_number(attribute, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &value);
}

void File::fail(const std::string& message) const {
  throw Error(ErrorCategory::kData, fmt::format("hdf5: {}: {}", name_, message));
}

}  // namespace crinn::eval::h5
