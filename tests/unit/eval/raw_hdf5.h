// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <hdf5.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

namespace crinn::data_files {

/// An HDF5 file made with the plain C interface: what other programs may write.
class RawHdf5 {
 public:
  explicit RawHdf5(const std::filesystem::path& path)
      : file_(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT)) {}
  ~RawHdf5() { H5Fclose(file_); }

  /// Compressed in chunks of that many rows; 0: one chunk.
  void table(const char* name, hsize_t rows, hsize_t cols, hid_t file_type,
             const std::vector<double>& values, hsize_t chunk_rows = 0) {
    const hsize_t shape[] = {rows, cols};
    const hsize_t chunk[] = {chunk_rows > 0 ? std::min(chunk_rows, rows) : rows, cols};
    const hid_t space = H5Screate_simple(2, shape, nullptr);
    const hid_t create = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(create, 2, chunk);
    H5Pset_shuffle(create);
    H5Pset_deflate(create, 6);
    const hid_t set = H5Dcreate2(file_, name, file_type, space, H5P_DEFAULT, create, H5P_DEFAULT);
    if (!values.empty()) {
      H5Dwrite(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
    }
    H5Dclose(set);
    H5Pclose(create);
    H5Sclose(space);
  }

  /// A fixed-length string, as netCDF or MATLAB write it.
  void attribute(const char* name, const std::string& text) {
    const hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, text.size() + 3);
    const hid_t space = H5Screate(H5S_SCALAR);
    const hid_t handle = H5Acreate2(file_, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    H5Awrite(handle, type, (text + std::string(3, '\0')).data());
    H5Aclose(handle);
    H5Sclose(space);
    H5Tclose(type);
  }

 private:
  hid_t file_;
};

}  // namespace crinn::data_files
