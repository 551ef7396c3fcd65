#include "ir/check.h"

#include <string>

#include "support/catch.h"

using namespace std::string_literals;

TEST_CASE("check: a broken invariant throws with place, condition and text") {
  const int found = 3;
  std::string text;
  try {
    CERMET_CHECK(found == 4, "found {}", found);
  } catch (const cermet::InternalError& error) {
    text = error.what();
  }
  CHECK_THAT(text, Catch::Matchers::EndsWith("found == 4 does not hold: found 3"));
  CHECK_THAT(text, Catch::Matchers::ContainsSubstring("check_test.cpp:13: "));
  CHECK_THROWS_AS(CERMET_CHECK(found == 4), cermet::InternalError);
}

TEST_CASE("check: the text is built only when the condition fails") {
  int calls = 0;
  const auto count = [&calls] { return ++calls; };
  CERMET_CHECK(true, "{}", count());
  CHECK(calls == 0);
  CHECK_THROWS(CERMET_CHECK(false, "{}", count()));
  CHECK(calls == 1);
}
