// SPDX-License-Identifier: Apache-2.0
//! Lets the sample run from the source tree: it finds the shared library where it was linked,
//! or beside itself, as build/bin and build/lib are.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if let Ok(dir) = std::env::var("DEP_EBPF_LIB_DIR") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib");
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", dir);
    }
}
