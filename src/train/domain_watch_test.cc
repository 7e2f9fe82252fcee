#include "train/domain_watch.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace uniscale::train {
namespace {

using testing::ElementsAre;

std::vector<model::Parameter> make_parameters() {
  std::vector<model::Parameter> out;
  for (const char* name : {"trunk.0.weight", "head.search.click.0.weight", "dref.expert.feed.0.weight",
                           "token.search.0.weight", "head.feed.click.0.bias"})
    out.push_back({name, at::tensor({3.0F, 4.0F}), true});
  return out;
}

TEST(DomainWatch, FindsTheOwnerByName) {
  const auto parameters = make_parameters();
  const DomainWatch watch(parameters, {"search", "feed", "shop"});
  // A token that is called like a domain belongs to all.
  EXPECT_THAT(watch.domain_of(), ElementsAre(-1, 0, 1, -1, 1));
}

TEST(DomainWatch, GradientNormsOfOwnParametersThatHaveOne) {
  const auto parameters = make_parameters();
  const DomainWatch watch(parameters, {"search", "feed", "shop"});
  EXPECT_THAT(watch.gradient_norms({100, -1, 9, 100, 16}), ElementsAre(-1, 5, -1));
  EXPECT_THAT(watch.gradient_norms({100, 0, -1, 100, 16}), ElementsAre(0, 4, -1));
}

TEST(DomainWatch, DriftIsRelativeToTheStart) {
  const auto parameters = make_parameters();
  const DomainWatch watch(parameters, {"search", "feed", "shop"});
  EXPECT_THAT(watch.drift(parameters), ElementsAre(0, 0, -1));
  at::Tensor(parameters[0].value).mul_(7);  // shared: nobody's
  at::Tensor(parameters[1].value).copy_(at::tensor({3.0F, 4.5F}));
  at::Tensor(parameters[4].value).copy_(at::tensor({0.0F, 0.0F}));
  // 0.5 of 5; and 5 of √50.
  const auto drift = watch.drift(parameters);
  EXPECT_NEAR(drift[0], 0.1, 1e-7);
  EXPECT_NEAR(drift[1], 5 / std::sqrt(50.0), 1e-7);
}

}  // namespace
}  // namespace uniscale::train
