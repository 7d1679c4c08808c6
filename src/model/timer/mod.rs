//! The rules of timers, apart from any database (`docs/timers.md`).

pub mod action;
pub mod definition;
pub mod sequence;

pub use action::Action;
pub use definition::{Definition, Timer};
pub(crate) use definition::{ListedTimer, TimerRow};
pub use sequence::{Level, Sequence};
