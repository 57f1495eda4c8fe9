// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "experiments.h"

namespace ebpf::bench {

// The q-th part of the sorted values, e.g. 0.5 for the median; 0 of none.
template <class T>
double quantile(std::vector<T> values, double q) {
  if (values.empty()) return 0;
  const auto at = static_cast<size_t>(q * static_cast<double>(values.size() - 1) + 0.5);
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(at), values.end());
  return static_cast<double>(values[at]);
}

inline Json spread(const std::vector<double>& values) {
  return {{"median", quantile(values, 0.5)},
          {"min", quantile(values, 0.0)},
          {"max", quantile(values, 1.0)},
          {"each", values}};
}

}  // namespace ebpf::bench
