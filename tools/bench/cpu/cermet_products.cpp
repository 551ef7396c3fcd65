// Attention (W6), matrix products of many shapes (W7), pairwise distances (W9).

#include "tools/bench/cpu/cermet_case.h"

namespace bench {
namespace {

using List = std::vector<Tensor>;
constexpr int64_t heads = 16, steps = 256, head_size = 64;

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v) {
  return ct::matmul(ct::softmax(ct::matmul(q, k.transpose(1, 2)) * 0.125, 2), v);
}

// With a vector on either side where that is 1.
Case product(const ProductShape& of) {
  return cermet_case(of.name(), [of] {
    const Tensor a = input(of.m == 1 ? ct::Shape{of.k} : ct::Shape{of.m, of.k}, 1),
                 b = input(of.n == 1 ? ct::Shape{of.k} : ct::Shape{of.k, of.n}, 2);
    return [=] { return List{ct::matmul(a, b)}; };
  });
}

}  // namespace

std::vector<Case> product_cases() {
  std::vector<Case> out{
      cermet_case("W6a",
                  [] {
                    const ct::Shape shape{heads, steps, head_size};
                    const Tensor q = input(shape, 1), k = input(shape, 2), v = input(shape, 3);
                    return [=] { return List{attention(q, k, v)}; };
                  }),
      cermet_case("W6b",
                  [] {
                    const ct::Shape shape{heads, steps, head_size};
                    List leaves{input(shape, 1), input(shape, 2), input(shape, 3)};
                    for (Tensor& leaf : leaves) leaf.set_requires_grad();
                    const Tensor adjoint = input(shape, 4);
                    return [=] {
                      const Tensor y = attention(leaves[0], leaves[1], leaves[2]);
                      List out = ct::grad(std::span(&y, 1), leaves, std::span(&adjoint, 1));
                      out.push_back(y);
                      return out;
                    };
                  }),
      cermet_case("W7",
                  [] {
                    const Tensor a = input({1024, 1024}, 1, 0.1F), b = input({1024, 1024}, 2),
                                 bias = input({1024}, 3);
                    return [=] { return List{ct::gelu(ct::matmul(a, b) + bias, true)}; };
                  }),
      cermet_case("W9",
                  [] {
                    const Tensor a = input({2000, 64}, 1), b = input({2000, 64}, 2);
                    return [=] {
                      const Tensor apart = a.unsqueeze(1) - b.unsqueeze(0);
                      return List{(apart * apart).sum(2)};
                    };
                  }),
  };
  for (const ProductShape& shape : product_shapes) out.push_back(product(shape));
  return out;
}

}  // namespace bench
