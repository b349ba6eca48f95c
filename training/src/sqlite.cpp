// SPDX-License-Identifier: Apache-2.0
#include "sqlite.h"

#include <fmt/format.h>

#include <limits>

#include "crinn/base/error.h"

namespace crinn::train {

Sqlite::Sqlite(const std::filesystem::path& file, int flags) : file_(file.string()) {
  sqlite3* handle = nullptr;
  const int code = sqlite3_open_v2(file_.c_str(), &handle, flags, nullptr);
  handle_.reset(handle);
  if (code != SQLITE_OK) fail("cannot open");
  sqlite3_busy_timeout(handle, 5000);
}

void Sqlite::fail(std::string_view what) const {
  throw Error(ErrorCategory::kData,
              fmt::format("archive: {}: {}: {}", file_, what, sqlite3_errmsg(handle_.get())));
}

void Sqlite::run(const std::string& sql) {
  if (sqlite3_exec(handle_.get(), sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) fail(sql);
}

int64_t Sqlite::integer(const std::string& sql) {
  Statement statement(*this, sql.c_str());
  return statement.step() ? statement.next_integer() : 0;
}

std::string Sqlite::text(const std::string& sql) {
  Statement statement(*this, sql.c_str());
  return statement.step() ? statement.next_text() : std::string();
}

Statement::Statement(const Sqlite& db, const char* sql) : db_(db) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(db.handle(), sql, -1, &statement, nullptr) != SQLITE_OK) {
    db.fail("cannot read it");
  }
  statement_.reset(statement);
}

Statement& Statement::bind(int64_t value) {
  if (sqlite3_bind_int64(statement_.get(), ++bound_, value) != SQLITE_OK) db_.fail("bind");
  return *this;
}

Statement& Statement::bind(double value) {
  if (sqlite3_bind_double(statement_.get(), ++bound_, value) != SQLITE_OK) db_.fail("bind");
  return *this;
}

Statement& Statement::bind(std::string_view value) {
  if (sqlite3_bind_text(statement_.get(), ++bound_, value.data(), static_cast<int>(value.size()),
                        SQLITE_TRANSIENT) != SQLITE_OK) {
    db_.fail("bind");
  }
  return *this;
}

bool Statement::step() {
  column_ = 0;
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) db_.fail("cannot read or write it");
  return false;
}

double Statement::next_real() {
  const bool null = sqlite3_column_type(statement_.get(), column_) == SQLITE_NULL;
  const double value = sqlite3_column_double(statement_.get(), column_++);
  return null ? std::numeric_limits<double>::quiet_NaN() : value;
}

std::string Statement::next_text() {
  const auto* data = reinterpret_cast<const char*>(sqlite3_column_text(statement_.get(), column_));
  const int bytes = sqlite3_column_bytes(statement_.get(), column_++);
  return data ? std::string(data, static_cast<std::size_t>(bytes)) : std::string();
}

}  // namespace crinn::train
