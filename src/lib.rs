//! A single-file embedded job runner on SQLite.
