//! Timers on documents: dates, levels, definitions.

mod attach_many;
mod forecast;
mod levels;
mod limits;
mod mail;
mod redefined;
mod refused;
mod requirements;
mod states;
mod strange;
