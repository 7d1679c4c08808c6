//! The command line: what it takes, and the only place that prints.

mod attachment;
mod backup;
mod batch;
mod completions;
mod config;
mod crontab;
mod deferred;
mod doctor;
mod document;
mod firing;
mod init;
mod live;
mod mail;
mod mail_send;
mod method;
mod output;
mod param;
mod pause;
mod protocol;
mod rehearse;
mod schedule;
mod schedule_import;
mod session;
mod status;
mod task;
mod task_add;
mod task_admin;
mod task_file;
mod task_filter;
mod task_logs;
mod task_run;
mod task_set;
mod task_wait;
mod template;
mod tick;
mod timer;
mod timer_forecast;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};

use crate::error::{Error, Result, one_line};
use crate::functions::Functions;
use crate::model::summary::Summary;
use crate::time::Zone;
use deferred::Deferred;
use output::Output;
use session::{Invocation, Session};

/// Under what the help lists the options that every command takes.
const GLOBAL: &str = "Global options";

/// Background tasks, timers on documents and mail, in one SQLite file, run from cron each minute.
#[derive(Debug, Parser)]
#[command(name = "runner", version, max_term_width = 100)]
struct Arguments {
    /// The database [default: the variable RUNNER_DB, else runner.db]
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "FILE")]
    db: Option<PathBuf>,
    /// The time to take as now, for tests and rehearsals on a copy: 2026-04-10, 2026-04-10T09:00, 09:00 or +15d
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "TIME", allow_hyphen_values = true)]
    now: Option<String>,
    /// Print one JSON value
    #[arg(long, global = true, help_heading = GLOBAL)]
    json: bool,
    /// Say more of what is being done; twice for all of it
    #[arg(short, long, global = true, help_heading = GLOBAL, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Say nothing but errors
    #[arg(short, long, global = true, help_heading = GLOBAL)]
    quiet: bool,
    /// Run what is in a database that others own or may write to, as in a container
    #[arg(long, global = true, help_heading = GLOBAL)]
    trust_database: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new database
    Init(Deferred<init::Args>),
    /// Do all that is due: timers, mail, tasks; the line for cron
    Tick(Deferred<tick::Args>),
    /// Play the ticks to come on a copy in memory, and say what would happen when
    Rehearse(Deferred<rehearse::Args>),
    /// Say how things stand
    Status(Deferred<status::Args>),
    /// Check that all is as it has to be, and say what to do where it is not
    Doctor(Deferred<doctor::Args>),
    /// Make a whole copy of the database, also while others write to it
    Backup(Deferred<backup::Args>),
    /// Start nothing, or nothing of a method, timer or schedule, until it is resumed
    Pause(Deferred<pause::Args>),
    /// Let go on what was paused
    Resume(Deferred<pause::Args>),
    /// Print the line that cron needs, or install it
    Crontab(Deferred<crontab::Args>),
    /// Look at settings and change them
    #[command(subcommand)]
    Config(Deferred<config::Command>),
    /// The handlers that do the work of tasks
    #[command(subcommand)]
    Method(Deferred<method::Command>),
    /// The tasks
    #[command(subcommand)]
    Task(Deferred<task::Command>),
    /// Tasks that recur
    #[command(subcommand)]
    Schedule(Deferred<schedule::Command>),
    /// The mail templates
    #[command(subcommand)]
    Template(Deferred<template::Command>),
    /// The mails that were written: the outbox
    #[command(subcommand)]
    Mail(Deferred<mail::Command>),
    /// The documents that timers hang on
    #[command(subcommand)]
    Doc(Deferred<document::Command>),
    /// The timers, and what hangs on documents
    #[command(subcommand)]
    Timer(Deferred<timer::Command>),
    /// In a handler: print a line for the task's log
    Log(Deferred<protocol::LogArgs>),
    /// In a handler: print how far the task is
    Progress(Deferred<protocol::ProgressArgs>),
    /// In a handler: print a message for who watches
    Debug(Deferred<protocol::DebugArgs>),
    /// In a handler: print one of the task's params
    Param(Deferred<param::Args>),
    /// In a handler: print the line that hands back a result
    Result(Deferred<protocol::ResultArgs>),
    /// In a handler: print the line that hands back a file
    File(Deferred<protocol::FileArgs>),
    /// Print the completions for a shell
    Completions(completions::Args),
}

/// How a command ended that met no error of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    /// All was done.
    Done,
    /// Some of what it ran failed, and that has been reported.
    Failed,
}

impl Exit {
    fn of(summary: &Summary) -> Self {
        if summary.errors.is_empty() {
            Self::Done
        } else {
            Self::Failed
        }
    }
}

/// Runs a command line, with the functions of the program as methods; the exit status.
pub(crate) fn run(arguments: impl IntoIterator<Item = OsString>, functions: Functions) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return usage(error),
    };
    start_log(arguments.verbose, arguments.quiet);
    let invocation = Invocation {
        db: arguments.db.unwrap_or_else(default_db),
        now: arguments.now,
        trusted: arguments.trust_database,
        quiet: arguments.quiet,
        out: Output::new(arguments.json),
        functions,
    };
    match invocation.run(arguments.command) {
        Ok(Exit::Done) => ExitCode::SUCCESS,
        Ok(Exit::Failed) => ExitCode::from(1),
        // Whoever read our output has seen enough of it.
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let is_usage = matches!(error, Error::Usage { .. });
            output::complain(&error.of_database(&invocation.db));
            ExitCode::from(if is_usage { 2 } else { 1 })
        }
    }
}

fn default_db() -> PathBuf {
    let named = std::env::var_os("RUNNER_DB").filter(|path| !path.is_empty());
    named.map_or_else(|| PathBuf::from("runner.db"), PathBuf::from)
}

impl Invocation {
    fn run(&self, command: Command) -> Result<Exit> {
        // A --now that is no time is refused by every command. The zone that it is meant in is known later, and does not
        // change whether it can be read.
        self.clock(&Zone::System)?;
        let exit = self.call(command)?;
        if exit == Exit::Done {
            self.out.done()?;
        }
        self.out.flush()?;
        Ok(exit)
    }

    fn call(&self, command: Command) -> Result<Exit> {
        match command {
            Command::Tick(Deferred(args)) => return args.run(self),
            Command::Rehearse(Deferred(args)) => return args.run(self),
            Command::Status(Deferred(args)) => return args.run(self),
            Command::Doctor(Deferred(args)) => return args.run(self),
            Command::Task(Deferred(command)) => return command.run(self),
            Command::Init(Deferred(args)) => args.run(self)?,
            Command::Backup(Deferred(args)) => args.run(self)?,
            Command::Pause(Deferred(args)) => args.pause(self)?,
            Command::Resume(Deferred(args)) => args.resume(self)?,
            Command::Crontab(Deferred(args)) => args.run(self)?,
            Command::Config(Deferred(command)) => command.run(self)?,
            Command::Method(Deferred(command)) => command.run(self)?,
            Command::Schedule(Deferred(command)) => command.run(self)?,
            Command::Template(Deferred(command)) => command.run(self)?,
            Command::Mail(Deferred(command)) => command.run(self)?,
            Command::Doc(Deferred(command)) => command.run(self)?,
            Command::Timer(Deferred(command)) => command.run(self)?,
            Command::Log(Deferred(line)) => line.run(self)?,
            Command::Progress(Deferred(line)) => line.run(self)?,
            Command::Debug(Deferred(line)) => line.run(self)?,
            Command::Param(Deferred(args)) => args.run(self)?,
            Command::Result(Deferred(line)) => line.run(self)?,
            Command::File(Deferred(line)) => line.run(self)?,
            Command::Completions(args) => args.run(self)?,
        }
        Ok(Exit::Done)
    }
}

/// Commands that no typo's tip names: they destroy something, or stop it.
const DANGEROUS: [&str; 9] = [
    "cancel", "delete", "detach", "pause", "purge", "remove", "restart", "stop", "unset",
];

fn drop_dangerous_tips(error: &mut clap::Error) {
    const TIPS: ContextKind = ContextKind::SuggestedSubcommand;
    let tips = match error.remove(TIPS) {
        Some(ContextValue::String(tip)) => vec![tip],
        Some(ContextValue::Strings(tips)) => tips,
        _ => return,
    };
    let harmless = tips.into_iter();
    let harmless: Vec<_> = harmless
        .filter(|tip| !DANGEROUS.contains(&tip.as_str()))
        .collect();
    if !harmless.is_empty() {
        error.insert(TIPS, ContextValue::Strings(harmless));
    }
}

/// Help and version are answers; anything else is a usage error, printed as one line.
fn usage(mut error: clap::Error) -> ExitCode {
    let help_on_bare = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if !error.use_stderr() || help_on_bare {
        let _ = error.print();
        return ExitCode::from(if help_on_bare { 2 } else { 0 });
    }
    drop_dangerous_tips(&mut error);
    let text = error.to_string();
    let end = text.find("\n\nUsage:").or(text.find("\n\nFor more"));
    let message = text[..end.unwrap_or(text.len())]
        .trim_start_matches("error: ")
        .replace("\n\n", "; ")
        .replace("invalid digit found in string", "it is not a whole number");
    let words: Vec<&str> = message.split_whitespace().collect();
    output::complain(&format!("{}; see 'runner --help'", words.join(" ")));
    ExitCode::from(2)
}

fn start_log(verbose: u8, quiet: bool) {
    let level = match (quiet, verbose) {
        (true, _) => log::LevelFilter::Error,
        (_, 0) => log::LevelFilter::Warn,
        (_, 1) => log::LevelFilter::Info,
        _ => log::LevelFilter::Debug,
    };
    env_logger::Builder::new()
        .filter_level(level)
        .filter_module("rustls", log::LevelFilter::Warn)
        .parse_env("RUNNER_LOG")
        .format(|out, record| {
            use std::io::Write;
            writeln!(out, "runner: {}", one_line(&record.args().to_string()))
        })
        .init();
}
