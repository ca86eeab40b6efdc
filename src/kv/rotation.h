#pragma once

#include <vector>

namespace sinkrouter {

// The orthogonal matrix [dim, dim], row-major, that row sketches rotate keys with, so that no
// channel is an outlier: random signs and a Hadamard matrix when dim is a power of two, else a
// random orthogonal one. The same for a dim on every call. dim >= 1.
std::vector<float> rotation_matrix(int dim);

}  // namespace sinkrouter
