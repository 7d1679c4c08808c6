//! The contract: what the program promises, driven through the binary as its users drive it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

mod bad_input;
mod commands;
mod contract;
mod crash;
mod documents;
mod example;
mod faults_levels;
mod faults_machine;
mod faults_power;
mod faults_tasks;
mod kit;
mod leaving;
mod mail_levels;
mod mail_local;
mod mail_outbox;
mod mail_report;
mod mail_way_out;
mod native;
mod own_columns;
mod plans;
mod quiet;
mod readme;
mod resident;
mod seed_tasks;
mod shortage;
mod smtp;
mod story;
mod task_control;
mod task_life;
mod task_output;
mod task_sql;
mod templates;
mod timers_levels;
mod timers_mail;
mod timers_many;
mod timers_redefined;
mod timers_refused;
mod timers_seed;
mod timers_sql;
mod timers_strange;
mod trust;
