//! A single-file embedded job runner on SQLite.

pub mod error;
pub mod time;

pub use error::{Error, Result};
