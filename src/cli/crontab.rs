//! `runner crontab`: the line for cron, and its installation through crontab(1).

use std::io::{self, Seek, Write};
use std::path::Path;
use std::process::{Command, Output};

use serde_json::json;

use super::Invocation;
use crate::error::{Error, Result};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Put the line into this user's crontab, in place of the one that is there for this database
    #[arg(long)]
    install: bool,
}

impl Args {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        let store = invocation.store_to_read()?;
        let program =
            std::env::current_exe().map_err(|source| Error::io(Path::new("runner"), source))?;
        let entry = Entry::new(&program, &store.files().beside(""), invocation.trusted)?;
        if self.install {
            return install(&entry);
        }
        let (out, line) = (&invocation.out, entry.line());
        out.show(&json!({"entry": line}), || out.lines(&line))
    }
}

/// The line that runs the tick of a database each minute.
struct Entry {
    /// When cron runs it, and what.
    start: String,
    /// The end of the line, with a comment for the shell: by this it is known as ours, whoever has moved the program.
    end: String,
}

impl Entry {
    fn new(program: &Path, db: &Path, trusted: bool) -> Result<Self> {
        let option = if trusted { " --trust-database" } else { "" };
        Ok(Self {
            start: format!("* * * * * {}{option}", quoted(program)?),
            end: format!(" --db {} tick # runner", quoted(db)?),
        })
    }

    fn line(&self) -> String {
        format!("{}{}", self.start, self.end)
    }

    /// The crontab with this line in it, in place of an older one or at its end. All other lines stay as they are.
    fn put_into(&self, crontab: &str) -> String {
        let mut lines: Vec<&str> = crontab.split_terminator('\n').collect();
        let line = self.line();
        match lines.iter().position(|line| line.ends_with(&self.end)) {
            Some(ours) => lines[ours] = &line,
            None => lines.push(&line),
        }
        lines.join("\n") + "\n"
    }
}

/// A path as the shell reads it, with what cron itself would take for the end of the line.
fn quoted(path: &Path) -> Result<String> {
    let text = path
        .to_str()
        .filter(|text| !text.contains(|c: char| c.is_control() && c != '\t'));
    let text = text.ok_or_else(|| {
        Error::invalid(
            path.display().to_string(),
            "cron cannot read this path; use another",
        )
    })?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@".contains(c);
    let quoted = if text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    };
    Ok(quoted.replace('%', r"\%"))
}

fn install(entry: &Entry) -> Result<()> {
    let before = current()?;
    let after = entry.put_into(&before);
    if after == before {
        return Ok(());
    }
    let mut file = tempfile::tempfile().map_err(not_there)?;
    file.write_all(after.as_bytes()).map_err(not_there)?;
    file.rewind().map_err(not_there)?;
    let done = crontab("-").stdin(file).output().map_err(not_there)?;
    if done.status.success() {
        return Ok(());
    }
    Err(refused(&done))
}

fn current() -> Result<String> {
    let listed = crontab("-l").output().map_err(not_there)?;
    if listed.status.success() {
        return String::from_utf8(listed.stdout).map_err(|_| {
            Error::invalid(
                "crontab",
                "it has bytes that are no text; add the line by hand",
            )
        });
    }
    if String::from_utf8_lossy(&listed.stderr).contains("no crontab") {
        return Ok(String::new());
    }
    Err(refused(&listed))
}

/// In the language that its answers are looked at in.
fn crontab(argument: &str) -> Command {
    let mut command = Command::new("crontab");
    command.arg(argument).env("LC_ALL", "C");
    command
}

fn not_there(source: io::Error) -> Error {
    let reason = match source.kind() {
        io::ErrorKind::NotFound => {
            "there is no such program here; install cron, or add the line by hand".to_owned()
        }
        _ => source.to_string(),
    };
    Error::invalid("crontab", reason)
}

fn refused(answer: &Output) -> Error {
    let words = String::from_utf8_lossy(&answer.stderr);
    Error::invalid("crontab", format!("it answered: {}", words.trim()))
}
