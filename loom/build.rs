//! Turns `cfg(loom)` on for this crate alone: set in RUSTFLAGS it would reach every dependency.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(loom)");
    println!("cargo::rustc-cfg=loom");
}
