// POST /v1/rerank in Cohere's shape: {model, query, documents, top_n} → {id, results: [{index,
// relevance_score}], meta}. A document is the id of an item, a text (scored as an unknown item with that
// title), or an object {"id", "text", features…}. Best first; all documents unless top_n says fewer.
#pragma once

#include "serve/rank_engine.h"
#include "serve/router.h"

namespace uniscale::serve {

void add_rerank_routes(Router& router, RankEngine& engine);

}  // namespace uniscale::serve
