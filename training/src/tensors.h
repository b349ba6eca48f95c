// SPDX-License-Identifier: Apache-2.0
#pragma once

// The operators that this folder uses, one header each: a third of the compile time of
// torch/torch.h.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/InferenceMode.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace crinn::train {

/// Parameters by their Hugging Face names.
using TensorMap = std::map<std::string, at::Tensor>;

/// An owned copy as a tensor on the CPU.
at::Tensor to_tensor(const std::vector<int64_t>& values);
at::Tensor to_tensor(const std::vector<int32_t>& values);  ///< as int64, the type of an index
at::Tensor to_tensor(const std::vector<double>& values, at::ScalarType dtype);

}  // namespace crinn::train
