// The Open Inference Protocol v2 over HTTP: metadata, health, infer with JSON and binary tensors, the
// repository index.
#pragma once

#include "serve/model_set.h"
#include "serve/rank_engine.h"
#include "serve/router.h"

namespace uniscale::serve {

void add_oip_routes(Router& router, RankEngine& engine, const ModelSet& models);

}  // namespace uniscale::serve
