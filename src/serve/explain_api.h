// POST /v1/explain: what each group of features adds to one score. The body is that of /v1/rank with "model"
// and "item" (a place in items.ids, default 0). A group is a token of the model: its features are taken as
// missing and the item is scored again; effect = score − score without.
#pragma once

#include "serve/rank_engine.h"
#include "serve/router.h"

namespace uniscale::serve {

void add_explain_routes(Router& router, RankEngine& engine);

}  // namespace uniscale::serve
