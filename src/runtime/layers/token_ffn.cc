#include "runtime/layers/token_ffn.h"

namespace uniscale::runtime {

TokenFfn::TokenFfn(const bundle::SafetensorsFile& file, const std::string& name, int64_t tokens,
                   int64_t width, int64_t hidden, std::span<const float> gain, Precision precision)
    : in_(load_by_token(file, name + ".0", tokens, hidden, width, true, gain, precision)),
      out_(load_by_token(file, name + ".1", tokens, width, hidden, true, {}, precision)) {}

void TokenFfn::operator()(const Compute& compute, int64_t token, const OperandTokens& x,
                          const Output& y) const {
  const ArenaScope scope(compute.arena);
  const Linear& in = in_[static_cast<size_t>(token)];
  std::byte* hidden = compute.take_operands(x.rows, in.out());
  in(compute, x,
     {.data = hidden, .stride = operand_width(in.out()), .operands = true, .activation = Activation::Gelu});
  out_[static_cast<size_t>(token)](compute, {hidden, 1, x.rows, in.out()}, y);
}

}  // namespace uniscale::runtime
