// SPDX-License-Identifier: Apache-2.0
//! Finds the C library: LIBEBPF_LIB_DIR, else the build folder of the source tree that this
//! crate is part of, else where the linker looks anyway. LIBEBPF_STATIC=1 links it statically.

use std::env;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=LIBEBPF_LIB_DIR");
    println!("cargo:rerun-if-env-changed=LIBEBPF_STATIC");

    let link_static = env::var_os("LIBEBPF_STATIC").map_or(false, |value| value == "1");
    let lib_dir = match env::var_os("LIBEBPF_LIB_DIR") {
        Some(dir) if !dir.is_empty() => Some(PathBuf::from(dir)),
        _ => in_tree_lib_dir(),
    };
    if let Some(dir) = &lib_dir {
        println!("cargo:rustc-link-search=native={}", dir.display());
    }
    if link_static {
        println!("cargo:rustc-link-lib=static=ebpf");
        for library in ["pthread", "elf", "z"] {
            println!("cargo:rustc-link-lib=dylib={}", library);
        }
        if let Some(dir) = &lib_dir {
            println!("cargo:rerun-if-changed={}", dir.join("libebpf.a").display());
        }
        return;
    }
    println!("cargo:rustc-link-lib=dylib=ebpf");
    if let Some(dir) = &lib_dir {
        // For this crate's own tests. A dependent's build script reads DEP_EBPF_LIB_DIR and
        // decides for its programs: a library crate cannot.
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", dir.display());
        println!("cargo:lib_dir={}", dir.display());
    }
}

fn in_tree_lib_dir() -> Option<PathBuf> {
    let manifest_dir = env::var_os("CARGO_MANIFEST_DIR")?;
    let dir = Path::new(&manifest_dir)
        .join("../../build/lib")
        .canonicalize()
        .ok()?;
    dir.join("libebpf.so").exists().then_some(dir)
}
