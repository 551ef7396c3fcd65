#!/usr/bin/env bash
# On a machine with an NVIDIA GPU, in nine minutes: the tests that run on simulated GPUs elsewhere, on
# the real driver; a sample of them under compute-sanitizer; and the benchmark, beside PyTorch.
#
#   tools/bench/gpu.sh [--write]    builds what is missing; --write puts the table into README.md
#   tools/bench/gpu.sh --pack FILE  on a machine where it can be built: packs it (.tar.gz) for one where
#                                   it cannot. Unpack it there and run its tools/bench/gpu.sh
#   tools/bench/gpu.sh --fake       tries all of it on the fake driver, with small sizes
#
# --no-build, --no-tests: leaves that out. --build DIR: another build directory than build/release.
# What cannot be had (NVRTC: needed; PyTorch, compute-sanitizer: not) is named, and the rest is done.
# Logs and results are in gpu/ of the build directory.
set -euo pipefail
cd "$(dirname "$0")/../.."

build=build/release fake= make=1 tests=1 pack= write=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --fake) fake=1 ;;
    --no-build) make= ;;
    --no-tests) tests= ;;
    --write) write=(--write tools/bench/README.md) ;;
    --build) build=$2; shift ;;
    --pack) pack=$2; shift ;;
    *) sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
  shift
done

build=$(realpath -m "$build")
limit=530  # seconds for everything
left() { echo $((limit - SECONDS > 1 ? limit - SECONDS : 1)); }
say() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }
stop() { echo "gpu.sh: $*" >&2; exit 1; }

binaries=(test_compiled test_compiled_random test_gradient test_api test_cuda_api)
programs=("${binaries[@]/#/$build/tests/}" "$build/tools/bench/bench_gpu")

# ---- Programs ----

if [[ ! -f $build/packed ]]; then
  if [[ -n $make ]] && command -v cmake >/dev/null && command -v ninja >/dev/null; then
    say "Building"
    targets=("${binaries[@]}" bench_gpu mnist fakecuda cermet_llvm)
    { { [[ -f $build/build.ninja ]] || cmake --preset release -B "$build"; } &&
        cmake --build "$build" --target "${targets[@]}"; } ||
      echo "It could not be built here; tools/install_packages.sh build installs what it needs." >&2
  fi
  for program in "${programs[@]}"; do
    [[ -x $program ]] || stop "there is no $program, and it cannot be built here: see --pack"
  done
fi

if [[ -n $pack ]]; then
  say "Packing"
  stage=$(mktemp -d)
  trap 'rm -rf "$stage"' EXIT
  here=$stage/cermet/build/release
  mkdir -p "$here"/{tests,lib/cermet,tools/bench} "$stage"/cermet/{tools,tests}
  cp -r tools/bench tools/fetch_nvrtc.sh "$stage/cermet/tools/"
  cp -r tests/data "$stage/cermet/tests/"
  cp "$build"/tests/test_{compiled,compiled_random,gradient,api,cuda_api} "$here/tests/"
  cp "$build/tools/bench/bench_gpu" "$here/tools/bench/"
  cp "$build/lib/cermet/cermet_llvm.so" "$here/lib/cermet/"
  find "$here" -type f -exec strip {} +
  # What Debian's packages bring; the C and C++ libraries of that machine are newer than these.
  ldd "${programs[@]}" "$build/lib/cermet/cermet_llvm.so" | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' | sort -u |
    grep -Ev '/(libc|libm|libstdc\+\+|libgcc_s|ld-linux[^/]*)\.so' | xargs -I{} cp {} "$here/lib/"
  touch "$here/packed"
  tar -C "$stage" -czf "$pack" cermet
  ls -lh "$pack"
  exit 0
fi
ours=(env)  # begins the command line of our programs
if [[ -f $build/packed ]]; then
  ours+=(LD_LIBRARY_PATH="$build/lib" CERMET_LLVM_MODULE="$build/lib/cermet/cermet_llvm.so")
fi
export CERMET_TEST_SOURCE_DIR=$PWD CERMET_TEST_BUILD_DIR=$build
out=$build/gpu
mkdir -p "$out"

# ---- The machine ----

say "Looking around"
python=${CERMET_BENCH_PYTHON:-python3}
if [[ -z ${CERMET_NVRTC:-} && -z $fake ]]; then
  # As PyTorch brings it, else the toolkit's, else fetched.
  CERMET_NVRTC=$("$python" -c 'import glob, nvidia
print(*[f for p in nvidia.__path__ for f in sorted(glob.glob(p + "/*/lib/libnvrtc.so.1[23]"))], sep="\n")' \
    2>/dev/null | tail -n 1) || true
  [[ -n $CERMET_NVRTC ]] ||
    CERMET_NVRTC=$(timeout 100 tools/fetch_nvrtc.sh 2>/dev/null | tail -n 1) ||
    stop "NVRTC is neither in a toolkit nor a Python package here, and cannot be fetched"
  export CERMET_NVRTC
fi
echo "NVRTC: ${CERMET_NVRTC:-where the library looks}"
if [[ -n $fake ]]; then
  export CERMET_TEST_GPU="90 lazy" CERMET_CUDA_PTX=1 CERMET_CACHE_DIR=$build/tests/gpu-kernels
  export CERMET_CUDA_DRIVER=$build/tests/fakecuda/libfakecuda.so
  mkdir -p "$CERMET_CACHE_DIR"
  sizes=(4096 64 0) device=cpu
else
  export CERMET_TEST_GPU=real
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null ||
    echo "nvidia-smi is not here; whether the driver works will show"
  sizes=($((1 << 26)) 8192 0.2) device=cuda
fi
"${ours[@]}" timeout 100 "$build/tools/bench/bench_gpu" "$out/trial.json" 1024 32 0 \
    >"$out/trial.log" 2>&1 ||
  { cat "$out/trial.log" >&2; stop "the GPU cannot be used"; }
failed=0

# ---- Tests ----

# run_all <label> <timeout> <prefix>...: reads lines "binary cases" and runs as many at once as there are
# cores.
run_all() {
  local label=$1 time=$2 number=0 jobs=() line binary cases log
  shift 2
  while IFS= read -r line; do
    binary=${line%% *} cases=${line#* } number=$((number + 1))
    log=$out/$label-$number.log
    echo "$line" >"$log"
    (if "${ours[@]}" timeout "$time" "$@" "$build/tests/$binary" --filenames-as-tags "$cases" \
          >>"$log" 2>&1 && ! grep -q "No test cases matched" "$log"; then
       echo "passed: $line"
     else
       echo "FAILED: $line ($log)"
       tail -n 25 "$log"
       exit 1
     fi) &
    jobs+=($!)
    while [[ $(jobs -rp | wc -l) -ge $(nproc) ]]; do wait -n || true; done
  done
  for number in "${jobs[@]}"; do wait "$number" || failed=1; done
}

if [[ -n $tests ]]; then
  say "Testing on the GPU"
  api="~[.]"  # hidden cases are run by others, in processes of their own
  [[ ! -f $build/packed ]] || api+="~[program]"  # it is not packed
  {
    if [[ -z $fake ]]; then
      printf 'test_compiled [#compiled_%s_test]\n' elementwise index reduce product
      echo 'test_compiled_random ~[cpu]'
      printf 'test_gradient [#gradient_%s_test]\n' reduce structural elementwise golden random
    fi
    echo 'test_api [#grad_test]~[cpu]'
    echo "test_cuda_api $api"
  } | { run_all test "$(($(left) * 6 / 10))"; exit $failed; } || failed=1

  say "Testing a sample under compute-sanitizer"
  sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null |
    tail -n 1) || true
  if [[ -n $fake || -z $sanitizer ]]; then
    echo "Left out: $([[ -n $fake ]] && echo the GPU is a fake one || echo compute-sanitizer is not here)"
  else
    export CERMET_CUDA_EXACT=1
    for tool in memcheck racecheck synccheck initcheck; do
      run_all "$tool" 60 "$sanitizer" --tool "$tool" --error-exitcode 9 <<'LIST'
test_compiled compiled: dot with a prologue and an epilogue
test_compiled compiled: positions of extrema in the kernel of a long sum
test_gradient gradient: scatter with indices that repeat
LIST
    done
    unset CERMET_CUDA_EXACT
  fi
fi

# ---- Benchmark ----

say "Measuring Cermet"
rm -f "$out"/{cermet,torch}.json
"${ours[@]}" timeout "$(left)" "$build/tools/bench/bench_gpu" "$out/cermet.json" "${sizes[@]}" ||
  stop "nothing could be measured"

say "Measuring PyTorch"
why=
have_torch() {
  "$1" -c "import torch; assert '$device' == 'cpu' or torch.cuda.is_available()" >/dev/null 2>&1
}
venv=$build/gpu/venv
if ! have_torch "$python"; then
  if [[ -z $fake && ! -x $venv/bin/python ]]; then
    timeout "$(($(left) / 2))" sh -c \
      "'$python' -m venv '$venv' && '$venv/bin/pip' -q --timeout 10 --retries 0 install torch" ||
      rm -rf "$venv"
  fi
  python=$venv/bin/python
  have_torch "$python" || why="it is not installed and could not be fetched"
fi
if [[ -z $why ]]; then
  export CERMET_BENCH_DEADLINE=$(($(date +%s) + $(left) - 30))
  timeout "$(left)" "$python" tools/bench/gpu_torch.py "$out/torch.json" "${sizes[@]}" $device ||
    why="it failed; see above"
fi
[[ -z $why ]] || echo "No figures of PyTorch: $why"

say "The table"
[[ -z $fake ]] || write=()  # what a simulator takes says nothing
python3 tools/bench/report.py "$out/cermet.json" "$out/torch.json" --why "${why:-}" "${write[@]}"
[[ $failed == 0 ]] || stop "some tests failed; see above"
