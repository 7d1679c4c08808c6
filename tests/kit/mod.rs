//! What the tests share.
// Each test binary uses a part of it.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

pub mod database;
pub mod documents;
pub mod faults;
pub mod mime;
pub mod outbox;
pub mod process;
pub mod programs;
pub mod runner;
pub mod smtp;
pub mod trace;
