// SPDX-License-Identifier: Apache-2.0
//! Lets this crate's tests and examples find the shared library at run time.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if let Ok(dir) = std::env::var("DEP_EBPF_LIB_DIR") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", dir);
    }
}
