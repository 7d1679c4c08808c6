//! The rules of timers, apart from any database (`docs/timers.md`).

pub(crate) mod action;
pub(crate) mod definition;
pub(crate) mod sequence;

pub(crate) use action::{Action, Step};
pub(crate) use definition::{Definition, ListedTimer, Timer, TimerRow};
pub(crate) use sequence::{Level, Sequence};
