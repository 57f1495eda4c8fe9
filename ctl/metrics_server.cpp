// SPDX-License-Identifier: Apache-2.0
#include "ctl/metrics_server.h"

#include <arpa/inet.h>
#include <prometheus/collectable.h>
#include <prometheus/exposer.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <exception>
#include <memory>

#include "libebpf/detail/escape.h"
#include "libebpf/detail/unique_fd.h"

namespace ebpf::ctl {
namespace {

// Clients that send slowly, or nothing, hold a thread for so long at most.
constexpr const char* kThreads = "32";
constexpr const char* kRequestTimeoutMs = "1000";

class Collector : public prometheus::Collectable {
 public:
  explicit Collector(std::function<MetricFamilies()> collect) : collect_(std::move(collect)) {}
  MetricFamilies Collect() const override { return collect_(); }

 private:
  std::function<MetricFamilies()> collect_;
};

socklen_t fill_address(const ListenAddress& address, sockaddr_storage& storage) {
  if (address.ipv6) {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(address.port);
    return inet_pton(AF_INET6, address.host.c_str(), &v6->sin6_addr) == 1 ? sizeof *v6 : 0;
  }
  auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
  v4->sin_family = AF_INET;
  v4->sin_port = htons(address.port);
  return inet_pton(AF_INET, address.host.c_str(), &v4->sin_addr) == 1 ? sizeof *v4 : 0;
}

// The HTTP server does not tell why it cannot listen; so somebody who does is asked first.
Result<> try_to_listen(const ListenAddress& address) {
  sockaddr_storage storage{};
  const socklen_t bytes = fill_address(address, storage);
  const UniqueFd probe(::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  if (probe && ::setsockopt(probe.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
      ::bind(probe.get(), reinterpret_cast<sockaddr*>(&storage), bytes) == 0 &&
      ::listen(probe.get(), 1) == 0) {
    return Unit{};
  }
  // What a command's caller takes for a missing producer or permission is neither.
  return Error{EADDRNOTAVAIL, "cannot listen at " + address.text() + ": " + std::strerror(errno)};
}

sigset_t end_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  return signals;
}

Error not_an_address(const std::string& text) {
  return Error{EINVAL, "'" + escape(text.substr(0, 80)) +
                           "' is no address to listen at: PORT, IPV4:PORT or [IPV6]:PORT"};
}

}  // namespace

std::string ListenAddress::text() const {
  return (ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Result<ListenAddress> parse_listen_address(const std::string& text) {
  ListenAddress address{"127.0.0.1"};
  std::string port = text;
  if (const size_t colon = text.rfind(':'); colon != std::string::npos) {
    address.host = text.substr(0, colon);
    port = text.substr(colon + 1);
  }
  if (address.host.size() > 2 && address.host.front() == '[' && address.host.back() == ']') {
    address.ipv6 = true;
    address.host = address.host.substr(1, address.host.size() - 2);
  }
  const char* end = port.data() + port.size();
  const auto [stopped, failure] = std::from_chars(port.data(), end, address.port);
  sockaddr_storage storage{};
  // A NUL would end the host early for one reader, and not for the other.
  const bool plain = text.find('\0') == std::string::npos;
  if (!plain || failure != std::errc() || stopped != end || port.empty() ||
      fill_address(address, storage) == 0) {
    return not_an_address(text);
  }
  return address;
}

Result<> serve_metrics(const ListenAddress& address, std::function<MetricFamilies()> collect,
                       const std::function<Result<>(const std::string& url)>& ready) {
  if (auto listens = try_to_listen(address); !listens) return listens;
  // Before there are threads: the signals that end us are for sigwait() alone.
  const sigset_t signals = end_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  try {
    const auto collector = std::make_shared<Collector>(std::move(collect));
    prometheus::Exposer exposer(std::vector<std::string>{"listening_ports", address.text(),
                                                         "num_threads", kThreads,
                                                         "request_timeout_ms", kRequestTimeoutMs});
    exposer.RegisterCollectable(collector);
    const std::vector<int> ports = exposer.GetListeningPorts();
    ListenAddress bound = address;
    if (!ports.empty()) bound.port = static_cast<uint16_t>(ports.front());
    if (auto told = ready("http://" + bound.text() + "/metrics"); !told) return told;
    int which = 0;
    sigwait(&signals, &which);
    return Unit{};
  } catch (const std::exception& failure) {
    return Error{EADDRNOTAVAIL, "cannot listen at " + address.text() + ": " + failure.what()};
  }
}

}  // namespace ebpf::ctl
