//! The command line: what each command takes, answers and refuses.

mod backup;
mod bad_input;
mod commands;
mod contract;
mod doctor;
mod idle;
mod shutdown;
mod stay;
mod terminal;
mod times;
mod trust;
