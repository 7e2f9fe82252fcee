#include "synth/detail/words.h"

#include <array>
#include <map>
#include <set>

#include "base/error.h"

namespace uniscale::synth {
namespace {

constexpr std::array<std::string_view, 20> kOnsets = {"v", "k", "t", "l", "m", "s",  "br", "dr", "fl", "gr",
                                                      "h", "j", "n", "p", "r", "st", "th", "w",  "z",  "ch"};
constexpr std::array<std::string_view, 8> kVowels = {"a", "e", "i", "o", "u", "ei", "ou", "ia"};
constexpr std::array<std::string_view, 14> kCodas = {"",   "",   "n", "r", "l",  "s",  "nd",
                                                     "rk", "st", "m", "x", "th", "ll", "v"};

std::string syllable(uint64_t word) {
  std::string text(kOnsets[word % kOnsets.size()]);
  text += kVowels[(word >> 8) % kVowels.size()];
  text += kCodas[(word >> 16) % kCodas.size()];
  return text;
}

std::string capitalised(std::string text) {
  if (!text.empty() && text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 'a' + 'A');
  return text;
}

}  // namespace

const std::vector<LeafWords>& leaf_words() {
  static const std::vector<LeafWords> kLeaves = {
      {"Clothing", "Coats", 120, {"coat", "parka", "raincoat", "blazer"}},
      {"Clothing", "Shirts", 35, {"shirt", "blouse", "polo", "tunic"}},
      {"Clothing", "Knitwear", 55, {"sweater", "cardigan", "pullover", "hoodie"}},
      {"Clothing", "Trousers", 50, {"trousers", "jeans", "chinos", "leggings"}},
      {"Clothing", "Dresses", 70, {"dress", "gown", "skirt", "jumpsuit"}},
      {"Clothing", "Hats", 25, {"hat", "cap", "beret", "beanie"}},
      {"Shoes", "Boots", 110, {"boots", "wellies", "moccasins"}},
      {"Shoes", "Sneakers", 80, {"sneakers", "trainers", "plimsolls"}},
      {"Shoes", "Sandals", 45, {"sandals", "clogs", "espadrilles"}},
      {"Shoes", "Slippers", 25, {"slippers", "socks"}},
      {"Home", "Lamps", 60, {"lamp", "lantern", "spotlight", "chandelier"}},
      {"Home", "Chairs", 90, {"chair", "armchair", "stool", "bench"}},
      {"Home", "Tables", 180, {"table", "sideboard", "nightstand"}},
      {"Home", "Rugs", 95, {"rug", "doormat", "runner"}},
      {"Home", "Bedding", 50, {"duvet", "pillow", "blanket", "quilt"}},
      {"Home", "Curtains", 40, {"curtain", "blind", "drape"}},
      {"Home", "Storage", 30, {"basket", "shelf", "box", "wardrobe"}},
      {"Home", "Mirrors", 65, {"mirror", "frame", "clock"}},
      {"Kitchen", "Pans", 45, {"pan", "pot", "wok", "casserole"}},
      {"Kitchen", "Knives", 40, {"knife", "cleaver", "peeler"}},
      {"Kitchen", "Cups", 15, {"cup", "mug", "glass", "tumbler"}},
      {"Kitchen", "Plates", 20, {"plate", "bowl", "platter"}},
      {"Kitchen", "Kettles", 50, {"kettle", "teapot", "toaster", "blender"}},
      {"Kitchen", "Bakeware", 22, {"whisk", "tin", "spatula"}},
      {"Garden", "Planters", 25, {"planter", "vase", "trough"}},
      {"Garden", "Tools", 30, {"spade", "rake", "shears", "trowel"}},
      {"Garden", "Loungers", 130, {"lounger", "hammock", "swing"}},
      {"Garden", "Grills", 210, {"grill", "smoker", "brazier"}},
      {"Sport", "Cycling", 60, {"helmet", "saddle", "pedals", "handlebar"}},
      {"Sport", "Camping", 120, {"tent", "tarp", "cot", "headlamp"}},
      {"Sport", "Backpacks", 75, {"backpack", "rucksack", "daypack"}},
      {"Sport", "Balls", 20, {"football", "basketball", "racket"}},
      {"Sport", "Yoga", 30, {"mat", "block", "strap"}},
      {"Sport", "Fitness", 55, {"dumbbell", "kettlebell", "rope", "roller"}},
      {"Toys", "Building", 35, {"bricks", "train", "crane"}},
      {"Toys", "Dolls", 28, {"doll", "teddy", "puppet"}},
      {"Toys", "Puzzles", 18, {"puzzle", "maze", "cube"}},
      {"Toys", "Games", 30, {"chess", "dominoes", "dice"}},
      {"Office", "Notebooks", 12, {"notebook", "planner", "sketchbook"}},
      {"Office", "Pens", 14, {"pen", "pencil", "marker"}},
      {"Office", "Desks", 240, {"desk", "lectern", "drawer"}},
      {"Office", "Bags", 85, {"briefcase", "satchel", "tote"}},
      {"Beauty", "Soaps", 9, {"soap", "shampoo", "scrub"}},
      {"Beauty", "Creams", 24, {"cream", "lotion", "balm"}},
      {"Beauty", "Scents", 60, {"perfume", "cologne", "candle"}},
      {"Electronics", "Headphones", 95, {"headphones", "earbuds", "headset"}},
      {"Electronics", "Speakers", 110, {"speaker", "soundbar", "radio"}},
      {"Electronics", "Keyboards", 65, {"keyboard", "mouse", "trackball"}},
      {"Electronics", "Cameras", 320, {"camera", "tripod", "webcam"}},
      {"Electronics", "Chargers", 22, {"charger", "cable", "adapter"}},
      {"Pets", "Beds", 45, {"kennel", "hutch", "cushion"}},
      {"Pets", "Leads", 18, {"lead", "collar", "harness"}},
  };
  return kLeaves;
}

const std::vector<std::string_view>& adjectives() {
  static const std::vector<std::string_view> kAdjectives = {
      "red",     "blue",   "black",   "white",  "green",    "grey",    "brown",  "pink",   "yellow",
      "navy",    "cream",  "striped", "floral", "checked",  "slim",    "wide",   "long",   "short",
      "classic", "modern", "vintage", "rustic", "folding",  "compact", "large",  "small",  "light",
      "heavy",   "soft",   "quilted", "vegan",  "handmade", "kids",    "travel", "winter", "summer"};
  return kAdjectives;
}

const std::vector<std::string_view>& materials() {
  static const std::vector<std::string_view> kMaterials = {
      "wool",   "cotton", "linen", "silk",    "denim", "leather", "suede",    "fleece", "oak",    "pine",
      "walnut", "bamboo", "steel", "copper",  "iron",  "ceramic", "glass",    "marble", "rattan", "canvas",
      "nylon",  "rubber", "cork",  "plastic", "paper", "carbon",  "lavender", "honey",  "citrus", "oat"};
  return kMaterials;
}

const std::vector<int>& materials_of(std::string_view department) {
  static const std::map<std::string_view, std::vector<int>> kByDepartment = {
      {"Clothing", {0, 1, 2, 3, 4, 5, 6, 7}},
      {"Shoes", {0, 5, 6, 19, 20, 21, 22}},
      {"Home", {0, 1, 2, 8, 9, 10, 11, 12, 16, 17, 18}},
      {"Kitchen", {8, 11, 12, 13, 14, 15, 16, 23}},
      {"Garden", {8, 11, 12, 14, 15, 18, 23}},
      {"Sport", {12, 19, 20, 21, 22, 23, 25}},
      {"Toys", {1, 9, 11, 21, 23, 24}},
      {"Office", {5, 8, 9, 12, 19, 23, 24}},
      {"Beauty", {1, 26, 27, 28, 29}},
      {"Electronics", {11, 12, 21, 23, 25}},
      {"Pets", {1, 5, 7, 11, 19, 20}},
  };
  const auto it = kByDepartment.find(department);
  US_CHECK(it != kByDepartment.end(), std::string(department));
  return it->second;
}

std::vector<std::string> brand_names(int64_t count, base::RandomStream& random) {
  std::vector<std::string> names;
  std::set<std::string> taken;
  while (static_cast<int64_t>(names.size()) < count) {
    std::string name = syllable(random.next_u64()) + syllable(random.next_u64());
    if (names.size() > 5'000 || random.bernoulli(0.3)) name += syllable(random.next_u64());
    name = capitalised(std::move(name));
    if (taken.insert(name).second) names.push_back(std::move(name));
  }
  return names;
}

std::string model_name(uint64_t number) { return capitalised(syllable(base::mix64(number))); }

std::string_view age_group_name(int group) {
  static constexpr std::array<std::string_view, kNumAgeGroups> kNames = {"18-24", "25-34", "35-49", "50-64",
                                                                         "65+"};
  return kNames[static_cast<size_t>(group)];
}

std::string_view segment_name(int segment) {
  static constexpr std::array<std::string_view, kNumSegments> kNames = {"bargain", "classic", "family",
                                                                        "home",    "premium", "sport"};
  return kNames[static_cast<size_t>(segment)];
}

}  // namespace uniscale::synth
