// SPDX-License-Identifier: Apache-2.0
// Relacy without its macros: they rename words of the language that the code under test
// uses in its own sense. Only $ stays, which names a place in the source.
#pragma once

#include <cassert>
#include <cctype>
#include <cstdint>
#include <cstring>
#include <memory>
#include <source_location>
#include <string>
#include <vector>

#include <relacy/relacy.hpp>

#undef new
#undef delete
#undef malloc
#undef calloc
#undef realloc
#undef free
#undef assert
#undef errno
#undef memory_order_relaxed
#undef memory_order_consume
#undef memory_order_acquire
#undef memory_order_release
#undef memory_order_acq_rel
#undef memory_order_seq_cst
