// LibTorch 1.13 and 2.4 or newer from one source: every difference between versions is in this
// file.
#pragma once

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/grad_mode.h>
#include <torch/version.h>

#define WINDTUNNEL_TORCH (TORCH_VERSION_MAJOR * 100 + TORCH_VERSION_MINOR)
