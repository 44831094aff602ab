#!/bin/sh
# Compiles and links the backend for GPUs and its tests with LibTorch's wheel from PyPI, and runs
# the tests, of which those that need a GPU are skipped where none is. Wheels bring CUDA and NCCL
# too: no CUDA toolkit has to be there, but a Python that the wheel is for, with venv. They are
# downloaded once for all clones, into the user's cache; what is built lies in build/cuda.
# Exit code 77: no wheels, no build.
set -eu
cd "$(dirname "$0")/.."
torch=2.11
cuda=13.0 # that this LibTorch is built for

home=${XDG_CACHE_HOME:-${HOME:-$PWD/build}/.cache}/windtunnel/libtorch-$torch
# The folder gets its name when it is complete, so that no clone uses half of it.
fetch() (
  partial=$home.$$
  trap 'rm -rf "$partial"' EXIT
  trap 'exit 1' INT TERM
  echo "downloading LibTorch $torch with CUDA $cuda (2.8 GB, 5 GB unpacked) into $home" >&2
  mkdir -p "$(dirname "$home")" && python3 -m venv "$partial" &&
    "$partial/bin/pip" install --quiet --no-cache-dir --retries 2 "torch==$torch.*" \
      "nvidia-cuda-nvcc==$cuda.*" "nvidia-cuda-crt==$cuda.*" "nvidia-nvvm==$cuda.*" || exit 1
  # Wheels hold libraries by their versioned names, linkers look for plain ones.
  for library in "$partial"/lib/python*/site-packages/nvidia/cu[0-9]*/lib/lib*.so.*; do
    plain=${library%%.so.*}.so
    [ -e "$plain" ] || ln -s "$(basename "$library")" "$plain"
  done
  mv -T "$partial" "$home" || [ -d "$home" ] # another clone was faster
)
if [ ! -d "$home" ] && ! fetch; then
  echo "LibTorch's wheels could not be installed: the GPU build is skipped" >&2
  exit 77
fi
wheels=$(echo "$home"/lib/python*/site-packages)
toolkit=$(echo "$wheels"/nvidia/cu[0-9]*)

# Without this ccache, where there is one, keeps nothing that used precompiled headers.
export CCACHE_SLOPPINESS="${CCACHE_SLOPPINESS:-pch_defines,time_macros}"
mkdir -p build
cmake -G Ninja -S . -B build/cuda -DCMAKE_BUILD_TYPE=Release -DWINDTUNNEL_SIMULATOR=OFF \
  -DWINDTUNNEL_BACKEND=ON -DWINDTUNNEL_CUDA=ON -DCMAKE_PREFIX_PATH="$wheels/torch/share/cmake" \
  -DCUDA_TOOLKIT_ROOT_DIR="$toolkit" -DCMAKE_CUDA_COMPILER="$toolkit/bin/nvcc" >build/cuda.log 2>&1 ||
  { cat build/cuda.log >&2; exit 1; }
cmake --build build/cuda --target windtunnel_backend --target backend
build/cuda/windtunnel_backend --help >/dev/null
exec ctest --test-dir build/cuda -R '^backend:' --output-on-failure --no-tests=error
