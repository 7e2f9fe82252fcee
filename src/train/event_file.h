// TensorBoard event files: scalar summaries only. One writer, not thread-safe.
#pragma once

#include <cstdint>
#include <fstream>
#include <map>
#include <string>

namespace uniscale::train {

// CRC-32C (Castagnoli) of bytes, as TFRecord wants it.
uint32_t crc32c(std::string_view bytes);

class EventFile {
 public:
  // Makes `<folder>/events.out.tfevents.<first_step>`; a resumed run adds a file of its own. Throws IoError.
  EventFile(const std::string& folder, int64_t first_step, double wall_time_s);
  void scalars(int64_t step, double wall_time_s, const std::map<std::string, double>& values);

 private:
  void record(const std::string& event);
  std::string path_;
  std::ofstream out_;
};

}  // namespace uniscale::train
