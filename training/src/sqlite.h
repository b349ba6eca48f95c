// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace crinn::train {

/// One connection. Faults throw Error (data) that names the file.
class Sqlite {
 public:
  Sqlite(const std::filesystem::path& file, int flags);
  void run(const std::string& sql);
  int64_t integer(const std::string& sql);
  std::string text(const std::string& sql);
  sqlite3* handle() const { return handle_.get(); }
  [[noreturn]] void fail(std::string_view what) const;

 private:
  struct Closer {
    void operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }
  };
  std::string file_;
  std::unique_ptr<sqlite3, Closer> handle_;
};

/// A prepared statement: bind in order, then step, then read columns in order.
class Statement {
 public:
  Statement(const Sqlite& db, const char* sql);
  Statement& bind(int64_t value);
  Statement& bind(double value);
  Statement& bind(std::string_view value);
  /// True while there is a row.
  bool step();
  int64_t next_integer() { return sqlite3_column_int64(statement_.get(), column_++); }
  double next_real();  ///< NaN for NULL, as which SQLite stores a NaN
  std::string next_text();

 private:
  struct Finalizer {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  const Sqlite& db_;
  std::unique_ptr<sqlite3_stmt, Finalizer> statement_;
  int bound_ = 0, column_ = 0;
};

}  // namespace crinn::train
