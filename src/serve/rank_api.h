// POST /v1/rank/{model} (serving.md §1).
#pragma once

#include "serve/rank_engine.h"
#include "serve/router.h"

namespace uniscale::serve {

void add_rank_routes(Router& router, RankEngine& engine);

// None, or application/json with or without parameters.
bool is_json_type(std::string_view content_type);
// JSON arrays, appended: numbers always with a decimal point or exponent; throws InternalError on NaN.
void append_number(double value, std::string& out);
void append_numbers(const std::vector<double>& values, std::string& out);
void append_numbers(const std::vector<float>& values, std::string& out);
void append_integers(const std::vector<int32_t>& values, std::string& out);
// What a task refuses with, as an HTTP reply.
std::function<void(const Refusal&, const std::string&)> refuse_with(const ReplyFunction& reply);

}  // namespace uniscale::serve
