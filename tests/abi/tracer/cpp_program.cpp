// SPDX-License-Identifier: Apache-2.0
// A C++ program with a runtime of its own beside the one in libebpf.a: both throw, catch, print
// and use templates of the same names, and neither notices the other.
#include <cerrno>
#include <iostream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <typeinfo>
#include <variant>
#include <vector>

#include <libebpf/consumer.h>
#include <libebpf/tracer.h>

namespace {

int failures = 0;

void check(bool holds, const char* what) {
  if (holds) return;
  std::cerr << "does not hold: " << what << "\n";
  ++failures;
}
#define CHECK(condition) check((condition), #condition)

struct Base {
  virtual ~Base() = default;
};
struct Derived : Base {};

// What needs the program's own runtime: typeinfo, locale, exceptions, thread-local state.
void use_own_runtime() {
  const Derived derived;
  const Base& base = derived;
  CHECK(dynamic_cast<const Derived*>(&base) != nullptr);
  std::ostringstream text;
  text << 3.5 << " " << std::map<int, int>{{1, 2}}.at(1);
  CHECK(text.str() == "3.5 2");
  try {
    std::vector<int>().at(1);
    CHECK(false);
  } catch (const std::out_of_range& thrown) {
    CHECK(std::string(thrown.what()).find("vector") != std::string::npos);
  }
  try {
    (void)std::get<int>(std::variant<int, char>('c'));
    CHECK(false);
  } catch (const std::bad_variant_access&) {
  }
}

// While an exception is in flight here, the library throws and catches its own.
struct CallsInUnwinding {
  ~CallsInUnwinding() {
    CHECK(std::uncaught_exceptions() == 1);
    CHECK(bpf_tracer_init("/nonexistent/log", false) != 0);
    ebpf_consumer* consumer = nullptr;
    ebpf_consumer_options options = EBPF_CONSUMER_OPTIONS_INIT;
    options.socket_path = "/nonexistent/producer.sock";
    options.on_record = [](const ebpf_record*, uint32_t, void*) { return 0; };
    CHECK(ebpf_consumer_open(&consumer, &options) == -ENOENT);
    CHECK(std::string(ebpf_last_error()).find("/nonexistent") != std::string::npos);
    CHECK(std::uncaught_exceptions() == 1);
  }
};

void call_in_unwinding() {
  try {
    const CallsInUnwinding calls;
    throw std::runtime_error("in flight");
  } catch (const std::runtime_error& thrown) {
    CHECK(std::string(thrown.what()) == "in flight");
  }
}

}  // namespace

int main() {
  CHECK(bpf_tracer_init(nullptr, true) == 0);
  CHECK(running_socket_tracer(nullptr, 1, 8, 8, 64, 64, 64) != 0);
  use_own_runtime();
  call_in_unwinding();
  std::thread(use_own_runtime).join();
  std::thread(call_in_unwinding).join();
  std::cout << "done\n";
  return failures == 0 ? 0 : 1;
}
