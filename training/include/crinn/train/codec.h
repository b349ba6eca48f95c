// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "crinn/harness/measurement.h"

namespace crinn::train {

/// An earlier implementation that a prompt shows, with its reward.
struct Exemplar {
  std::string completion;  ///< what the codec's decode() accepts, as the archive stores it
  double reward = 0;
};

/// Says which tokens may come next while a completion grows. One a sequence.
class TokenMatcher {
 public:
  virtual ~TokenMatcher() = default;
  /// allowed[t] is set to 1 where token t may come next, else 0. Size: the vocabulary.
  virtual void allowed(std::span<uint8_t> mask) const = 0;
  virtual void advance(int32_t token) = 0;
  virtual bool finished() const = 0;
};

/// What the codec made of a completion.
struct Decoded {
  bool ok = false;
  harness::ModuleSource source;
  std::string completion;  ///< canonical text form, for the archive and for exemplars
  std::string error;       ///< why it could not be decoded
};

/// Turns prompts and completions into tokens and back. One for each module role.
class Codec {
 public:
  virtual ~Codec() = default;
  virtual int vocabulary() const = 0;
  virtual int32_t end_token() const = 0;
  virtual int max_completion_tokens() const = 0;
  virtual int max_prompt_tokens() const = 0;
  virtual std::vector<int32_t> prompt(harness::Role role,
                                      std::span<const Exemplar> exemplars) const = 0;
  /// Fresh matcher for a completion of this role; nullptr: every token is allowed.
  virtual std::unique_ptr<TokenMatcher> matcher(harness::Role role) const = 0;
  virtual Decoded decode(harness::Role role, std::span<const int32_t> tokens) const = 0;
  /// The tokens of a completion's canonical text form, end token included.
  virtual std::vector<int32_t> encode(harness::Role role, const std::string& completion) const = 0;
};

}  // namespace crinn::train
