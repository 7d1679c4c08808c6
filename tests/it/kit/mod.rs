//! What the tests share.

pub mod database;
pub mod documents;
pub mod faults;
pub mod mime;
pub mod outbox;
pub mod process;
pub mod programs;
pub mod runner;
pub mod smtp;
pub mod table;
pub mod terminal;
pub mod trace;
