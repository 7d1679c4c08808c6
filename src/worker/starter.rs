//! Starting what is claimed, each task by the kind of handler that its method has.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::Sender;

use super::execution::Execution;
use super::function::Calls;
use super::handler::{Event, Handler, Obstacle, Reporter};
use super::output::Watch;
use super::process::cannot_start;
use rustix::fs::{Access, access};
use rustix::io::Errno;

use crate::context::Context;
use crate::error::Result;
use crate::lock::Registration;
use crate::model::method::{Method, Methods};
use crate::store::Store;
use crate::store::task_claim::ClaimedTask;

/// The variable that says which worker started a process.
pub(crate) const WORKER_ENV: &str = "RUNNER_WORKER";

/// Variables of the runner's own environment that are not for handlers: a password, and what belongs to another task.
const WITHHELD: [&str; 7] = [
    WORKER_ENV,
    "RUNNER_MAIL_TRANSPORT",
    "RUNNER_FILE",
    "RUNNER_DOCUMENT",
    "RUNNER_DEBUG",
    "RUNNER_TASK",
    "RUNNER_METHOD",
];
/// Where programs are looked for when the environment does not say.
const DEFAULT_PATH: &str = "/usr/local/bin:/bin:/usr/bin";
pub(super) struct Starter<'a> {
    ctx: Context<'a>,
    launcher: Launcher,
    methods: Arc<Methods>,
    pub(super) calls: Calls,
    watch: Option<Watch>,
    events: Sender<Event>,
    /// The number of the last handler.
    last_number: u64,
}

impl<'a> Starter<'a> {
    pub(super) fn new(ctx: Context<'a>, watch: Option<Watch>, events: Sender<Event>) -> Self {
        Self {
            ctx,
            launcher: Launcher::new(ctx.store, watch.is_some()),
            methods: Arc::default(),
            calls: Calls::default(),
            watch,
            events,
            last_number: 0,
        }
    }

    /// Reads which methods there are now.
    pub(super) fn read_methods(&mut self) -> Result<()> {
        self.methods = Arc::new(self.ctx.methods()?);
        Ok(())
    }

    pub(super) fn methods(&self) -> Arc<Methods> {
        Arc::clone(&self.methods)
    }

    /// Starts a task at its place. What cannot be started comes back with the reason.
    pub(super) fn start(
        &mut self,
        task: ClaimedTask,
        handlers: &mut Vec<Handler>,
        place: Place,
        registration: &mut Registration,
    ) -> Result<(), Box<(Execution, Obstacle)>> {
        let methods = self.methods();
        let method = methods.of_task(&task.method, task.command.as_deref());
        let retries = method.as_ref().map_or(0, |method| method.retries);
        let method = method.map_err(Obstacle::from);
        let mut execution = Execution::new(self.ctx.clock, registration, retries, task);
        let begun = method.and_then(|method| {
            execution.prepare(&self.ctx, registration.id, &method)?;
            execution.output.lock().watch.clone_from(&self.watch);
            if place == Place::New {
                handlers.push(self.start_handler(&method, &execution, registration)?);
            }
            let index = match place {
                Place::Resident(index) => index,
                _ => handlers.len() - 1,
            };
            if method.resident {
                let line = execution.input_line(self.ctx.clock.now());
                handlers[index].deliver(&execution, line)?;
            }
            Ok(index)
        });
        match begun {
            // Whichever thread takes it holds it then.
            Ok(_) if execution.function.is_some() => self.calls.lock().push_back(execution),
            Ok(index) => handlers[index].hold(execution),
            Err(obstacle) => return Err(Box::new((execution, obstacle))),
        }
        Ok(())
    }

    fn start_handler(
        &mut self,
        method: &Method,
        execution: &Execution,
        registration: &Registration,
    ) -> Result<Handler, Obstacle> {
        self.last_number += 1;
        let reporter = Reporter {
            handler: self.last_number,
            clock: *self.ctx.clock,
            events: self.events.clone(),
        };
        if execution.function.is_some() {
            return Handler::start_function(self.calls.clone(), reporter);
        }
        let mut variables: Vec<(&str, OsString)> = vec![(WORKER_ENV, registration.mark().into())];
        if method.resident {
            let program = self.launcher.program(&method.command, &variables)?;
            return Handler::start_resident(method, program, reporter);
        }
        variables.extend(execution.variables());
        let argv = method.argv(&execution.task.method);
        let program = self.launcher.program(&argv, &variables)?;
        Handler::start_process(execution, program, reporter)
    }
}

/// Where a task is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In a slot that is free.
    New,
    /// By the resident handler at this index.
    Resident(usize),
    /// By a thread that calls functions, when it is done with those before.
    Call,
}

/// The place for the next task, if there is one now. A resident handler that is at work is doubled, while slots are free,
/// before it is given more.
pub(super) fn place(method: &Method, handlers: &[Handler], is_free: bool) -> Option<Place> {
    let serves = |handler: &Handler| {
        handler.resident_method() == Some(&method.name)
            && handler.room() > 0
            && handler.is_busy() != is_free
    };
    let serving = handlers
        .iter()
        .enumerate()
        .filter(|(_, handler)| serves(handler));
    let least_busy = serving.min_by_key(|(_, handler)| handler.held.len());
    let calls = || method.is_function && handlers.iter().any(|handler| !handler.is_process());
    match least_busy {
        Some((index, _)) => Some(Place::Resident(index)),
        None if is_free => Some(Place::New),
        None => calls().then_some(Place::Call),
    }
}

/// What the handlers of a run have in common.
pub(super) struct Launcher {
    folder: PathBuf,
    path: OsString,
    environment: Vec<(OsString, OsString)>,
}

impl Launcher {
    pub(super) fn new(store: &Store, debug: bool) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
        let path = path_with_runner(path);
        let ours =
            std::env::vars_os().filter(|(name, _)| WITHHELD.iter().all(|other| name != other));
        let mut environment: Vec<_> = ours.collect();
        environment.push(("PATH".into(), path.clone()));
        environment.push(("RUNNER_DB".into(), store.files().beside("").into()));
        if debug {
            environment.push(("RUNNER_DEBUG".into(), "1".into()));
        }
        Self {
            folder: store.files().folder(),
            path,
            environment,
        }
    }

    /// A program to be started, with these variables besides those that all have.
    pub(super) fn program(
        &self,
        argv: &[String],
        variables: &[(&str, OsString)],
    ) -> Result<Program, Obstacle> {
        let (name, arguments) = argv
            .split_first()
            .expect("the table takes no empty command");
        let path = find_program(&self.folder, &self.path, name)
            .map_err(|error| Obstacle::starting(name, &error))?;
        let mut command = Command::new(path);
        command
            .arg0(name)
            .args(arguments)
            .current_dir(&self.folder)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let name = name.clone();
        Ok(Program { name, command })
    }
}

/// The absolute path of a program. The standard library would look for a bare name too, but forks for that.
fn find_program(folder: &Path, path: &OsStr, name: &str) -> io::Result<PathBuf> {
    if name.contains('/') {
        return Ok(folder.join(name));
    }
    let mut reason = Errno::NOENT;
    for place in std::env::split_paths(path) {
        let candidate = folder.join(place).join(name);
        match access(&candidate, Access::EXEC_OK) {
            Ok(()) if candidate.is_file() => return Ok(candidate),
            Err(Errno::ACCESS) => reason = Errno::ACCESS,
            _ => {}
        }
    }
    Err(reason.into())
}

/// Whether a program would be found by a tick with this PATH and can be run; else why not, as a sentence.
pub(crate) fn check_program(folder: &Path, path: &str, name: &str) -> Result<(), String> {
    let found = find_program(folder, &path_with_runner(path.into()), name);
    let checked = found.and_then(|program| Ok(access(&program, Access::EXEC_OK)?));
    checked.map_err(|error| cannot_start(name, &error))
}

/// The PATH, with the folder of this program at its end: cron's has only the system's folders, and handlers call the
/// runner by its name.
fn path_with_runner(path: OsString) -> OsString {
    let program = std::env::current_exe().unwrap_or_default();
    let ours = program.parent().unwrap_or(Path::new(""));
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    if ours.as_os_str().is_empty() || folders.iter().any(|folder| folder == ours) {
        return path;
    }
    folders.push(ours.to_owned());
    // A folder with a colon in its name cannot be on a PATH.
    std::env::join_paths(folders).unwrap_or(path)
}

/// A program that can be started.
pub(super) struct Program {
    /// As the method names it.
    pub(super) name: String,
    pub(super) command: Command,
}
