//! Tasks: their life, what their handlers say, and how they are ended.

mod chain;
mod command;
mod control;
mod follow;
mod held;
mod life;
mod limits;
mod many;
mod notice;
mod output;
mod requirements;
mod resident;
mod shell;
