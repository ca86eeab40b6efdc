#include "base/dtype.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace sinkrouter {
namespace {

enum class Overflow { kToInfinity, kSaturates };

// What the bits of a format mean, written from the formats' definitions and
// nothing else.
struct Format {
  int exponent_bits;
  int mantissa_bits;
  Overflow overflow;

  int total_bits() const { return 1 + exponent_bits + mantissa_bits; }
  std::uint32_t sign_bit() const { return 1u << (exponent_bits + mantissa_bits); }
  int bias() const { return (1 << (exponent_bits - 1)) - 1; }

  // Finite values are exact in double; infinity and NaN are themselves.
  double value(std::uint32_t bits) const {
    const std::uint32_t exponent_mask = (1u << exponent_bits) - 1;
    const std::uint32_t mantissa_mask = (1u << mantissa_bits) - 1;
    const std::uint32_t exponent = (bits >> mantissa_bits) & exponent_mask;
    const std::uint32_t mantissa = bits & mantissa_mask;
    const double sign = (bits & sign_bit()) != 0 ? -1.0 : 1.0;
    if (overflow == Overflow::kToInfinity && exponent == exponent_mask) {
      return mantissa == 0 ? sign * std::numeric_limits<double>::infinity() : std::nan("");
    }
    if (overflow == Overflow::kSaturates && exponent == exponent_mask &&
        mantissa == mantissa_mask) {
      return std::nan("");
    }
    const int power = exponent == 0 ? 1 - bias() : static_cast<int>(exponent) - bias();
    const double fraction = std::ldexp(static_cast<double>(mantissa), -mantissa_bits);
    return sign * std::ldexp(fraction + (exponent == 0 ? 0.0 : 1.0), power);
  }
};

template <typename T>
struct Traits;
template <>
struct Traits<Float16> {
  static constexpr Format kFormat{5, 10, Overflow::kToInfinity};
  using Bits = std::uint16_t;
};
template <>
struct Traits<BFloat16> {
  static constexpr Format kFormat{8, 7, Overflow::kToInfinity};
  using Bits = std::uint16_t;
};
template <>
struct Traits<Float8E4M3> {
  static constexpr Format kFormat{4, 3, Overflow::kSaturates};
  using Bits = std::uint8_t;
};

template <typename T>
class DtypeTest : public testing::Test {
 protected:
  static constexpr Format kFormat = Traits<T>::kFormat;

  static T of_bits(std::uint32_t bits) { return {static_cast<typename Traits<T>::Bits>(bits)}; }

  // The non-negative finite values in ascending order: index == bits.
  static const std::vector<double>& magnitudes() {
    static const std::vector<double> values = [] {
      std::vector<double> finite;
      for (std::uint32_t bits = 0; std::isfinite(kFormat.value(bits)); ++bits) {
        finite.push_back(kFormat.value(bits));
      }
      return finite;
    }();
    return values;
  }

  // The code of |x| by search: the nearest value, of two equally near the even
  // code; beyond the largest value the format's rule.
  static std::uint32_t nearest_code(double x) {
    const std::vector<double>& values = magnitudes();
    const auto last = static_cast<std::uint32_t>(values.size() - 1);
    const double step = values[last] - values[last - 1];
    if (x > values[last]) {
      if (kFormat.overflow == Overflow::kSaturates) return last;
      // The next value up would have an even code, so the tie rounds away from
      // `last`.
      return x >= values[last] + step / 2 ? last + 1 : last;
    }
    const auto upper = static_cast<std::uint32_t>(
        std::lower_bound(values.begin(), values.end(), x) - values.begin());
    if (values[upper] == x) return upper;
    const double below = x - values[upper - 1];
    const double above = values[upper] - x;
    if (below == above) return upper % 2 == 0 ? upper : upper - 1;
    return below < above ? upper - 1 : upper;
  }

  static void expect_rounds_to_nearest(float x) {
    const std::uint32_t sign = std::signbit(x) ? kFormat.sign_bit() : 0;
    const std::uint32_t expected = sign | nearest_code(std::fabs(static_cast<double>(x)));
    ASSERT_EQ(static_cast<std::uint32_t>(from_float<T>(x).bits), expected)
        << std::hexfloat << "from " << x;
  }

  static void expect_rounds_to_nearest_around(float x) {
    const float infinity = std::numeric_limits<float>::infinity();
    for (float y : {x, std::nextafter(x, -infinity), std::nextafter(x, infinity)}) {
      if (!std::isfinite(y)) continue;
      ASSERT_NO_FATAL_FAILURE(expect_rounds_to_nearest(y));
      ASSERT_NO_FATAL_FAILURE(expect_rounds_to_nearest(-y));
    }
  }
};

using StoredTypes = testing::Types<Float16, BFloat16, Float8E4M3>;
TYPED_TEST_SUITE(DtypeTest, StoredTypes);

TYPED_TEST(DtypeTest, EveryCodeMeansItsValue) {
  for (std::uint32_t bits = 0; bits < (1u << this->kFormat.total_bits()); ++bits) {
    const double expected = this->kFormat.value(bits);
    const float actual = to_float(this->of_bits(bits));
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(actual)) << bits;
    } else {
      ASSERT_EQ(static_cast<double>(actual), expected) << bits;
    }
    ASSERT_EQ(std::signbit(actual), (bits & this->kFormat.sign_bit()) != 0) << bits;
  }
}

TYPED_TEST(DtypeTest, EveryCodeSurvivesTheRoundTrip) {
  for (std::uint32_t bits = 0; bits < (1u << this->kFormat.total_bits()); ++bits) {
    const float value = to_float(this->of_bits(bits));
    if (std::isnan(value)) continue;
    ASSERT_EQ(static_cast<std::uint32_t>(from_float<TypeParam>(value).bits), bits);
  }
}

TYPED_TEST(DtypeTest, TiesGoToTheEvenCodeAndTheirNeighboursToTheNearest) {
  const std::vector<double>& values = this->magnitudes();
  for (std::size_t code = 0; code + 1 < values.size(); ++code) {
    const double middle = values[code] + (values[code + 1] - values[code]) / 2;
    ASSERT_EQ(static_cast<double>(static_cast<float>(middle)), middle) << "not exact in float";
    ASSERT_NO_FATAL_FAILURE(this->expect_rounds_to_nearest_around(static_cast<float>(middle)));
    ASSERT_NO_FATAL_FAILURE(
        this->expect_rounds_to_nearest_around(static_cast<float>(values[code])));
  }
}

TYPED_TEST(DtypeTest, LargeValuesFollowTheFormat) {
  const std::vector<double>& values = this->magnitudes();
  const double largest = values.back();
  const double half_step = (largest - values[values.size() - 2]) / 2;
  for (double x : {largest, largest + half_step, largest + 2 * half_step, 2 * largest}) {
    if (x > static_cast<double>(std::numeric_limits<float>::max())) continue;
    ASSERT_NO_FATAL_FAILURE(this->expect_rounds_to_nearest_around(static_cast<float>(x)));
  }
  ASSERT_NO_FATAL_FAILURE(this->expect_rounds_to_nearest_around(std::numeric_limits<float>::max()));
}

TYPED_TEST(DtypeTest, InfinityStaysOrSaturates) {
  const float infinity = std::numeric_limits<float>::infinity();
  const bool saturates = this->kFormat.overflow == Overflow::kSaturates;
  const float expected = saturates ? static_cast<float>(this->magnitudes().back()) : infinity;
  EXPECT_EQ(to_float(from_float<TypeParam>(infinity)), expected);
  EXPECT_EQ(to_float(from_float<TypeParam>(-infinity)), -expected);
}

TYPED_TEST(DtypeTest, EveryKindOfNanStaysNan) {
  for (std::uint32_t payload : {0x7f800001u, 0x7f80ffffu, 0x7fa00000u, 0x7fc00000u, 0x7fffffffu}) {
    for (std::uint32_t sign : {0u, 0x80000000u}) {
      const float nan = std::bit_cast<float>(payload | sign);
      EXPECT_TRUE(std::isnan(to_float(from_float<TypeParam>(nan)))) << std::hex << payload;
    }
  }
}

TYPED_TEST(DtypeTest, RandomFloatsRoundToTheNearest) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> near_one(-8.0f, 8.0f);
  for (int i = 0; i < 200000; ++i) {
    const float any = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    if (std::isfinite(any)) {
      ASSERT_NO_FATAL_FAILURE(this->expect_rounds_to_nearest(any));
    }
    ASSERT_NO_FATAL_FAILURE(this->expect_rounds_to_nearest(near_one(random)));
  }
}

TEST(DtypeNames, ParseIsTheInverseOfName) {
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kF8E4M3}) {
    EXPECT_EQ(parse_dtype(name(dtype)), dtype);
  }
  EXPECT_EQ(size_in_bytes(DType::kF32), 4u);
  EXPECT_EQ(size_in_bytes(DType::kF16), 2u);
  EXPECT_EQ(size_in_bytes(DType::kBF16), 2u);
  EXPECT_EQ(size_in_bytes(DType::kF8E4M3), 1u);
}

TEST(DtypeNames, UnknownNameIsRefusedWithTheKnownOnes) {
  for (const char* text : {"", "F32", "float32", "bf16 ", "int8"}) {
    try {
      parse_dtype(text);
      ADD_FAILURE() << "accepted '" << text << "'";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), Error::Kind::kInvalidArgument);
      EXPECT_STREQ(
          error.what(),
          ("unknown dtype '" + std::string(text) + "': expected f32, f16, bf16 or f8e4m3").c_str());
    }
  }
}

TEST(VisitDtype, CallsOnceWithTheMatchingType) {
  int calls = 0;
  visit_dtype<float, BFloat16>(DType::kBF16, [&]<typename T>() {
    ++calls;
    EXPECT_EQ(dtype_of<T>(), DType::kBF16);
  });
  EXPECT_EQ(calls, 1);
  EXPECT_THROW((visit_dtype<float, BFloat16>(DType::kF16, []<typename T>() {})), Error);
}

TEST(VisitInt, CallsOnceWithTheMatchingConstantOrNotAtAll) {
  int seen = 0;
  const auto record = [&]<int N>() { seen += N; };
  EXPECT_TRUE((visit_int<64, 80, 96, 128>(80, record)));
  EXPECT_EQ(seen, 80);
  EXPECT_FALSE((visit_int<64, 80, 96, 128>(72, record)));
  EXPECT_EQ(seen, 80);
}

TEST(Float16NotBelow, IsTheLeastSuchNumber) {
  for (std::uint32_t bits = 0; bits < 0x7c00; ++bits) {
    const float here = to_float(Float16{static_cast<std::uint16_t>(bits)});
    EXPECT_EQ(float16_not_below(here).bits, bits);
    const Float16 above = float16_not_below(std::nextafter(here, 1e9f));
    if (bits + 1 < 0x7c00) {
      EXPECT_EQ(above.bits, bits + 1);
    } else {
      EXPECT_TRUE(std::isnan(to_float(above)));
    }
  }
  for (float x :
       {1e30f, std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    EXPECT_TRUE(std::isnan(to_float(float16_not_below(x)))) << x;
  }
}

}  // namespace
}  // namespace sinkrouter
