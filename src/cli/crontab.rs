//! `runner crontab`: the line for cron, and its installation through crontab(1).

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::{Context, Exit};
use crate::error::{Error, Result};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Put the line into this user's crontab, unless it is there already
    #[arg(long)]
    install: bool,
}

impl Args {
    pub(super) fn run(self, context: &Context) -> Result<Exit> {
        let store = context.store_to_read()?;
        let program =
            std::env::current_exe().map_err(|source| Error::io(Path::new("runner"), source))?;
        let call = call(&store.beside(""))?;
        let line = format!("* * * * * {} {call}", quoted(&program)?);
        if self.install {
            install(&line, &call)?;
        } else if context.out.json {
            context.out.json(&serde_json::json!({"entry": line}))?;
        } else {
            context.out.line(&line)?;
        }
        Ok(Exit::Done)
    }
}

/// What follows the program: it tells the line of this database from all others.
fn call(db: &Path) -> Result<String> {
    Ok(format!("--db {} tick", quoted(db)?))
}

/// A path as the shell reads it, with what cron itself would take for the end of the line.
fn quoted(path: &Path) -> Result<String> {
    let text = path.to_str().filter(|text| !text.contains(['\n', '\r']));
    let text = text.ok_or_else(|| {
        Error::invalid(
            path.display().to_string(),
            "cron cannot read this path; use another",
        )
    })?;
    let plain = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "/._-+,:@".contains(c));
    let quoted = if plain {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    };
    Ok(quoted.replace('%', r"\%"))
}

fn install(line: &str, call: &str) -> Result<()> {
    let before = current()?;
    let after = with_line(&before, line, call);
    if after == before {
        return Ok(());
    }
    let mut child = crontab(&["-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(not_there)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(after.as_bytes()).map_err(not_there)?;
    }
    let done = child.wait_with_output().map_err(not_there)?;
    match done.status.success() {
        true => Ok(()),
        false => Err(refused(&done)),
    }
}

/// The crontab with the line in it: in place of the one that this database had, else at the end.
fn with_line(before: &str, line: &str, call: &str) -> String {
    let ours = |existing: &str| {
        !existing.trim_start().starts_with('#') && existing.ends_with(&format!(" {call}"))
    };
    if before.lines().any(|existing| existing == line) {
        return before.to_owned();
    }
    let mut replaced = false;
    let mut after = String::new();
    for existing in before.lines() {
        match ours(existing) && !replaced {
            true => {
                replaced = true;
                after.push_str(line);
            }
            false => after.push_str(existing),
        }
        after.push('\n');
    }
    if !replaced {
        after.push_str(line);
        after.push('\n');
    }
    after
}

fn current() -> Result<String> {
    let listed = crontab(&["-l"]).output().map_err(not_there)?;
    let words = String::from_utf8_lossy(&listed.stderr);
    match listed.status.success() {
        true => String::from_utf8(listed.stdout).map_err(|_| {
            Error::invalid(
                "crontab",
                "it has bytes that are no text; add the line by hand",
            )
        }),
        false if words.contains("no crontab") => Ok(String::new()),
        false => Err(refused(&listed)),
    }
}

/// In the language that its answers are looked at in.
fn crontab(arguments: &[&str]) -> Command {
    let mut command = Command::new("crontab");
    command.args(arguments).env("LC_ALL", "C");
    command
}

fn not_there(source: std::io::Error) -> Error {
    let reason = match source.kind() {
        std::io::ErrorKind::NotFound => {
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

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "* * * * * /bin/runner --db /srv/a.db tick";
    const CALL: &str = "--db /srv/a.db tick";

    #[test]
    fn the_line_is_added_after_all_others() {
        let others = "MAILTO=me\n# * * * * * old --db /srv/a.db tick\n0 5 * * * backup\n";
        assert_eq!(with_line(others, LINE, CALL), format!("{others}{LINE}\n"));
        assert_eq!(with_line("", LINE, CALL), format!("{LINE}\n"));
        assert_eq!(
            with_line("last line without end", LINE, CALL),
            format!("last line without end\n{LINE}\n")
        );
    }

    #[test]
    fn a_second_time_changes_nothing() {
        let once = with_line("a\n", LINE, CALL);
        assert_eq!(with_line(&once, LINE, CALL), once);
    }

    #[test]
    fn the_line_of_an_older_program_is_replaced_and_that_of_another_database_is_not() {
        let before = "* * * * * /old/runner --db /srv/a.db tick\n* * * * * /bin/runner --db /srv/b.db tick\n";
        let after = format!("{LINE}\n* * * * * /bin/runner --db /srv/b.db tick\n");
        assert_eq!(with_line(before, LINE, CALL), after);
    }

    #[test]
    fn paths_are_quoted_for_the_shell_and_for_cron() {
        assert_eq!(
            quoted(Path::new("/a b/50%'s.db")).unwrap(),
            r"'/a b/50\%'\''s.db'"
        );
        assert!(quoted(Path::new("/a\nb")).is_err());
    }
}
