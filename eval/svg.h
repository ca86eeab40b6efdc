#pragma once

#include <span>
#include <string>
#include <string_view>

namespace sinkrouter {

// A drawing, written from back to front. Lengths are pixels, y grows downwards; all text is
// escaped.
class Svg {
 public:
  static constexpr std::string_view kInk = "#1a1a1a";
  static constexpr std::string_view kFaint = "#555555";
  static constexpr std::string_view kFrame = "#bbbbbb";

  struct Point {
    double x = 0;
    double y = 0;
  };

  Svg(double width, double height);

  // `anchor` is "start", "middle" or "end"; `attributes` are written as they are.
  void text(double x, double y, double size, std::string_view anchor, std::string_view colour,
            std::string_view content, std::string_view attributes = "");
  // `title` is what a viewer shows under the pointer, nothing when empty.
  void rect(double x, double y, double width, double height, std::string_view fill,
            std::string_view stroke, std::string_view title = "");
  void line(Point from, Point to, std::string_view colour, double width,
            std::string_view attributes = "");
  void path(std::span<const Point> points, std::string_view colour, double width,
            std::string_view attributes = "");
  void dot(Point centre, double radius, std::string_view fill, std::string_view title = "");
  void raw(std::string_view markup);

  std::string finish() &&;

 private:
  std::string markup_;
};

}  // namespace sinkrouter
