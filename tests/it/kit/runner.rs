//! The real binary on a database of its own, in a folder of its own that goes with it.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::process::Running;
use super::programs::write_program;

/// A folder with a database, and the commands that are run there.
pub struct Home {
    folder: TempDir,
    now: Option<String>,
    env: Vec<(String, String)>,
}

/// What a command answered; it is shown whole when a test is not content with it.
pub struct Answer {
    command: String,
    output: Output,
}

impl Home {
    /// A folder with an empty database.
    pub fn new() -> Self {
        let home = Self::without_database();
        home.ok(["init"]);
        home
    }

    /// A folder with the example's database, as it is made today.
    pub fn example() -> Self {
        let home = Self::without_database();
        home.ok(["init", "--example"]);
        home
    }

    /// The same as it was made at this time, which all commands take as now.
    pub fn example_at(now: &str) -> Self {
        let home = Self::without_database().at(now);
        home.ok(["init", "--example"]);
        home
    }

    /// An empty folder.
    pub fn without_database() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            now: None,
            env: Vec::new(),
        }
    }

    /// The same, where all commands take this time as now.
    pub fn at(mut self, now: &str) -> Self {
        self.set_now(now);
        self
    }

    /// From here on all commands take this time as now.
    pub fn set_now(&mut self, now: &str) {
        self.now = Some(now.to_owned());
    }

    /// The same, with a variable in the environment of all commands.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The path of the database.
    pub fn db(&self) -> PathBuf {
        self.path("runner.db")
    }

    /// The path of a file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Writes a file into the folder; its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// The content of a file in the folder, empty when there is none.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Registers a shell script as the handler of a method.
    pub fn method(&self, name: &str, script: &str) {
        self.method_with(name, &[], script);
    }

    /// Registers a shell script with these options of `method set`.
    pub fn method_with(&self, name: &str, options: &[&str], script: &str) {
        let file = format!("{}.sh", name.replace([':', '*', '\\', '/'], "-"));
        let path = self.path(&file);
        write_program(&path, script);
        let mut arguments = vec!["method", "set", name];
        arguments.extend(options);
        arguments.extend(["--", path.to_str().unwrap()]);
        self.ok(arguments);
    }

    /// The command, not yet started.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runner"));
        command.current_dir(self.folder()).stdin(Stdio::null());
        command.env_remove("RUNNER_DB").env("TZ", "UTC");
        command.env_remove("RUNNER_MAIL_TRANSPORT");
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(now) = &self.now {
            command.args(["--now", now]);
        }
        command.args(arguments);
        command
    }

    /// Runs a command to its end.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Answer {
        let mut command = self.command(arguments);
        Answer::of(&format!("{command:?}"), command.output().unwrap())
    }

    /// Runs a command with this on its standard input.
    pub fn run_with_input<S>(&self, arguments: impl IntoIterator<Item = S>, input: &str) -> Answer
    where
        S: AsRef<OsStr>,
    {
        let mut command = self.command(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        Answer::of(&format!("{command:?}"), child.wait_with_output().unwrap())
    }

    /// Starts a command that goes on while the test does.
    pub fn start<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Running {
        Running::new(self.command(arguments))
    }

    /// Runs a command that must succeed without a word on standard error; what it printed, without the last newline.
    pub fn ok<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        self.run(arguments).ok()
    }

    /// Runs a command with `--json`; the value that it printed.
    pub fn json<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Value {
        self.run(std::iter::once("--json").chain(arguments)).json()
    }

    /// Runs a command that must fail with exit status 1 and one line on standard error; that line.
    pub fn refused<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        self.run(arguments).refused()
    }

    /// What any program does to the database with plain SQL.
    pub fn sql(&self, script: &str) {
        let connection = rusqlite::Connection::open(self.db()).unwrap();
        connection
            .busy_timeout(std::time::Duration::from_secs(5))
            .unwrap();
        connection
            .execute_batch("PRAGMA foreign_keys = ON")
            .unwrap();
        connection
            .execute_batch(script)
            .unwrap_or_else(|error| panic!("{script}: {error}"));
    }

    /// The one value that a query answers.
    pub fn sql_value<T: rusqlite::types::FromSql>(&self, query: &str) -> T {
        let connection = rusqlite::Connection::open(self.db()).unwrap();
        connection.query_row(query, [], |row| row.get(0)).unwrap()
    }

    /// All of a task.
    pub fn task(&self, id: &str) -> Value {
        self.json(["task", "show", id])
    }

    /// The status of a task.
    pub fn status(&self, task: &str) -> String {
        self.task(task)["status"].as_str().unwrap().to_owned()
    }

    /// What a task logged: level and message.
    pub fn logs(&self, task: &str) -> Vec<(String, String)> {
        let logs = self.json(["task", "logs", task]);
        let text = |entry: &Value, field: &str| entry[field].as_str().unwrap().to_owned();
        let entries = logs.as_array().unwrap().iter();
        entries
            .map(|entry| (text(entry, "level"), text(entry, "message")))
            .collect()
    }

    /// The lines of a file in the folder that handlers write to.
    pub fn lines(&self, name: &str) -> Vec<String> {
        self.read(name).lines().map(str::to_owned).collect()
    }
}

impl Answer {
    /// What a command that was started answered.
    pub fn of(command: &str, output: Output) -> Self {
        let command = command.to_owned();
        Self { command, output }
    }

    /// Its exit status.
    pub fn code(&self) -> i32 {
        self.output
            .status
            .code()
            .unwrap_or_else(|| self.fail("was killed"))
    }

    /// What it printed on standard output, without the last newline.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout)
            .trim_end_matches('\n')
            .to_owned()
    }

    /// What it printed on standard error, without the last newline.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr)
            .trim_end_matches('\n')
            .to_owned()
    }

    /// All that it printed.
    pub fn all(&self) -> String {
        format!("{}\n{}", self.out(), self.err())
    }

    /// Its output, when it succeeded without a word on standard error.
    pub fn ok(&self) -> String {
        if self.code() != 0 || !self.err().is_empty() {
            self.fail("should have succeeded");
        }
        self.out()
    }

    /// The JSON value that it printed, whether it succeeded or not.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out()).unwrap_or_else(|_| self.fail("should have printed JSON"))
    }

    /// Its complaint, when it failed with exit status 1 and one line.
    pub fn refused(&self) -> String {
        let err = self.err();
        if self.code() != 1 || err.lines().count() != 1 || !err.starts_with("runner: ") {
            self.fail("should have been refused in one line");
        }
        err
    }

    fn fail(&self, what: &str) -> ! {
        let (out, err) = (self.out(), self.err());
        let Self { command, output } = self;
        panic!(
            "{command}\n{what}\nstatus: {}\nstdout: {out}\nstderr: {err}",
            output.status
        )
    }
}
