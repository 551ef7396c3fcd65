#include <cermet/shape.h>

#include <cstdio>

int main() {
  const auto shape = cermet::broadcast_shapes(cermet::Shape{2, 1}, cermet::Shape{3});
  if (!shape || *shape != cermet::Shape{2, 3}) return 1;
  std::puts(cermet::to_string(*shape).c_str());
  return 0;
}
