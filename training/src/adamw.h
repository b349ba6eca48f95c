// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tensors.h"

namespace crinn::train {

/// AdamW (Loshchilov, Hutter 2019) with Hugging Face's betas (0.9, 0.999) and epsilon 1e-8. Norms
/// and biases do not decay.
class AdamW {
 public:
  explicit AdamW(const TensorMap& parameters);

  /// One step along the parameters' gradients, which are scaled first so that their global norm is
  /// at most max_grad_norm (0: no limit). Returns the norm before. Throws Error (data) where it is
  /// not finite, and leaves parameters and moments as they were.
  double step(TensorMap& parameters, double learning_rate, double weight_decay,
              double max_grad_norm);

  int64_t steps() const { return steps_; }
  const TensorMap& first_moments() const { return first_; }
  const TensorMap& second_moments() const { return second_; }
  void restore(TensorMap first, TensorMap second, int64_t steps);

 private:
  TensorMap first_, second_;
  int64_t steps_ = 0;
};

}  // namespace crinn::train
