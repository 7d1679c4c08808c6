//! Links the program at a fixed address.
//!
//! The time zones are tables of 35,000 pointers. In a program that may be loaded anywhere the loader would correct each of
//! them at every start, which takes a third of the time of a tick that finds nothing to do. The libraries, the heap and
//! the stack are at random addresses all the same.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |what: &str| std::env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    // A static program is linked by other rules.
    if target("OS") == "linux"
        && target("ENV") == "gnu"
        && !target("FEATURE").contains("crt-static")
    {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
