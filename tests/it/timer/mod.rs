//! Timers on documents: dates, levels, definitions.

mod levels;
mod mail;
mod redefined;
mod refused;
mod requirements;
mod strange;
