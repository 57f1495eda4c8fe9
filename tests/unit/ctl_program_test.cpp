// SPDX-License-Identifier: Apache-2.0
// The ebpfctl program itself: options, exit codes, where its output goes.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <atomic>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "ctl/command.h"
#include "tests/unit/ctl_fake_producer.h"
#include "tests/unit/ctl_samples.h"

namespace ebpf::ctl {
namespace {

using namespace ebpf::test;

const std::string kPrintable = [] {
  std::string bytes;
  for (char c = 0x20; c < 0x7f; c++) bytes += c;
  return bytes;
}();

struct Outcome {
  int exit_code;
  std::string output;
};

// Runs a shell line in which "ebpfctl" is the program under test.
Outcome run(const std::string& arguments, const std::string& redirect = "2>&1",
            const std::string& program = EBPFCTL_PATH) {
  const std::string line = "'" + program + "' " + arguments + " " + redirect;
  FILE* pipe = ::popen(line.c_str(), "r");
  if (!pipe) return {-1, "popen failed"};
  std::string output;
  char buffer[4096];
  size_t got;
  while ((got = ::fread(buffer, 1, sizeof(buffer), pipe)) > 0) output.append(buffer, got);
  const int status = ::pclose(pipe);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, output};
}

std::vector<Packet> real_answers(const Packet& request) {
  ebpf_msg_header header;
  std::memcpy(&header, request.data(), sizeof(header));
  switch (header.type) {
    case EBPF_MSG_GET_STATS:
      return {to_packet(sample_stats())};
    case EBPF_MSG_GET_OFFSETS:
      return {to_packet(sample_offsets())};
    default:
      return {to_packet(message_header(EBPF_MSG_OK, sizeof(header)))};
  }
}

TEST(Ebpfctl, OptionsStandBeforeOrAfterTheCommand) {
  FakeProducer producer(real_answers);
  const std::string socket = "--socket " + producer.path();
  const Outcome before = run(socket + " -v tracer show");
  EXPECT_EQ(before.exit_code, kExitOk);
  EXPECT_EQ(before.output.rfind("Tracer         socket-tracer\n", 0), 0u) << before.output;
  EXPECT_EQ(run("tracer " + socket + " show -v").output, before.output);
  EXPECT_EQ(run("tracer show -v " + socket).output, before.output);
}

TEST(Ebpfctl, JsonOfEveryCommandParses) {
  FakeProducer producer(real_answers);
  for (const char* command : {"tracer show", "tracer start", "tracer stop", "socktrace show"}) {
    const Outcome outcome = run(std::string(command) + " -o json --socket " + producer.path());
    EXPECT_EQ(outcome.exit_code, kExitOk) << command;
    const auto json = nlohmann::json::parse(outcome.output, nullptr, false);
    ASSERT_FALSE(json.is_discarded()) << outcome.output;
    EXPECT_EQ(json["schema_version"], 1) << command;
  }
}

TEST(Ebpfctl, TakesTheSocketFromTheEnvironment) {
  FakeProducer producer(real_answers);
  ::setenv(EBPF_SOCKET_ENV, producer.path().c_str(), 1);
  EXPECT_EQ(run("tracer stop").output, "socket-tracer stopped\n");
  EXPECT_EQ(run("tracer start").output, "socket-tracer running\n");
  ::unsetenv(EBPF_SOCKET_ENV);
}

TEST(Ebpfctl, HelpAndVersionNeedNoProducer) {
  for (const char* arguments : {"-h", "tracer help", "socktrace show -h", "--help"}) {
    const Outcome outcome = run(arguments, "2>/dev/null");
    EXPECT_EQ(outcome.exit_code, kExitOk) << arguments;
    EXPECT_EQ(outcome.output.rfind("Usage:\n", 0), 0u) << arguments << outcome.output;
  }
  EXPECT_EQ(run("-V").output, "ebpfctl " LIBEBPF_VERSION "\n");
}

TEST(Ebpfctl, BadOptionsExitWithTwo) {
  for (const char* arguments :
       {"", "nonsense", "tracer", "tracer show --nonsense", "tracer show -o xml",
        "tracer show show", "socktrace start", "tracer show --socket"}) {
    EXPECT_EQ(run(arguments).exit_code, kExitBadOption) << arguments;
  }
  EXPECT_EQ(run("tracer show --socket " + std::string(200, 'a')).exit_code, kExitBadOption);
}

TEST(Ebpfctl, NamesTheNearestRightWord) {
  const std::pair<const char*, const char*> cases[] = {
      {"tracr show", "no command 'tracr'; did you mean tracer?"},
      {"tracer shwo", "no command 'shwo'; did you mean show?"},
      {"tracer show --outptu json", "no option '--outptu'; did you mean --output?"},
      {"--scoket /x tracer show", "no option '--scoket'; did you mean --socket?"},
      {"tracer show -o jsn", "'jsn' is none of text|json; did you mean json?"},
      {"-o hex tracer show", "only tail prints hex; all others text or json"},
  };
  for (const auto& [arguments, wanted] : cases) {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.exit_code, kExitBadOption) << arguments;
    EXPECT_NE(outcome.output.find(wanted), std::string::npos) << outcome.output;
  }
}

// One clear line, whatever the value holds.
TEST(Ebpfctl, RefusesBadValuesInOneLine) {
  for (const char* option : {"-o", "--output", "--socket", "--watch", "--color"}) {
    for (const char* value :
         {"''", "-1", "nan", "1e3", "\"$(printf '\\n')x\"", "\"$(printf 'a\\nb')\"",
          "\"$(printf '\\377\\033[2J')\"", "\"$(head -c 100000 /dev/zero | tr '\\0' a)\""}) {
      const std::string glue = option == std::string("--color") ? "=" : " ";
      const Outcome outcome = run("tracer show " + std::string(option) + glue + value);
      // A path may be any printable bytes; there is just nobody.
      const bool path = option == std::string("--socket") && outcome.exit_code == kExitNotRunning;
      EXPECT_TRUE(path || outcome.exit_code == kExitBadOption) << option << value;
      EXPECT_EQ(outcome.output.rfind("ebpfctl: ", 0), 0u) << outcome.output;
      EXPECT_EQ(outcome.output.find_first_not_of(kPrintable), outcome.output.size() - 1);
      EXPECT_LT(outcome.output.size(), 400u);
    }
  }
}

TEST(Ebpfctl, WatchShowsAgainUntilItFails) {
  std::atomic<int> asked{0};
  FakeProducer producer([&](const Packet& request) {
    return ++asked <= 3 ? real_answers(request) : std::vector<Packet>{Packet(64, 0xff)};
  });
  const Outcome outcome = run("tracer show --watch 0.1 --socket " + producer.path(), "2>/dev/null");
  EXPECT_EQ(outcome.exit_code, kExitFailure);
  size_t shown = 0;
  for (size_t at = 0; (at = outcome.output.find("Tracer  ", at)) != std::string::npos; ++at)
    ++shown;
  EXPECT_EQ(shown, 3u);
  EXPECT_EQ(outcome.output.find('\033'), std::string::npos) << "clears a screen that is none";
}

TEST(Ebpfctl, WatchIsForCommandsThatOnlyLook) {
  EXPECT_EQ(run("tracer stop --watch 1 --socket /nonexistent").exit_code, kExitBadOption);
}

TEST(Ebpfctl, ColorOnATerminalOnlyUnlessItMustBe) {
  FakeProducer producer(real_answers);
  const std::string show = "tracer show --socket " + producer.path();
  EXPECT_EQ(run(show + " -C").output.find('\033'), std::string::npos);
  EXPECT_EQ(run(show + " --color=never").output.find('\033'), std::string::npos);
  EXPECT_NE(run(show + " --color=always").output.find('\033'), std::string::npos);
  const auto on_terminal = [&](const std::string& before, const std::string& option) {
    return run("", "2>&1; script -qec \"" + before + " '" EBPFCTL_PATH "' " + show + option +
                       "\" /dev/null")
        .output;
  };
  EXPECT_NE(on_terminal("env -u NO_COLOR", " -C").find('\033'), std::string::npos);
  EXPECT_EQ(on_terminal("env NO_COLOR=1", " -C").find('\033'), std::string::npos);
  EXPECT_EQ(on_terminal("env -u NO_COLOR", "").find('\033'), std::string::npos);
}

TEST(Ebpfctl, SaysThatNoProducerRuns) {
  const Outcome outcome = run("tracer show --socket /nonexistent/producer.sock");
  EXPECT_EQ(outcome.exit_code, kExitNotRunning);
  EXPECT_EQ(outcome.output.rfind("ebpfctl: no producer at /nonexistent/producer.sock: ", 0), 0u)
      << outcome.output;
}

TEST(Ebpfctl, NamesTheGroupWhenItMayNotConnect) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to become somebody else";
  FakeProducer producer(real_answers);
  const std::string folder = producer.path().substr(0, producer.path().rfind('/'));
  ASSERT_EQ(::chmod(folder.c_str(), 0755), 0);
  ASSERT_EQ(::chmod(producer.path().c_str(), 0660), 0);
  // The build may lie where only root can go: nobody gets a copy of the program.
  const std::string program = folder + "/ebpfctl";
  std::filesystem::copy_file(EBPFCTL_PATH, program);
  ASSERT_EQ(::chmod(program.c_str(), 0755), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const bool dropped = ::chdir("/") == 0 && ::setgid(65534) == 0 && ::setuid(65534) == 0;
    if (!dropped) ::_exit(98);
    const Outcome outcome = run("tracer show --socket " + producer.path(), "2>&1", program);
    const bool named = outcome.output.find(EBPF_SOCKET_GROUP) != std::string::npos;
    ::_exit(named ? outcome.exit_code : 99);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  std::filesystem::remove(program);
  EXPECT_EQ(WEXITSTATUS(status), kExitNoPermission);
}

TEST(Ebpfctl, ExitCodesTellRefusalAndVersion) {
  ebpf_msg_error refusal{};
  refusal.header = message_header(EBPF_MSG_ERROR, sizeof(refusal));
  refusal.error = EPERM;
  std::strcpy(refusal.text, "needs root");
  FakeProducer refusing(always(to_packet(refusal)));
  EXPECT_EQ(run("tracer stop --socket " + refusing.path()).exit_code, kExitNoPermission);

  ebpf_msg_stats stats = sample_stats();
  stats.header.version = 9;
  FakeProducer newer(always(to_packet(stats)));
  EXPECT_EQ(run("tracer show --socket " + newer.path()).exit_code, kExitVersionMismatch);

  FakeProducer lying(always(Packet(64, 0xff)));
  EXPECT_EQ(run("tracer show --socket " + lying.path()).exit_code, kExitFailure);
}

TEST(Ebpfctl, OutputThatDoesNotArriveIsAFailure) {
  FakeProducer producer(real_answers);
  const std::string show = "tracer show --socket " + producer.path();
  for (const char* redirect : {"2>&1 >/dev/full", "2>&1 >&-"}) {
    const Outcome outcome = run(show, redirect);
    EXPECT_EQ(outcome.exit_code, kExitFailure) << redirect;
    EXPECT_EQ(outcome.output.rfind("ebpfctl: cannot write the output: ", 0), 0u) << outcome.output;
  }
}

TEST(Ebpfctl, AClosedPipeIsAFailureThatIsTold) {
  FakeProducer producer(real_answers);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ::close(ends[0]);
  const Outcome outcome =
      run("tracer show --socket " + producer.path(), "2>&1 >&" + std::to_string(ends[1]));
  ::close(ends[1]);
  EXPECT_EQ(outcome.exit_code, kExitFailure);
  EXPECT_EQ(outcome.output, "ebpfctl: cannot write the output: Broken pipe\n");
}

}  // namespace
}  // namespace ebpf::ctl
