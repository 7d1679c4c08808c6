//! The example database, and the story that it tells.

mod schema;
mod story;
