//! Faults: what is killed, cut off or full loses nothing and does nothing twice.

mod crash;
mod levels;
mod machine;
mod power;
mod shortage;
mod tasks;
