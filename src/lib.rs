//! A single-file embedded job runner on SQLite.

pub mod error;
pub mod mail;
pub mod time;
pub mod timer;

pub use error::{Error, Result};
