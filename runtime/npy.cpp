#include "cermet/npy.h"

#include <fmt/format.h>

#include "runtime/api.h"
#include "runtime/npy_file.h"

namespace cermet {

using runtime::located;

namespace {

Tensor tensor_of(const runtime::Array& array, const SourceLocation& where) {
  return tensor(std::span<const std::byte>(array.data), array.dtype, array.shape, where);
}

// The elements of a tensor, row-major, for as long as this lives.
struct Elements {
  Elements(const Tensor& t, const SourceLocation& where)
      : plain(t.detach(where).cpu(where).contiguous(where)),
        view(t.dtype(where), t.shape(where), nullptr) {
    plain.realize(where);
    const auto& state = *plain.state(where);
    view.data = static_cast<const std::byte*>(state.cell()->elements()->host_data()) +
                state.view().levels()[0].offset * int64_t(size_of(view.dtype));
  }
  Tensor plain;
  runtime::ArrayView view;
};

}  // namespace

Tensor load_npy(const std::string& path, SourceLocation where) {
  return located(where, [&] { return tensor_of(runtime::read_npy(path), where); });
}

void save_npy(const std::string& path, const Tensor& tensor, SourceLocation where) {
  if (!tensor.defined()) throw Error("save_npy: the tensor is undefined", where);
  located(where, [&] { runtime::write_npy(path, Elements(tensor, where).view); });
}

NamedTensors load_npz(const std::string& path, SourceLocation where) {
  return located(where, [&] {
    NamedTensors out;
    for (const auto& [name, array] : runtime::read_npz(path))
      out.emplace_back(name, tensor_of(array, where));
    return out;
  });
}

void save_npz(const std::string& path, const NamedTensors& tensors, SourceLocation where) {
  located(where, [&] {
    // One program for all of them.
    std::vector<Tensor> all;
    for (const auto& [name, t] : tensors) {
      if (!t.defined()) throw Error(fmt::format("save_npz: the tensor '{}' is undefined", name));
      all.push_back(t);
    }
    realize(all, where);
    std::vector<Elements> elements;
    elements.reserve(tensors.size());
    runtime::NamedViews views;
    for (const auto& [name, t] : tensors) {
      elements.emplace_back(t, where);
      views.emplace_back(name, elements.back().view);
    }
    runtime::write_npz(path, views);
  });
}

}  // namespace cermet
