#pragma once
// Training and evaluation of a network on digits.
//
// A batch is chosen by a tensor of positions, not by slicing: where a slice begins is part of an
// expression, and each batch would be a program of its own, while the elements of a tensor are
// data. So all steps of a run are one program, and so are all evaluations.

#include <algorithm>
#include <span>
#include <vector>

#include "cermet/cermet.h"
#include "tools/examples/network.h"
#include "tools/examples/optimizer.h"

namespace examples {

// Images [N,1,28,28], float32 in [0, 1], and labels [N], int64, both computed.
struct Digits {
  ct::Tensor images, labels;
  int64_t count() const { return labels.size(0); }
};

// 0 to count - 1, in the order of an epoch.
inline std::vector<int64_t> shuffled(int64_t count, const ct::Key& key) {
  return ct::randperm(key, count).to_vector<int64_t>();
}

// One step on the digits at `positions`: loss, parameters and the optimizer's state are computed as
// one program. Returns the loss, the mean over the batch before the step.
inline float train_step(Network& net, Optimizer& optimizer, const Digits& digits,
                        std::span<const int64_t> positions) {
  const ct::Tensor at =
      ct::tensor(positions, {int64_t(positions.size())}).to(digits.images.device());
  const ct::Tensor scores = net.forward(net.parameters, digits.images.index_select(0, at));
  const ct::Tensor loss = ct::cross_entropy(scores, digits.labels.index_select(0, at));
  const std::vector<ct::Tensor> gradients = ct::grad(std::span(&loss, 1), net.parameters);
  optimizer.step(net.parameters, gradients);

  std::vector<ct::Tensor> results{loss};
  results.insert(results.end(), net.parameters.begin(), net.parameters.end());
  results.insert(results.end(), optimizer.state().begin(), optimizer.state().end());
  ct::realize(results);
  return loss.item<float>();
}

// The share of the digits that the network recognises. They are taken in batches of one size, the
// last of which may overlap the one before; what overlaps counts once.
inline double accuracy(const Network& net, const Digits& digits, int64_t batch) {
  const ct::no_grad guard;
  const int64_t count = digits.count(), size = std::min(batch, count);
  int64_t right = 0;
  std::vector<int64_t> positions(static_cast<size_t>(size));
  for (int64_t done = 0; done < count; done += size) {
    const int64_t first = std::min(done, count - size);
    for (int64_t i = 0; i < size; ++i) positions[size_t(i)] = first + i;
    const ct::Tensor at = ct::tensor(positions).to(digits.images.device());
    const ct::Tensor scores = net.forward(net.parameters, digits.images.index_select(0, at));
    const ct::Tensor hits = scores.argmax(1) == digits.labels.index_select(0, at);
    const std::vector<bool> hit = hits.to_vector<bool>();
    right += std::count(hit.begin() + (done - first), hit.end(), true);
  }
  return double(right) / double(count);
}

}  // namespace examples
