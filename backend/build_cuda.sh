#!/bin/sh
# Compiles and links the backend for GPUs with LibTorch's wheel from PyPI, and starts it. Wheels bring CUDA and NCCL too: neither a GPU nor a CUDA toolkit has to be there, but a
# Python that the wheel is for, with venv. Everything stays below build/: the wheels, which are
# downloaded once, and the program build/cuda/windtunnel_backend. Exit code 77: no wheels, no build.
set -eu
cd "$(dirname "$0")/.."
torch=2.11
cuda=13.0 # that this LibTorch is built for

home=build/libtorch-$torch
fetch() {
  echo "downloading LibTorch $torch with CUDA $cuda (2.8 GB, 5 GB unpacked)" >&2
  rm -rf "$home"
  mkdir -p build
  python3 -m venv "$home" &&
    "$home/bin/pip" install --quiet --no-cache-dir --retries 2 "torch==$torch.*" \
      "nvidia-cuda-nvcc==$cuda.*" "nvidia-cuda-crt==$cuda.*" "nvidia-nvvm==$cuda.*" &&
    touch "$home/complete"
}
if [ ! -f "$home/complete" ] && ! fetch; then
  rm -rf "$home"
  echo "LibTorch's wheels could not be installed: the GPU build is skipped" >&2
  exit 77
fi
wheels=$("$home/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
toolkit=$(echo "$wheels"/nvidia/cu*)

# Wheels hold libraries by their versioned names, linkers look for plain ones.
for library in "$toolkit"/lib/lib*.so.*; do
  plain=${library%%.so.*}.so
  [ -e "$plain" ] || ln -s "$(basename "$library")" "$plain"
done

cmake -G Ninja -S . -B build/cuda -DCMAKE_BUILD_TYPE=Release -DWINDTUNNEL_SIMULATOR=OFF \
  -DWINDTUNNEL_BACKEND=ON -DWINDTUNNEL_CUDA=ON -DCMAKE_PREFIX_PATH="$wheels/torch/share/cmake" \
  -DCUDA_TOOLKIT_ROOT_DIR="$toolkit" -DCMAKE_CUDA_COMPILER="$toolkit/bin/nvcc" >build/cuda.log 2>&1 ||
  { cat build/cuda.log >&2; exit 1; }
cmake --build build/cuda --target windtunnel_backend
build/cuda/windtunnel_backend --help >/dev/null
