// SPDX-License-Identifier: Apache-2.0
// The JSON document: what all programs have in common, and its tables for people.
#pragma once

#include <cstdio>

#include "experiments.h"

namespace ebpf::bench {

// How the failure of a transport begins that is not installed here.
constexpr const char* kNotThere = "not there: ";

Json describe_machine();
// What every program's document begins with: its name, the machine, versions.
Json begin_document(const std::string& bench);
// To the file, whole or not at all; "-" is stdout. Says on stderr why it failed.
bool write_document(const std::string& path, const Json& document);
void print_figures(std::FILE* out, const Json& rows);
void print_tables(std::FILE* out, const Json& document);
// Wrong records and runs that failed, other than for lack of a package.
uint64_t count_errors(const Json& document);

}  // namespace ebpf::bench
