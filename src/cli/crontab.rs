//! `runner crontab`: the line for cron, and its installation through crontab(1).

use std::io::{self, Seek, Write};
use std::path::Path;
use std::process::{Command, Output};

use serde_json::json;

use super::Invocation;
use crate::error::{Error, Result};
use crate::time::Duration;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Put the line into this user's crontab, in place of the one that is there for this database
    #[arg(long)]
    install: bool,
    /// Let each tick stay for so long and start what comes within a second, 55s say
    #[arg(long = "for", value_name = "D", allow_hyphen_values = true, value_parser = Duration::positive)]
    stay: Option<Duration>,
}

impl Args {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        let store = invocation.store_to_read()?;
        let program =
            std::env::current_exe().map_err(|source| Error::io(Path::new("runner"), source))?;
        let db = store.files().beside("");
        let entry = Entry::new(&program, &db, invocation.trusted, self.stay)?;
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
    /// What follows: with the comment at the end of the line, it is known as ours by this, whoever has moved the program.
    tick: String,
    /// How long the tick stays, as an option.
    stay: String,
}

/// What the line ends with: a comment for the shell.
const COMMENT: &str = " # runner";

const STAY: &str = " --for ";

impl Entry {
    fn new(program: &Path, db: &Path, trusted: bool, stay: Option<Duration>) -> Result<Self> {
        let option = if trusted { " --trust-database" } else { "" };
        Ok(Self {
            start: format!("* * * * * {}{option}", quoted(program)?),
            tick: format!(" --db {} tick", quoted(db)?),
            stay: match stay {
                Some(stay) => format!("{STAY}{}", stay.to_string().replace(' ', "")),
                None => String::new(),
            },
        })
    }

    fn line(&self) -> String {
        format!("{}{}{}{COMMENT}", self.start, self.tick, self.stay)
    }

    /// Whether a line of the crontab is one of these for the same database.
    fn is_older(&self, line: &str) -> bool {
        line.strip_suffix(COMMENT).is_some_and(|command| {
            let staying = command.rsplit_once(STAY);
            command.ends_with(&self.tick)
                || staying.is_some_and(|(tick, _)| tick.ends_with(&self.tick))
        })
    }

    /// The crontab with this line in it, in place of an older one or at its end. All other lines stay as they are.
    fn put_into(&self, crontab: &str) -> String {
        let mut lines: Vec<&str> = crontab.split_terminator('\n').collect();
        let line = self.line();
        match lines.iter().position(|line| self.is_older(line)) {
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

/// What this user's crontab says about a database.
pub(super) struct Installed {
    /// Whether it has an entry for it.
    pub(super) is_there: bool,
    /// The PATH that it gives to that.
    pub(super) path: Option<String>,
}

impl Installed {
    pub(super) fn find(db: &Path) -> Result<Self> {
        let entry = Entry::new(Path::new("runner"), db, false, None)?;
        let mut path = None;
        for line in current()?.lines() {
            if entry.is_older(line) && !line.starts_with('#') {
                return Ok(Self {
                    is_there: true,
                    path,
                });
            }
            if let Some((name, value)) = line.split_once('=')
                && name.trim() == "PATH"
            {
                path = Some(value.trim().trim_matches(['"', '\'']).to_owned());
            }
        }
        Ok(Self {
            is_there: false,
            path: None,
        })
    }
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
