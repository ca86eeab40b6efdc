#pragma once

#include <filesystem>
#include <string_view>

namespace sinkrouter {

// Makes a folder where there is none. Throws Error naming the path.
void make_folder(const std::filesystem::path& directory);

// Writes a file that appears whole or not at all: a temporary file beside it, then a rename.
// Throws Error naming the path.
void write_whole_file(const std::filesystem::path& path, std::string_view content);

}  // namespace sinkrouter
