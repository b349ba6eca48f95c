// SPDX-License-Identifier: Apache-2.0
#include "adamw.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "crinn/base/error.h"

namespace crinn::train {
namespace {

constexpr double kRate = 0.01;
constexpr double kDecay = 0.1;

/// One weight of a matrix and one of a norm.
TensorMap two_parameters() {
  return {{"matrix", at::ones({1, 1}, at::kDouble)}, {"norm", at::ones({1}, at::kDouble)}};
}

void set_gradients(TensorMap& parameters, double matrix, double norm) {
  parameters["matrix"].mutable_grad() = at::ones({1, 1}, at::kDouble) * matrix;
  parameters["norm"].mutable_grad() = at::ones({1}, at::kDouble) * norm;
}

/// The paper's algorithm 2, one number at a time.
struct Scalar {
  double weight = 1, first = 0, second = 0;
  void step(double gradient, double decay, int t) {
    weight -= kRate * decay * weight;
    first = 0.9 * first + 0.1 * gradient;
    second = 0.999 * second + 0.001 * gradient * gradient;
    const double mean = first / (1 - std::pow(0.9, t));
    const double square = second / (1 - std::pow(0.999, t));
    weight -= kRate * mean / (std::sqrt(square) + 1e-8);
  }
};

TEST(AdamW, FollowsThePaperClipsTheNormAndDecaysMatricesOnly) {
  // Norms 5, 0.5, 13 with a limit of 1: the second step is not clipped.
  const double gradients[][2] = {{3, -4}, {0.3, 0.4}, {-5, 12}};
  TensorMap parameters = two_parameters();
  AdamW optimizer(parameters);
  Scalar matrix, norm;
  for (int t = 1; t <= 3; ++t) {
    const auto [a, b] = gradients[t - 1];
    const double length = std::hypot(a, b);
    const double scale = length > 1 ? 1 / length : 1;
    set_gradients(parameters, a, b);
    EXPECT_NEAR(optimizer.step(parameters, kRate, kDecay, 1.0), length, 1e-12);
    matrix.step(a * scale, kDecay, t);
    norm.step(b * scale, 0, t);
    EXPECT_NEAR(parameters["matrix"].item<double>(), matrix.weight, 1e-7) << t;
    EXPECT_NEAR(parameters["norm"].item<double>(), norm.weight, 1e-7) << t;
    EXPECT_NEAR(optimizer.first_moments().at("matrix").item<double>(), matrix.first, 1e-7) << t;
    EXPECT_NEAR(optimizer.second_moments().at("norm").item<double>(), norm.second, 1e-7) << t;
  }
  EXPECT_EQ(optimizer.steps(), 3);
}

TEST(AdamW, DoesNotClipWithoutALimit) {
  TensorMap parameters = two_parameters();
  AdamW optimizer(parameters);
  set_gradients(parameters, 3, -4);
  optimizer.step(parameters, kRate, 0, 0);
  EXPECT_NEAR(optimizer.first_moments().at("norm").item<double>(), -0.4, 1e-12);
}

TEST(AdamW, RefusesAGradientThatIsNotFinite) {
  TensorMap parameters = two_parameters();
  AdamW optimizer(parameters);
  set_gradients(parameters, 1, std::numeric_limits<double>::quiet_NaN());
  EXPECT_THROW(optimizer.step(parameters, kRate, kDecay, 1), Error);
  EXPECT_EQ(parameters["matrix"].item<double>(), 1);
  EXPECT_EQ(optimizer.steps(), 0);
}

}  // namespace
}  // namespace crinn::train
