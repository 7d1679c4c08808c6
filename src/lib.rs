//! A single-file embedded job runner on SQLite.

pub mod attachment;
pub mod cli;
pub mod document;
pub mod drain;
pub mod enqueue;
pub mod error;
mod fields;
pub mod firing;
pub mod handler;
pub mod json;
pub mod mail;
pub mod method;
pub mod native;
pub mod outbox;
pub mod report;
pub mod settings;
pub mod signals;
pub mod store;
pub mod task;
pub mod tick;
pub mod time;
pub mod timer;
pub mod trouble;
mod words;
pub mod worker;

pub use error::{Error, Result};
