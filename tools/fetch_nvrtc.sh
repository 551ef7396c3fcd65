#!/usr/bin/env bash
# Prints the file of NVRTC that tests of CUDA are to use. Where the machine has none, fetches NVIDIA's
# wheel (about 100 MB) into build/nvrtc first. Fails, and says why, where that cannot be had.
set -euo pipefail
cd "$(dirname "$0")/.."

find_nvrtc() {
  local file
  for file in "${CERMET_NVRTC:-}" /usr/local/cuda*/lib64/libnvrtc.so.1[23] \
              "$PWD"/build/nvrtc/nvidia/cu13/lib/libnvrtc.so.13; do
    if [[ -f $file ]]; then echo "$file"; return 0; fi
  done
  file=$(ldconfig -p 2>/dev/null | sed -n 's/.*libnvrtc\.so\.1[23] .* => //p' | head -n 1)
  [[ -n $file ]] && echo "$file"
}

if ! find_nvrtc; then
  echo "Fetching NVRTC" >&2
  python3 -m pip install --quiet --disable-pip-version-check --no-deps --target build/nvrtc \
      'nvidia-cuda-nvrtc>=13,<14' >&2 && find_nvrtc
fi
