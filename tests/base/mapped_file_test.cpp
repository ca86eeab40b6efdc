#include "base/mapped_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sinkrouter/error.h"

namespace sinkrouter {
namespace {

namespace fs = std::filesystem;

class MappedFileTest : public testing::Test {
 protected:
  MappedFileTest()
      : folder_(fs::temp_directory_path() /
                ("sinkrouter-mapped-file-" + std::to_string(std::random_device{}()))) {
    fs::create_directories(folder_);
  }
  ~MappedFileTest() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  fs::path path(std::string_view file) const { return folder_ / file; }

  fs::path write(std::string_view file, std::string_view content) const {
    std::ofstream(path(file), std::ios::binary) << content;
    return path(file);
  }

 private:
  fs::path folder_;
};

bool is_mapped(const fs::path& file) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find(file.string()) != std::string::npos) return true;
  }
  return false;
}

std::string_view text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

void expect_refused(const std::function<void()>& call, const fs::path& file,
                    std::string_view reason) {
  try {
    call();
    ADD_FAILURE() << "accepted " << file;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::kInvalidFile);
    const std::string_view what = error.what();
    EXPECT_NE(what.find(file.string()), std::string_view::npos) << what;
    EXPECT_NE(what.find(reason), std::string_view::npos) << what;
    EXPECT_EQ(what.find('\n'), std::string_view::npos) << what;
  }
}

TEST_F(MappedFileTest, ShowsTheBytesOfTheFile) {
  std::string content(100000, '\0');
  const auto seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (char& byte : content) byte = static_cast<char>(random());
  const MappedFile file(write("data", content));
  EXPECT_TRUE(text_of(file) == content);
}

TEST_F(MappedFileTest, EmptyFileIsAnEmptySpan) {
  const MappedFile file(write("empty", ""));
  EXPECT_TRUE(file.bytes().empty());
  EXPECT_EQ(read_text_file(path("empty"), 0), "");
}

TEST_F(MappedFileTest, MovingHandsTheMapOver) {
  MappedFile first(write("first", "one"));
  MappedFile second(write("second", "second"));
  const std::byte* address = first.bytes().data();
  MappedFile moved(std::move(first));
  EXPECT_EQ(moved.bytes().data(), address);
  second = std::move(moved);
  EXPECT_EQ(second.bytes().data(), address);
  EXPECT_EQ(text_of(second), "one");
  MappedFile& same = second;
  second = std::move(same);
  EXPECT_EQ(text_of(second), "one");
}

TEST_F(MappedFileTest, EveryMapEndsWithItsObject) {
  const fs::path first = write("first", "one");
  const fs::path second = write("second", "two");
  {
    MappedFile file(first);
    MappedFile moved(std::move(file));
    MappedFile target(second);
    EXPECT_TRUE(is_mapped(first));
    EXPECT_TRUE(is_mapped(second));
    target = std::move(moved);
    EXPECT_TRUE(is_mapped(first));
    EXPECT_FALSE(is_mapped(second));
  }
  EXPECT_FALSE(is_mapped(first));
}

TEST_F(MappedFileTest, OutlivesTheNameOfTheFile) {
  const MappedFile file(write("gone", "still here"));
  fs::remove(path("gone"));
  EXPECT_EQ(text_of(file), "still here");
}

TEST_F(MappedFileTest, SaysWhenTheFileWasCut) {
  MappedFile first(write("cut", std::string(10000, 'x')));
  const MappedFile file(std::move(first));
  EXPECT_NO_THROW(file.require_whole());
  fs::resize_file(path("cut"), 20000);
  EXPECT_NO_THROW(file.require_whole());
  fs::resize_file(path("cut"), 9999);
  expect_refused([&] { file.require_whole(); }, path("cut"), "cut to 9999 bytes while in use");
}

TEST_F(MappedFileTest, AnotherFileInItsPlaceIsNoCut) {
  const MappedFile file(write("model", "the old one"));
  fs::rename(write("new", "new"), path("model"));
  EXPECT_NO_THROW(file.require_whole());
  EXPECT_EQ(text_of(file), "the old one");
}

TEST_F(MappedFileTest, TellsWhetherAFileExists) {
  EXPECT_TRUE(file_exists(write("here", "")));
  EXPECT_FALSE(file_exists(path("absent")));
  EXPECT_FALSE(file_exists(path("here") / "below"));
  fs::create_symlink("absent", path("dangling"));
  EXPECT_FALSE(file_exists(path("dangling")));
  fs::create_symlink("loop", path("loop"));
  expect_refused([&] { file_exists(path("loop")); }, path("loop"), "Too many levels");
}

TEST_F(MappedFileTest, ListsTheNamesInADirectory) {
  EXPECT_TRUE(file_names(path("")).empty());
  fs::create_symlink("b", write("c", "").parent_path() / "b");
  fs::create_directory(path("a"));
  EXPECT_EQ(file_names(path("")), (std::vector<std::string>{"a", "b", "c"}));
  expect_refused([&] { file_names(path("absent")); }, path("absent"), "No such file");
  expect_refused([&] { file_names(path("c")); }, path("c"), "Not a directory");
}

TEST_F(MappedFileTest, RefusesWhatIsNotAFileItCanRead) {
  expect_refused([&] { MappedFile file(path("absent")); }, path("absent"), "No such file");
  expect_refused([&] { MappedFile file(path("")); }, path(""), "is not a regular file");
  expect_refused([&] { MappedFile file("/dev/null"); }, "/dev/null", "is not a regular file");
  const fs::path loop = path("loop");
  fs::create_symlink(loop, loop);
  expect_refused([&] { MappedFile file(loop); }, loop, "symbolic links");
  const fs::path hidden = write("hidden", "secret");
  ASSERT_EQ(::chmod(hidden.c_str(), 0), 0);
  if (::access(hidden.c_str(), R_OK) != 0) {  // root may read everything
    expect_refused([&] { MappedFile file(hidden); }, hidden, "Permission denied");
  }
}

TEST_F(MappedFileTest, RefusesAPipeWithoutWaitingForAWriter) {
  const fs::path pipe = path("pipe");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  expect_refused([&] { MappedFile file(pipe); }, pipe, "is not a regular file");
}

TEST_F(MappedFileTest, TextFileHasALimit) {
  const fs::path file = write("text", "12345");
  EXPECT_EQ(read_text_file(file, 5), "12345");
  expect_refused([&] { read_text_file(file, 4); }, file, "has 5 bytes, expected at most 4");
  expect_refused([&] { read_text_file(path("absent"), 4); }, path("absent"), "No such file");
}

}  // namespace
}  // namespace sinkrouter
