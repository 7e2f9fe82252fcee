// Files that appear whole or not at all. Every published file is written aside, synced, renamed into place,
// and its folder synced; a kill at any moment leaves the old state or the new one. Thread-safe for different
// paths.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace uniscale::base {

// Whole content. Throws UserError if the file is missing or larger than `max_bytes`, IoError if reading
// fails.
std::string read_file(const std::string& path, int64_t max_bytes = int64_t{1} << 32);
bool file_exists(const std::string& path);
void make_directories(const std::string& path);
// Writes `content` aside, syncs, renames over `path`, syncs the folder. Throws IoError.
void write_file_atomically(const std::string& path, std::string_view content);
// Removes from `folder` what write_file_atomically left there in processes that live no more.
void remove_leftovers(const std::string& folder);
// True if a process of this number lives (it may be another one than the number once meant).
bool process_lives(int64_t pid);
// fsync of a file or folder that already stands.
void sync_path(const std::string& path);
// rename(2) and sync of the target's folder.
void rename_durably(const std::string& from, const std::string& to);
// Regular files below `folder` whose name ends in `suffix`, recursively, sorted by path; links are not
// followed. Hidden entries (leading '.') and names with a leading '_' are passed over.
std::vector<std::string> list_files(const std::string& folder, std::string_view suffix = "");
// True if `name` is one plain path component: not empty, no '/', no NUL, neither "." nor "..".
bool is_plain_name(std::string_view name);

// A lock on a folder (flock on `<folder>/.lock`), so that two writers of one store wait instead of mixing.
// Released by the destructor, or by the kernel if the process is killed.
class FolderLock {
 public:
  explicit FolderLock(const std::string& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int fd_;
};

}  // namespace uniscale::base
