#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "eval/metrics.h"

namespace uniscale::eval {
namespace {

double discount(int64_t rank) { return 1.0 / std::log2(static_cast<double>(rank) + 1.0); }  // rank from 1

// Σ discount over ranks (begin, end].
double discount_sum(int64_t begin, int64_t end) {
  double sum = 0;
  for (int64_t rank = begin + 1; rank <= end; ++rank) sum += discount(rank);
  return sum;
}

// P(no positive among `draws` rows drawn without replacement from `rows` with `positives`).
double miss_probability(int64_t rows, int64_t positives, int64_t draws) {
  double p = 1;
  for (int64_t i = 0; i < draws; ++i) {
    const int64_t left = rows - positives - i;
    if (left <= 0) return 0;
    p *= static_cast<double>(left) / static_cast<double>(rows - i);
  }
  return p;
}

// A block of rows with one score: rows and positives, in falling score.
struct TieBlock {
  int64_t rows = 0;
  int64_t positives = 0;
};

double expected_hit(const std::vector<TieBlock>& blocks, int k) {
  double miss = 1;
  int64_t rank = 0;
  for (const TieBlock& block : blocks) {
    if (rank >= k) break;
    miss *= miss_probability(block.rows, block.positives, std::min<int64_t>(block.rows, k - rank));
    rank += block.rows;
  }
  return 1 - miss;
}

double expected_ndcg(const std::vector<TieBlock>& blocks, int k, int64_t positives) {
  double gain = 0;
  int64_t rank = 0;
  for (const TieBlock& block : blocks) {
    const int64_t end = std::min<int64_t>(rank + block.rows, k);
    if (end > rank) {
      gain +=
          static_cast<double>(block.positives) / static_cast<double>(block.rows) * discount_sum(rank, end);
    }
    rank += block.rows;
  }
  return gain / discount_sum(0, std::min<int64_t>(positives, k));
}

// The first positive lies in the first block that has one; its place within the block is uniform without
// replacement.
double expected_mrr(const std::vector<TieBlock>& blocks) {
  int64_t rank = 0;
  for (const TieBlock& block : blocks) {
    if (block.positives == 0) {
      rank += block.rows;
      continue;
    }
    double sum = 0;
    for (int64_t place = 1; place + block.positives <= block.rows + 1; ++place) {
      const double first_here = miss_probability(block.rows, block.positives, place - 1) *
                                static_cast<double>(block.positives) /
                                static_cast<double>(block.rows - place + 1);
      sum += first_here / static_cast<double>(rank + place);
    }
    return sum;
  }
  return 0;
}

}  // namespace

std::vector<RequestRanking> rank_requests(std::span<const float> scores, std::span<const uint8_t> labels,
                                          std::span<const uint64_t> requests, std::span<const uint64_t> users,
                                          std::span<const int> ks) {
  US_CHECK(
      scores.size() == labels.size() && scores.size() == requests.size() && scores.size() == users.size(),
      "one value a row");
  require_finite(scores);
  std::vector<uint32_t> rows(scores.size());
  std::iota(rows.begin(), rows.end(), 0U);
  std::sort(rows.begin(), rows.end(), [&](uint32_t a, uint32_t b) {
    if (requests[a] != requests[b]) return requests[a] < requests[b];
    if (scores[a] != scores[b]) return scores[a] > scores[b];
    return labels[a] != labels[b] ? labels[a] > labels[b] : users[a] < users[b];
  });
  std::vector<RequestRanking> out;
  std::vector<TieBlock> blocks;
  for (size_t i = 0; i < rows.size();) {
    RequestRanking ranking;
    ranking.request = requests[rows[i]];
    ranking.user = users[rows[i]];
    blocks.clear();
    int64_t positives = 0;
    while (i < rows.size() && requests[rows[i]] == ranking.request) {
      TieBlock block;
      const float score = scores[rows[i]];
      for (; i < rows.size() && requests[rows[i]] == ranking.request && scores[rows[i]] == score; ++i) {
        ++block.rows;
        block.positives += labels[rows[i]] != 0 ? 1 : 0;
      }
      positives += block.positives;
      blocks.push_back(block);
    }
    ranking.has_positive = positives > 0;
    if (ranking.has_positive) {
      for (int k : ks) {
        ranking.hit_rate.push_back(expected_hit(blocks, k));
        ranking.ndcg.push_back(expected_ndcg(blocks, k, positives));
      }
      ranking.mrr = expected_mrr(blocks);
    }
    out.push_back(std::move(ranking));
  }
  return out;
}

}  // namespace uniscale::eval
