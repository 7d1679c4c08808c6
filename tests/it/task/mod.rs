//! Tasks: their life, what their handlers say, and how they are ended.

mod control;
mod life;
mod output;
mod requirements;
mod resident;
