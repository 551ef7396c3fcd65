// Softmax (W2), layer norm forward and backward (W3), reductions over one axis or both (W4).

#include "tools/bench/cpu/cermet_case.h"

namespace bench {
namespace {

constexpr int64_t rows = 4096, columns = 1024, square = 4096;
using List = std::vector<Tensor>;

Case reduction(const std::string& name, Tensor (*reduce)(const Tensor&)) {
  return cermet_case(name, [reduce] {
    const Tensor x = input({square, square}, 1);
    return [=] { return List{reduce(x)}; };
  });
}

}  // namespace

std::vector<Case> row_cases() {
  return {
      cermet_case("W2",
                  [] {
                    const Tensor x = input({rows, columns}, 1, 4);
                    return [=] { return List{ct::softmax(x, 1)}; };
                  }),
      cermet_case("W3a",
                  [] {
                    const Tensor x = input({rows, columns}, 1), weight = input({columns}, 2),
                                 bias = input({columns}, 3);
                    return [=] { return List{ct::layer_norm(x, 1, weight, bias)}; };
                  }),
      cermet_case("W3b",
                  [] {
                    List leaves{input({rows, columns}, 1), input({columns}, 2),
                                input({columns}, 3)};
                    for (Tensor& leaf : leaves) leaf.set_requires_grad();
                    const Tensor adjoint = input({rows, columns}, 4);
                    return [=] {
                      const Tensor y = ct::layer_norm(leaves[0], 1, leaves[1], leaves[2]);
                      List out = ct::grad(std::span(&y, 1), leaves, std::span(&adjoint, 1));
                      out.push_back(y);
                      return out;
                    };
                  }),
      reduction("W4_sum0", [](const Tensor& x) { return x.sum(0); }),
      reduction("W4_sum1", [](const Tensor& x) { return x.sum(1); }),
      reduction("W4_sumall", [](const Tensor& x) { return x.sum(); }),
      reduction("W4_mean0", [](const Tensor& x) { return x.mean(0); }),
      reduction("W4_mean1", [](const Tensor& x) { return x.mean(1); }),
      reduction("W4_meanall", [](const Tensor& x) { return x.mean(); }),
      reduction("W4_max0", [](const Tensor& x) { return x.amax(0); }),
      reduction("W4_max1", [](const Tensor& x) { return x.amax(1); }),
      reduction("W4_maxall", [](const Tensor& x) { return x.amax(); }),
  };
}

}  // namespace bench
