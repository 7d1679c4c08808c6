//! What a handler is given, what it prints, and the process that it is.

mod hidden;
pub mod input;
pub mod lines;
mod literals;
pub mod mask;
pub mod process;
pub mod protocol;
pub mod record;
pub mod spawn;
