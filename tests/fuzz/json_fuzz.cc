// json::parse: either a UserError, or a value that is written and read back as itself; then the rank API's
// body.
#include "base/error.h"
#include "fuzz_target.h"
#include "json/json.h"
#include "runtime/raw_request.h"

namespace uniscale::fuzz {

std::vector<std::string> seeds() {
  return {
      R"({"request_id":"81f4","deadline_ms":50,"user":{"id":"u1","features":{"city":"oslo"}},"query":{"text":"hat \u00e9"},
         "context":{"domain":"search","ts_ms":1704103200000,"device":"ios"},
         "history":[{"item_id":"i9","action":"click","ts_ms":1704103100000}],"query_history":[{"query":"a","ts_ms":1}],
         "items":{"ids":["i1","i2"],"features":{"price":[7.1,null]}},"top_k":10,"return":["scores"]})",
      R"([1, -2.5e3, true, null, "\ud83d\ude00", {"a": [[]]}])", "0.1", R"("")"};
}

}  // namespace uniscale::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace uniscale;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  json::Value value;
  try {
    value = json::parse(text, "input");
  } catch (const base::UserError&) {
    return 0;
  }
  const std::string written = json::dump(value, -1);
  if (json::dump(json::parse(written, "again"), -1) != written)
    fuzz::broken("written and read back: " + written);
  try {
    const runtime::RawRequest request = runtime::raw_request_from_json(value, "search", "input");
    runtime::raw_request_from_json(runtime::raw_request_to_json(request), "search", "again");
  } catch (const base::UserError&) {
  }
  return 0;
}
