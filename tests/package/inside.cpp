#include <ir/check.h>

int main() {
  try {
    CERMET_CHECK(1 + 1 == 3, "{} is not {}", 1 + 1, 3);
  } catch (const cermet::InternalError&) {
    return 0;
  }
  return 1;
}
