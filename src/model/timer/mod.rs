//! The rules of timers, apart from any database (`docs/timers.md`).

pub(crate) mod action;
pub(crate) mod definition;
pub(crate) mod sequence;

pub(crate) use action::Action;
pub(crate) use definition::{Definition, Timer};
pub(crate) use definition::{ListedTimer, TimerRow};
pub(crate) use sequence::{Level, Sequence};
