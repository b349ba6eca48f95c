// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "crinn/eval/evaluation.h"

/// What the terminal's and the page's tables share.
namespace crinn::eval {

inline constexpr std::string_view kAbsent = "–";

/// 25063 -> "25,063"; small numbers keep a decimal.
std::string format_count(double value);
std::string format_mib(double bytes);

/// "mnist-784: 60,000 x 784, euclidean, 10,000 queries, recall@10 against the file's truth".
std::string describe_data(const Evaluation& evaluation);
/// The noise grade, what it means, and steal.
std::string describe_noise(const Evaluation& evaluation);

std::vector<std::string> fixed_recall_header();
std::vector<std::string> fixed_recall_row(const SystemResult& system);
std::vector<std::string> area_header();
std::vector<std::string> area_row(const SystemResult& system);

}  // namespace crinn::eval
