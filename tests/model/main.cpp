// SPDX-License-Identifier: Apache-2.0
// Explores the ring's protocol: ring_model --help. Exit code 0: all as it must be.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <functional>
#include <iostream>
#include <streambuf>

#include "tests/model/scenarios.h"
#include "tests/model/verdicts.h"

// An assertion of the code under test ends the execution that is being explored.
extern "C" void __assert_fail(const char* text, const char* file, unsigned line,
                              const char* function) {
  rl::ctx().fail_test(text, rl::test_result_user_assert_failed, {function, file, line});
  abort();
}

namespace ebpf::model {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Relacy counts what is allocated while it explores, so not even this may.
struct Nowhere : std::streambuf {
  int_type overflow(int_type c) override { return traits_type::not_eof(c); }
  std::streamsize xsputn(const char*, std::streamsize count) override { return count; }
};

struct Named {
  const char* name;
  unsigned bound;   // of the exhaustive search in the test suite
  uint64_t random;  // executions in the test suite
  void (*explore_at_random)(rl::test_params& params, bool history);
  void (*explore_exhaustively)(rl::test_params& params, bool history);  // nullptr: too large
};

// As rl::simulate(), which would instantiate every scheduler there is.
template <class Scenario, class Scheduler>
void explore_with(rl::test_params& params, bool history) {
  Scenario::prepare();
  rl::ostringstream state;
  rl::run_test<Scenario, Scheduler>(params, state, false);
  if (params.test_result == rl::test_result_success || !history) return;
  params.initial_state = state.str();  // the same execution once more
  params.collect_history = true;
  rl::run_test<Scenario, Scheduler>(params, state, true);
}

template <class Scenario>
constexpr Named small(const char* name, unsigned bound, uint64_t random) {
  constexpr rl::thread_id_t threads = Scenario::params::thread_count;
  return {name, bound, random, explore_with<Scenario, rl::random_scheduler<threads>>,
          explore_with<Scenario, rl::context_bound_scheduler<threads>>};
}

template <class Scenario>
constexpr Named large(const char* name, uint64_t random) {
  constexpr rl::thread_id_t threads = Scenario::params::thread_count;
  return {name, 0, random, explore_with<Scenario, rl::random_scheduler<threads>>, nullptr};
}

// The shape: lanes, window, slots, records per segment. Then the scenario's own: records on
// each lane, burst, polls; clients, lives.
constexpr Named kScenarios[] = {
    small<Reading<Shape<1, 1, 1, 1>, 3, 1, 4>>("reading-1", 3, 5000),
    small<Reading<Shape<1, 1, 2, 1>, 2, 1, 2>>("reading-2", 2, 5000),
    small<Reading<Shape<2, 1, 1, 1>, 2, 1, 1>>("reading-lanes-1", 2, 5000),
    small<Sleeping<Shape<1, 2, 1, 1>, 2, 1>>("sleeping-1", 3, 5000),
    small<Sleeping<Shape<1, 2, 2, 1>, 1, 1>>("sleeping-2", 3, 5000),
    small<Coming<Shape<1, 1, 1, 1>, 1, 1, 2, Sleep::kNever>>("coming-1", 2, 20000),
    small<Coming<Shape<1, 2, 1, 1>, 1, 1, 2, Sleep::kFutex>>("coming-futex", 2, 5000),
    large<Reading<Shape<1, 1, 2, 1>, 6, 1, 100>>("reading-laps", 20000),
    large<Reading<Shape<1, 2, 2, 2>, 10, 2, 100>>("reading-window", 20000),
    large<Reading<Shape<2, 1, 2, 1>, 4, 2, 100>>("reading-lanes", 20000),
    large<Sleeping<Shape<1, 2, 2, 1>, 4, 2>>("sleeping-burst", 20000),
    large<Sleeping<Shape<2, 2, 2, 2>, 5, 2>>("sleeping-lanes", 20000),
    large<Coming<Shape<1, 1, 1, 1>, 1, 2, 4, Sleep::kNever>>("coming-again", 20000),
    large<Coming<Shape<1, 1, 2, 1>, 2, 2, 4, Sleep::kNever>>("coming-2", 20000),
    large<Coming<Shape<2, 1, 2, 1>, 2, 2, 3, Sleep::kNever>>("coming-lanes", 20000),
    large<Coming<Shape<1, 2, 1, 1>, 1, 2, 3, Sleep::kDoorbell>>("coming-bell", 20000),
};

struct Search {
  bool exhaustive = false;
  unsigned bound = 0;
  uint64_t iterations = 0;
  bool history = false;
};

struct Outcome {
  bool passed;
  uint64_t iterations;
  double seconds;
  std::string failure;
};

Outcome explore(const Named& scenario, const Search& search) {
  static Nowhere buffer;
  static std::ostream nowhere(&buffer);
  rl::test_params params;
  params.search_type =
      search.exhaustive ? rl::fair_context_bound_scheduler_type : rl::random_scheduler_type;
  params.context_bound = search.bound;
  params.iteration_count = search.iterations;
  params.execution_depth_limit = 5000;
  params.progress_stream = &nowhere;
  params.output_stream = search.history ? &std::cout : &nowhere;
  const auto begin = Clock::now();
  const auto explore_it =
      search.exhaustive ? scenario.explore_exhaustively : scenario.explore_at_random;
  explore_it(params, search.history);
  const bool passed = params.test_result == rl::test_result_success;
  return {passed, params.stop_iteration, seconds_since(begin),
          passed ? "" : rl::test_result_str(params.test_result)};
}

bool check(const Named& scenario, const Search& search) {
  const Outcome outcome = explore(scenario, search);
  std::printf("%-16s %-12s %9llu executions  %6.1f s  %s\n", scenario.name,
              search.exhaustive ? ("bound " + std::to_string(search.bound)).c_str() : "random",
              static_cast<unsigned long long>(outcome.iterations), outcome.seconds,
              outcome.passed ? "ok" : outcome.failure.c_str());
  std::fflush(stdout);
  return outcome.passed;
}

// ---- mutants ----------------------------------------------------------------------

struct Mutant {
  struct Weakened {
    Site* site;
    rl::memory_order order;
  };

  std::string name;
  std::vector<Weakened> places;
  Trick mistake = Trick::kNone;

  void apply() const {
    trick = mistake;
    for (const Weakened& place : places) place.site->order = place.order;
  }
  void undo() const {
    trick = Trick::kNone;
    for (const Weakened& place : places) place.site->order = order_of(place.site->op);
  }
};

// Finds every place that has a memory order by running all there is for a while.
std::vector<Mutant> all_mutants() {
  for (const Named& scenario : kScenarios) explore(scenario, {false, 0, 500, false});
  std::vector<Mutant> mutants;
  for (Site* site : sites.all()) {
    for (const rl::memory_order order : weaker_than(site->op)) {
      mutants.push_back({sites.name(*site) + "=" + rl::format(order), {{site, order}}});
    }
  }
  for (const auto& [first, second] : kOnlyTogether) {
    Mutant both{std::string(first) + " and " + second, {}};
    for (const Mutant& single : std::vector(mutants)) {
      if (single.name == first || single.name == second) both.places.push_back(single.places[0]);
    }
    mutants.push_back(both);
  }
  for (int i = 1; i < static_cast<int>(Trick::kCount); ++i) {
    const auto mistake = static_cast<Trick>(i);
    mutants.push_back({trick_name(mistake), {}, mistake});
  }
  return mutants;
}

// Which scenario notices it, or nullptr. At random, or (0 iterations) by exhaustive search as
// far as the test suite searches.
const Named* killer(const Mutant& mutant, uint64_t iterations, Outcome* outcome) {
  mutant.apply();
  std::vector<std::pair<const Named*, Search>> searches;
  for (const Named& scenario : kScenarios) {
    if (iterations == 0 && scenario.bound != 0) {
      searches.push_back({&scenario, {true, scenario.bound, 0, false}});
    }
  }
  for (const uint64_t round : {iterations / 20, iterations}) {
    for (const Named& scenario : kScenarios) {
      if (round != 0) searches.push_back({&scenario, {false, 0, round, false}});
    }
  }
  const Named* found = nullptr;
  for (const auto& [scenario, search] : searches) {
    *outcome = explore(*scenario, search);
    if (outcome->passed) continue;
    found = scenario;
    break;
  }
  mutant.undo();
  return found;
}

// A verdict on what is no longer there would hide that something else is.
bool verdicts_are_current(const std::vector<Mutant>& mutants) {
  bool all_well = true;
  for (const Harmless& harmless : kHarmless) {
    const bool exists = std::any_of(mutants.begin(), mutants.end(), [&](const Mutant& mutant) {
      return mutant.name == harmless.mutant;
    });
    if (!exists) std::printf("BAD  no mutant is called %s\n", harmless.mutant);
    all_well = all_well && exists;
  }
  return all_well;
}

bool check_mutants(uint64_t iterations, bool harmless_too) {
  const std::vector<Mutant> mutants = all_mutants();
  bool all_well = verdicts_are_current(mutants);
  for (const Mutant& mutant : mutants) {
    const char* harmless = why_harmless(mutant.name);
    if (harmless != nullptr && !harmless_too) continue;
    const auto begin = Clock::now();
    Outcome outcome;
    const Named* by = killer(mutant, iterations, &outcome);
    const bool well = (by != nullptr) == (harmless == nullptr);
    std::printf("%-4s %-66s %s", well ? "ok" : "BAD", mutant.name.c_str(),
                by != nullptr ? by->name : "survives");
    if (by != nullptr) {
      std::printf(": %s, execution %llu", outcome.failure.c_str(),
                  static_cast<unsigned long long>(outcome.iterations));
    } else if (harmless != nullptr) {
      std::printf(": %s", harmless);
    }
    std::printf("  %.1f s\n", seconds_since(begin));
    std::fflush(stdout);
    all_well = all_well && well;
  }
  return all_well;
}

int usage() {
  std::puts(
      "ring_model                     every scenario, as in the test suite\n"
      "ring_model --deep              every scenario, deeper (EBPF_MODEL_BOUND, "
      "EBPF_MODEL_RANDOM)\n"
      "ring_model --mutants           every deliberate mistake must be noticed\n"
      "ring_model --all-mutants       also those that are known to be harmless, which must not\n"
      "ring_model --list              scenarios\n"
      "ring_model --list-mutants      mutants, and why some are harmless\n"
      "options:  --scenario NAME      only this one\n"
      "          --bound N            exhaustive search with at most N preemptions\n"
      "          --random N           N random executions\n"
      "          --exhaustive         mutants: by the exhaustive searches instead of at random\n"
      "          --mutant NAME        with this mistake; a failure prints its history\n"
      "          --history            print the history of a failure");
  return 2;
}

uint64_t from_environment(const char* name, uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr ? std::strtoull(value, nullptr, 10) : otherwise;
}

struct Arguments {
  std::string scenario;
  std::string mutant;
  uint64_t bound = 0;
  uint64_t random = 0;
  bool history = false;
  bool deep = false;
  bool exhaustive = false;
  std::string action;
};

bool parse(int argc, char** argv, Arguments* arguments) {
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const bool has_value = i + 1 < argc;
    if (word == "--scenario" && has_value) {
      arguments->scenario = argv[++i];
    } else if (word == "--mutant" && has_value) {
      arguments->mutant = argv[++i];
      arguments->history = true;
    } else if (word == "--bound" && has_value) {
      arguments->bound = std::strtoull(argv[++i], nullptr, 10);
    } else if (word == "--random" && has_value) {
      arguments->random = std::strtoull(argv[++i], nullptr, 10);
    } else if (word == "--history") {
      arguments->history = true;
    } else if (word == "--deep") {
      arguments->deep = true;
    } else if (word == "--exhaustive") {
      arguments->exhaustive = true;
    } else if (word == "--mutants" || word == "--all-mutants" || word == "--list" ||
               word == "--list-mutants") {
      arguments->action = word;
    } else {
      return false;
    }
  }
  return true;
}

bool explore_all(const Arguments& arguments) {
  const uint64_t deep_bound = from_environment("EBPF_MODEL_BOUND", 3);
  const uint64_t deep_random = from_environment("EBPF_MODEL_RANDOM", 2000000);
  bool all_well = true;
  for (const Named& scenario : kScenarios) {
    if (!arguments.scenario.empty() && arguments.scenario != scenario.name) continue;
    uint64_t bound =
        arguments.deep ? std::max<uint64_t>(deep_bound, scenario.bound) : scenario.bound;
    uint64_t random = arguments.deep ? deep_random : scenario.random;
    if (arguments.bound != 0 || arguments.random != 0) {
      bound = arguments.bound;
      random = arguments.random;
    }
    const bool history = arguments.history;
    if (random != 0) all_well &= check(scenario, {false, 0, random, history});
    if (bound != 0 && scenario.explore_exhaustively != nullptr) {
      all_well &= check(scenario, {true, static_cast<unsigned>(bound), 0, history});
    }
  }
  return all_well;
}

int run(int argc, char** argv) {
  Arguments arguments;
  if (!parse(argc, argv, &arguments)) return usage();
  if (arguments.action == "--list") {
    for (const Named& scenario : kScenarios) std::puts(scenario.name);
    return 0;
  }
  if (arguments.action == "--list-mutants") {
    for (const Mutant& mutant : all_mutants()) {
      const char* harmless = why_harmless(mutant.name);
      std::printf("%s%s%s\n", mutant.name.c_str(), harmless != nullptr ? "  harmless: " : "",
                  harmless != nullptr ? harmless : "");
    }
    return 0;
  }
  if (!arguments.action.empty()) {
    const uint64_t iterations = arguments.random != 0 ? arguments.random : 20000;
    const bool harmless_too = arguments.action == "--all-mutants";
    return check_mutants(arguments.exhaustive ? 0 : iterations, harmless_too) ? 0 : 1;
  }
  if (!arguments.mutant.empty()) {
    bool found = false;
    for (const Mutant& mutant : all_mutants()) {
      if (mutant.name != arguments.mutant) continue;
      mutant.apply();
      found = true;
    }
    if (!found) {
      std::printf("no mutant is called %s\n", arguments.mutant.c_str());
      return 2;
    }
  }
  return explore_all(arguments) ? 0 : 1;
}

}  // namespace
}  // namespace ebpf::model

int main(int argc, char** argv) { return ebpf::model::run(argc, argv); }
