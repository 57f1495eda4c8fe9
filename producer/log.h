// SPDX-License-Identifier: Apache-2.0
// Where the producer library says what happens. The library links no logging library;
// whoever uses it installs a sink (the daemon: spdlog).
#pragma once

#include <functional>
#include <string>

namespace ebpf {

enum class LogLevel { kDebug, kInfo, kWarn, kError };

// Called from any producer thread; must be thread-safe. Messages are one line and never
// hold captured payload.
using LogSink = std::function<void(LogLevel, const std::string&)>;

}  // namespace ebpf
