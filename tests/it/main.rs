//! The contract: what the program promises, driven through the binary as its users drive it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod cli;
mod document;
mod example;
mod faults;
mod functions;
mod kit;
mod mail;
mod pause;
mod readme;
mod rehearsal;
mod schedule;
mod sql;
mod task;
mod timer;
