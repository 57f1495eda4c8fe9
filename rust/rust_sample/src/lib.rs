// SPDX-License-Identifier: Apache-2.0
//! The declarations that programs for the original library carry with them.
#![deny(missing_docs)]

pub mod ebpf;
