// The page /ui and what it asks for beside the other doors: a model's examples (its golden requests) and the
// stored values of items.
#pragma once

#include "bundle/fresh_items.h"
#include "serve/rank_engine.h"
#include "serve/router.h"

namespace uniscale::serve {

// GET /ui, GET /v1/models/{model}/examples, POST /v1/items:lookup {"model", "ids"}.
void add_ui_routes(Router& router, const RankEngine& engine, const bundle::FreshItemStore& fresh_items);

// The page and its Content-Security-Policy; made from page/page.html by the build.
extern const char* const kPage;
extern const char* const kPagePolicy;

}  // namespace uniscale::serve
