// SPDX-License-Identifier: Apache-2.0
#include "report.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>

namespace ebpf::bench {
namespace {

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.rfind("model name", 0) == 0 && colon != std::string::npos) {
      return line.substr(colon + 2);
    }
  }
  return "unknown";
}

void print_failure(std::FILE* out, const Json& row) {
  std::fprintf(out, "  %s\n", row["failure"].get<std::string>().c_str());
}

void print_throughput(std::FILE* out, const Json& rows) {
  std::fprintf(out,
               "\nThroughput, million records/s (median; lowest and highest round)\n"
               "%-14s %-9s %7s %5s  %9s  %-25s %8s\n",
               "", "", "bytes", "to", "published", "slowest consumer gets", "lost");
  for (const Json& row : rows) {
    std::fprintf(out, "%-14s %-9s %7u %5u", row["transport"].get<std::string>().c_str(),
                 row["mode"].get<std::string>().c_str(), row["record_bytes"].get<unsigned>(),
                 row["consumers"].get<unsigned>());
    if (row.contains("failure")) {
      print_failure(out, row);
      continue;
    }
    const Json& got = row["delivered_per_s_slowest"];
    const double lost = row["lost"];
    const double all = lost + row["delivered"].get<double>();
    std::fprintf(out, "  %9.2f  %7.2f  (%7.2f …%7.2f) %7.1f%%\n",
                 row["published_per_s"]["median"].get<double>() / 1e6,
                 got["median"].get<double>() / 1e6, got["min"].get<double>() / 1e6,
                 got["max"].get<double>() / 1e6, all > 0 ? 100 * lost / all : 0);
  }
}

void print_latency(std::FILE* out, const Json& rows) {
  std::fprintf(out,
               "\nOne-way latency of a 672-byte record, ns (medians over the rounds)\n"
               "%-14s %-9s %9s %9s %9s %9s\n",
               "", "reader", "p50", "p99", "p99.9", "samples");
  for (const Json& row : rows) {
    std::fprintf(out, "%-14s %-9s", row["transport"].get<std::string>().c_str(),
                 row["reader"].get<std::string>().c_str());
    if (row.contains("failure")) {
      print_failure(out, row);
      continue;
    }
    std::fprintf(out, " %9.0f %9.0f %9.0f %9u\n", row["p50_ns"]["median"].get<double>(),
                 row["p99_ns"]["median"].get<double>(), row["p999_ns"]["median"].get<double>(),
                 row["samples"].get<unsigned>());
  }
}

void print_producer_cpu(std::FILE* out, const Json& rows) {
  std::fprintf(out,
               "\nThe producer's CPU time per record, ns (median; lowest)\n"
               "%7s %9s  %-26s %17s %17s %7s\n",
               "bytes", "consumers", "they are", "ring", "memcpy", "ratio");
  for (const Json& row : rows) {
    std::fprintf(out, "%7u %9u  %-26s", row["record_bytes"].get<unsigned>(),
                 row["consumers"].get<unsigned>(), row["they"].get<std::string>().c_str());
    if (row.contains("failure")) {
      print_failure(out, row);
      continue;
    }
    std::fprintf(out, " %8.1f %8.1f %8.1f %8.1f %7.2f\n", row["ring_ns"]["median"].get<double>(),
                 row["ring_ns"]["min"].get<double>(), row["memcpy_ns"]["median"].get<double>(),
                 row["memcpy_ns"]["min"].get<double>(), row["ratio"]["median"].get<double>());
  }
}

}  // namespace

Json describe_machine() {
  utsname system{};
  uname(&system);
  double load[1] = {0};
  (void)getloadavg(load, 1);
  return {{"cpu", cpu_model()},
          {"cpus", sysconf(_SC_NPROCESSORS_ONLN)},
          {"l2_kib", sysconf(_SC_LEVEL2_CACHE_SIZE) / 1024},
          {"l3_kib", sysconf(_SC_LEVEL3_CACHE_SIZE) / 1024},
          {"kernel", std::string(system.sysname) + " " + system.release},
          {"compiler", std::string("GCC ") + __VERSION__},
          {"load_before", load[0]}};
}

Json begin_document(const std::string& bench) {
  return {{"schema_version", 1},
          {"bench", bench},
          {"machine", describe_machine()},
          {"versions", {{"libebpf", LIBEBPF_VERSION}}}};
}

bool write_document(const std::string& path, const Json& document) {
  if (path == "-") {
    std::cout << document.dump(2) << std::endl;
    return bool(std::cout);
  }
  const std::string fresh = path + ".new";
  std::ofstream file(fresh);
  file << document.dump(2) << '\n';
  file.close();
  if (file && std::rename(fresh.c_str(), path.c_str()) == 0) return true;
  std::cerr << document["bench"].get<std::string>() << ": cannot write " << path << '\n';
  return false;
}

void print_figures(std::FILE* out, const Json& rows) {
  std::fprintf(out, "\nFigures to reach\n");
  for (const Json& row : rows) {
    const bool at_most = row.contains("at_most");
    std::fprintf(out, "  %-62s %s %6.5g %-5s ", row["figure"].get<std::string>().c_str(),
                 at_most ? "at most " : "at least",
                 row[at_most ? "at_most" : "at_least"].get<double>(),
                 row["unit"].get<std::string>().c_str());
    if (row.contains("reached")) {
      std::fprintf(out, "%8.4g  %s\n", row["reached"].get<double>(),
                   row["met"].get<bool>() ? "reached" : "not reached");
    } else {
      std::fprintf(out, "       -  not measured\n");
    }
  }
}

void print_tables(std::FILE* out, const Json& document) {
  if (document.contains("throughput")) print_throughput(out, document["throughput"]);
  if (document.contains("latency")) print_latency(out, document["latency"]);
  if (document.contains("producer_cpu")) print_producer_cpu(out, document["producer_cpu"]);
  print_figures(out, document["figures"]);
}

uint64_t count_errors(const Json& document) {
  uint64_t errors = 0;
  for (const char* part : {"throughput", "latency", "producer_cpu"}) {
    if (!document.contains(part)) continue;
    for (const Json& row : document[part]) {
      if (!row.contains("failure")) {
        errors += row["errors"].get<uint64_t>();
      } else if (row["failure"].get<std::string>().rfind(kNotThere, 0) != 0) {
        ++errors;
      }
    }
  }
  return errors;
}

}  // namespace ebpf::bench
