// SPDX-License-Identifier: Apache-2.0
//! Links what a program written for the original library links: libebpf.a, pthread, elf, z. The
//! archive is looked for in LIBEBPF_LIB_DIR, else in the build folder of the source tree, else
//! where the linker looks (`make install` puts it there).

use std::error::Error;
use std::{env, path::PathBuf};

fn set_build_libebpf() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-env-changed=LIBEBPF_LIB_DIR");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("not run by cargo")?);
    let library_dir = match env::var_os("LIBEBPF_LIB_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => root.join("../../build/lib"),
    };
    let archive = library_dir.join("libebpf.a");
    if archive.exists() {
        println!("cargo:rerun-if-changed={}", archive.display());
        println!("cargo:rustc-link-search=native={}", library_dir.display());
    } else {
        println!("cargo:rustc-link-search=native=/usr/local/lib");
    }
    println!("cargo:rustc-link-lib=static=ebpf");
    println!("cargo:rustc-link-lib=dylib=pthread");
    println!("cargo:rustc-link-lib=dylib=elf");
    println!("cargo:rustc-link-lib=dylib=z");
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    set_build_libebpf()?;
    Ok(())
}
