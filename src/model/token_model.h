// What every model over tokens has: its options, tokenizer and heads, and the list of their parameters.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/heads.h"
#include "model/tokenizer.h"

namespace uniscale::model {

class TokenModel : public Model {
 public:
  const std::vector<Parameter>& parameters() const final { return parameters_; }
  const std::vector<std::string>& tasks() const final { return options_.tasks; }

 protected:
  explicit TokenModel(const Options& options) : options_(options) {}

  Options options_;
  std::vector<Parameter> parameters_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<Heads> heads_;
};

}  // namespace uniscale::model
