// What CUDA, NCCL and PyTorch take on a GPU besides the tensors of a job.
#pragma once

#include "plan/job.hpp"

namespace windtunnel {

// Adds to a finished program the memory kinds Framework (CUDA context, cuBLAS workspace, NCCL's
// buffers) and, unless its segments expand, Fragmentation. Nothing for the software `bare` and for
// CPU ranks.
void add_runtime_memory(const Job& job, const RankGrid& grid, const std::vector<Block>& blocks,
                        Program& program);

// The part of NCCL's memory that one communicator takes.
Bytes nccl_buffers(int channels);

}  // namespace windtunnel
