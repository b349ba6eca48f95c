// SPDX-License-Identifier: Apache-2.0
#include "adamw.h"

#include <ATen/ops/_fused_adamw.h>
#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "crinn/base/error.h"

namespace crinn::train {
namespace {

constexpr double kBeta1 = 0.9;
constexpr double kBeta2 = 0.999;
constexpr double kEpsilon = 1e-8;

double global_norm(const TensorMap& parameters) {
  double squares = 0;
  for (const auto& [name, parameter] : parameters) {
    const at::Tensor& gradient = parameter.grad();
    if (gradient.defined()) {
      const double norm = gradient.norm().item<double>();
      squares += norm * norm;
    }
  }
  return std::sqrt(squares);
}

}  // namespace

AdamW::AdamW(const TensorMap& parameters) {
  for (const auto& [name, parameter] : parameters) {
    first_[name] = at::zeros_like(parameter.detach());
    second_[name] = at::zeros_like(parameter.detach());
  }
}

double AdamW::step(TensorMap& parameters, double learning_rate, double weight_decay,
                   double max_grad_norm) {
  const at::NoGradGuard no_grad;
  const double norm = global_norm(parameters);
  if (!std::isfinite(norm)) {
    throw Error(ErrorCategory::kData, fmt::format("AdamW step: the gradient's norm is {}", norm));
  }
  const bool clip = max_grad_norm > 0 && norm > max_grad_norm;
  ++steps_;
  for (const bool decays : {true, false}) {
    std::vector<at::Tensor> weights, gradients, first, second, counters;
    for (auto& [name, parameter] : parameters) {
      if (!parameter.grad().defined() || (parameter.dim() > 1) != decays) continue;
      weights.push_back(parameter);
      gradients.push_back(clip ? parameter.grad() * (max_grad_norm / norm) : parameter.grad());
      first.push_back(first_.at(name));
      second.push_back(second_.at(name));
      counters.push_back(at::tensor(static_cast<double>(steps_), at::kFloat));
    }
    if (weights.empty()) continue;
    at::_fused_adamw_(weights, gradients, first, second, {}, counters, learning_rate, kBeta1,
                      kBeta2, decays ? weight_decay : 0.0, kEpsilon, false, false);
  }
  return norm;
}

void AdamW::restore(TensorMap first, TensorMap second, int64_t steps) {
  first_ = std::move(first);
  second_ = std::move(second);
  steps_ = steps;
}

}  // namespace crinn::train
