// SPDX-License-Identifier: Apache-2.0
#include "crinn/train/config.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <limits>
#include <set>

#include "config_fields.h"
#include "crinn/base/error.h"
#include "crinn/base/files.h"

namespace crinn::train {

namespace {

[[noreturn]] void fail(const std::string& message) {
  throw Error(ErrorCategory::kUsage, "load_config: " + message);
}

template <class T>
constexpr std::string_view type_name() {
  if constexpr (std::is_same_v<T, bool>) return "true or false";
  if constexpr (std::is_same_v<T, std::string>) return "a string";
  if constexpr (std::is_integral_v<T>) return "an integer";
  return "a number";
}

template <class T>
T parse_scalar(const YAML::Node& node) {
  if constexpr (std::is_enum_v<T>) {
    const auto& names = EnumNames<T>::kNames;
    const auto found = std::find(names.begin(), names.end(), node.as<std::string>());
    if (found == names.end()) throw YAML::Exception(node.Mark(), "");
    return static_cast<T>(found - names.begin());
  } else {
    return node.as<T>();
  }
}

/// Every dotted key with its value as YAML text.
class Flattener {
 public:
  std::map<std::string, std::string> values;
  template <class Body>
  void group(std::string_view name, Body body) {
    const std::string outer = prefix_;
    prefix_ += fmt::format("{}.", name);
    body();
    prefix_ = outer;
  }
  template <class T>
  void field(std::string_view name, const T& value, double = 0) {
    values[prefix_ + std::string(name)] = text(value);
  }

 private:
  template <class T>
  static std::string text(const T& value) {
    if constexpr (std::is_enum_v<T>) {
      return std::string(EnumNames<T>::kNames[static_cast<std::size_t>(value)]);
    } else if constexpr (std::is_same_v<T, bool>) {
      return value ? "true" : "false";
    } else if constexpr (std::is_same_v<T, std::string>) {
      YAML::Emitter out;
      out << YAML::DoubleQuoted << value;
      return out.c_str();
    } else if constexpr (std::is_arithmetic_v<T>) {
      return fmt::format("{}", value);
    } else {
      std::string list;
      for (const auto& element : value) list += (list.empty() ? "" : ", ") + text(element);
      return "[" + list + "]";
    }
  }
  std::string prefix_;
};

/// Edit distance, for "did you mean".
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::set<std::string> known_keys() {
  Flattener flat;
  const Config defaults;
  visit_config(flat, defaults);
  std::set<std::string> keys;
  for (const auto& [key, value] : flat.values) keys.insert(key);
  return keys;
}

std::string unknown_key(const std::string& key) {
  const std::set<std::string> keys = known_keys();
  const auto nearest = std::min_element(
      keys.begin(), keys.end(),
      [&](const auto& a, const auto& b) { return distance(key, a) < distance(key, b); });
  return fmt::format("unknown key '{}' (did you mean '{}'?)", key, *nearest);
}

class Reader {
 public:
  Reader(YAML::Node root, std::string file) : stack_{root}, file_(std::move(file)) {}

  template <class Body>
  void group(std::string_view name, Body body) {
    const YAML::Node node = take(name);
    if (!node) return;
    if (!node.IsMap() && !node.IsNull()) fail_at(node, key(name), "a mapping", node);
    const std::string outer = prefix_;
    prefix_ = key(name) + ".";
    stack_.push_back(node);
    seen_.emplace_back();
    body();
    finish();
    stack_.pop_back();
    seen_.pop_back();
    prefix_ = outer;
  }

  template <class T>
  void field(std::string_view name, T& value,
             double least = -std::numeric_limits<double>::infinity()) {
    const YAML::Node node = take(name);
    if (!node) return;
    if constexpr (requires { value.push_back(value.front()); } && !std::is_same_v<T, std::string>) {
      if (!node.IsSequence()) fail_at(node, key(name), "a list", node);
      value.clear();
      for (const YAML::Node& element : node) {
        value.push_back(scalar<typename T::value_type>(element, key(name)));
      }
    } else {
      value = scalar<T>(node, key(name));
      if constexpr (std::is_arithmetic_v<T>) {
        if (!(static_cast<double>(value) >= least)) {
          fail(fmt::format("{}: '{}' is {}, must be at least {}", where(node), key(name),
                           node.Scalar(), least));
        }
      }
    }
  }

  /// Refuses keys of the current mapping that no field asked for.
  void finish() {
    if (!stack_.back().IsMap()) return;
    for (const auto& entry : stack_.back()) {
      const auto name = entry.first.as<std::string>();
      if (!seen_.back().contains(name)) {
        fail(fmt::format("{}: {}", where(entry.first), unknown_key(prefix_ + name)));
      }
    }
  }

 private:
  std::string key(std::string_view name) const { return prefix_ + std::string(name); }
  std::string where(const YAML::Node& node) const {
    // Nodes that an override made have no place in the file.
    return node.Mark().is_null() ? file_ : fmt::format("{}:{}", file_, node.Mark().line + 1);
  }
  YAML::Node take(std::string_view name) {
    const std::string text(name);
    seen_.back().insert(text);
    const YAML::Node& map = stack_.back();
    return map.IsMap() ? map[text] : YAML::Node(YAML::NodeType::Undefined);
  }
  [[noreturn]] void fail_at(const YAML::Node& node, const std::string& key, std::string_view wanted,
                            const YAML::Node& value) const {
    fail(fmt::format("{}: '{}' must be {}, not '{}'", where(node), key, wanted, YAML::Dump(value)));
  }
  template <class T>
  T scalar(const YAML::Node& node, const std::string& key) const {
    if constexpr (std::is_same_v<T, std::string>) {
      if (node.IsNull()) return {};
    }
    try {
      if (!node.IsScalar()) throw YAML::Exception(node.Mark(), "");
      return parse_scalar<T>(node);
    } catch (const YAML::Exception&) {
      if constexpr (std::is_enum_v<T>) {
        fail_at(node, key, fmt::format("one of {}", fmt::join(EnumNames<T>::kNames, ", ")), node);
      } else {
        fail_at(node, key, type_name<T>(), node);
      }
    }
  }

  std::vector<YAML::Node> stack_;
  std::vector<std::set<std::string>> seen_ = {{}};
  std::string prefix_, file_;
};

class Writer {
 public:
  YAML::Emitter out;
  template <class Body>
  void group(std::string_view name, Body body) {
    out << YAML::Key << std::string(name) << YAML::Value << YAML::BeginMap;
    body();
    out << YAML::EndMap;
  }
  template <class T>
  void field(std::string_view name, const T& value, double = 0) {
    out << YAML::Key << std::string(name) << YAML::Value;
    if constexpr (requires { value.front(); } && !std::is_same_v<T, std::string>) {
      out << YAML::Flow << YAML::BeginSeq;
      for (const auto& element : value) scalar(element);
      out << YAML::EndSeq;
    } else {
      scalar(value);
    }
  }

 private:
  template <class T>
  void scalar(const T& value) {
    if constexpr (std::is_enum_v<T>) {
      out << std::string(EnumNames<T>::kNames[static_cast<std::size_t>(value)]);
    } else if constexpr (std::is_floating_point_v<T>) {
      out << fmt::format("{}", value);
    } else if constexpr (std::is_same_v<T, std::string>) {
      if (value.empty()) out << YAML::DoubleQuoted;
      out << value;
    } else {
      out << value;
    }
  }
};

/// Sets a dotted key of the document to a YAML value.
void apply_override(YAML::Node root, const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    fail(fmt::format("'{}' is not of the form key=value", text));
  }
  const std::string key = text.substr(0, equals);
  if (!known_keys().contains(key)) fail("command line: " + unknown_key(key));
  YAML::Node value;
  try {
    value = YAML::Load(text.substr(equals + 1));
  } catch (const YAML::Exception& error) {
    fail(fmt::format("command line: '{}': {}", text, error.msg));
  }
  std::vector<YAML::Node> path = {root};
  std::size_t begin = 0;
  for (std::size_t dot; (dot = key.find('.', begin)) != std::string::npos; begin = dot + 1) {
    path.push_back(path.back()[key.substr(begin, dot - begin)]);
  }
  if (!path.back().IsDefined() || path.back().IsMap() || path.back().IsNull()) {
    path.back()[key.substr(begin)] = value;
  }
}

void check_ranges(const Config& c) {
  const auto need = [](bool ok, const std::string& message) {
    if (!ok) fail(message);
  };
  need(c.judge.band_low < c.judge.band_high && c.judge.band_high <= 1,
       fmt::format("judge.band_low {} and judge.band_high {} are no band of recall",
                   c.judge.band_low, c.judge.band_high));
  constexpr std::array<std::string_view, 4> kSources = {"auto", "file", "cpu", "gpu"};
  need(std::find(kSources.begin(), kSources.end(), c.groundtruth) != kSources.end(),
       fmt::format("groundtruth '{}' must be one of {}", c.groundtruth, fmt::join(kSources, ", ")));
  need(!c.schedule.roles.empty(), "schedule.roles is empty");
  need(!c.name.empty() && c.name.find('/') == std::string::npos,
       fmt::format("name '{}' is no folder name", c.name));
  need(c.grpo.max_staleness == 0,
       fmt::format("grpo.max_staleness {}: only synchronous updates (0) are supported",
                   c.grpo.max_staleness));
}

}  // namespace

Config load_config(const std::filesystem::path& file, std::span<const std::string> overrides) {
  Config config;
  try {
    YAML::Node root = YAML::Load(read_file(file));
    if (root.IsNull()) root = YAML::Node(YAML::NodeType::Map);
    if (!root.IsMap()) fail(fmt::format("{}: not a mapping", file.string()));
    for (const std::string& text : overrides) apply_override(root, text);
    Reader reader(root, file.string());
    visit_config(reader, config);
    reader.finish();
  } catch (const YAML::Exception& error) {
    fail(fmt::format("{}:{}: {}", file.string(), error.mark.line + 1, error.msg));
  }
  check_ranges(config);
  return config;
}

std::string to_yaml(const Config& config) {
  Writer writer;
  writer.out << YAML::BeginMap;
  visit_config(writer, config);
  writer.out << YAML::EndMap;
  return std::string(writer.out.c_str()) + "\n";
}

std::vector<std::string> changed_keys(const Config& a, const Config& b) {
  Flattener left, right;
  visit_config(left, a);
  visit_config(right, b);
  std::vector<std::string> keys;
  for (const auto& [key, value] : left.values) {
    if (right.values.at(key) != value) keys.push_back(key);
  }
  return keys;
}

}  // namespace crinn::train
