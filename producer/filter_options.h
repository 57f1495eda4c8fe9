// SPDX-License-Identifier: Apache-2.0
// The options of ebpf-producer that say whose traffic is captured.
#pragma once

#include <CLI/CLI.hpp>

#include "producer/filters.h"

namespace ebpf {

void add_filter_options(CLI::App& app, TracerFilters& filters);

}  // namespace ebpf
