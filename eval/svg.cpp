#include "eval/svg.h"

#include <fmt/format.h>

#include <utility>

namespace sinkrouter {
namespace {

std::string escaped(std::string_view text) {
  std::string result;
  for (char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

// The end of an element that may have a title.
std::string closed(std::string_view element, std::string_view title) {
  return title.empty() ? "/>\n" : fmt::format("><title>{}</title></{}>\n", escaped(title), element);
}

}  // namespace

Svg::Svg(double width, double height)
    : markup_(fmt::format(
          R"svg(<svg xmlns="http://www.w3.org/2000/svg" width="{0:.0f}" height="{1:.0f}" viewBox="0 0 {0:.0f} {1:.0f}" font-family="'DejaVu Sans', 'Helvetica Neue', Arial, sans-serif">)svg"
          "\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
          width, height)) {}

void Svg::text(double x, double y, double size, std::string_view anchor, std::string_view colour,
               std::string_view content, std::string_view attributes) {
  markup_ += fmt::format(
      R"svg(<text x="{:.1f}" y="{:.1f}" font-size="{}" text-anchor="{}" fill="{}"{}>{}</text>)svg"
      "\n",
      x, y, size, anchor, colour, attributes, escaped(content));
}

void Svg::rect(double x, double y, double width, double height, std::string_view fill,
               std::string_view stroke, std::string_view title) {
  markup_ += fmt::format(
      R"svg(<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill="{}" stroke="{}")svg",
      x, y, width, height, fill, stroke);
  markup_ += closed("rect", title);
}

void Svg::line(Point from, Point to, std::string_view colour, double width,
               std::string_view attributes) {
  markup_ += fmt::format(
      R"svg(<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" stroke="{}" stroke-width="{}"{}/>)svg"
      "\n",
      from.x, from.y, to.x, to.y, colour, width, attributes);
}

void Svg::path(std::span<const Point> points, std::string_view colour, double width,
               std::string_view attributes) {
  std::string places;
  for (const Point& point : points) places += fmt::format("{:.1f},{:.1f} ", point.x, point.y);
  if (!places.empty()) places.pop_back();
  markup_ +=
      fmt::format(R"svg(<polyline points="{}" fill="none" stroke="{}" stroke-width="{}"{}/>)svg"
                  "\n",
                  places, colour, width, attributes);
}

void Svg::dot(Point centre, double radius, std::string_view fill, std::string_view title) {
  markup_ +=
      fmt::format(R"svg(<circle cx="{:.1f}" cy="{:.1f}" r="{:.1f}" fill="{}" stroke="#ffffff")svg",
                  centre.x, centre.y, radius, fill);
  markup_ += closed("circle", title);
}

void Svg::raw(std::string_view markup) { markup_ += markup; }

std::string Svg::finish() && { return std::move(markup_) + "</svg>\n"; }

}  // namespace sinkrouter
