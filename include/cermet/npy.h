#pragma once
// NumPy's files. A file that is not there, or wrong, is an Error that names it and says what was
// found; a folder that is not there, or a full disk, is a DeviceError.

#include <string>
#include <utility>
#include <vector>

#include "cermet/tensor.h"

namespace cermet {

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

Tensor load_npy(const std::string& path, CERMET_HERE);
void save_npy(const std::string& path, const Tensor& tensor, CERMET_HERE);
// The arrays in the order of the file.
NamedTensors load_npz(const std::string& path, CERMET_HERE);
// Uncompressed; the file appears complete or not at all.
void save_npz(const std::string& path, const NamedTensors& tensors, CERMET_HERE);

}  // namespace cermet
