//! `runner crontab`: the line for cron, and its installation through crontab(1).

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::output::complain;
use super::{Exit, Invocation};
use crate::error::{Error, Result};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Put the line into this user's crontab, unless it is there already
    #[arg(long)]
    install: bool,
}

impl Args {
    pub(super) fn run(self, invocation: &Invocation) -> Result<Exit> {
        let store = invocation.store_to_read()?;
        let program =
            std::env::current_exe().map_err(|source| Error::io(Path::new("runner"), source))?;
        let entry = Entry::new(&program, &store.files().beside(""), invocation.trusted)?;
        if self.install {
            install(&entry)?;
        } else if invocation.out.json {
            invocation
                .out
                .json(&serde_json::json!({"entry": entry.line}))?;
        } else {
            invocation.out.line(&entry.line)?;
        }
        Ok(Exit::Done)
    }
}

/// When cron runs it.
const EACH_MINUTE: &str = "* * * * * ";

/// The line of this database, and what it is known by among others.
struct Entry {
    line: String,
    /// The file name of the program.
    program: OsString,
    /// What follows the program in the lines that this command writes, with the option to trust the database and without.
    calls: [String; 2],
    /// The path of the database as it may stand in a line of somebody's own.
    databases: [String; 2],
}

impl Entry {
    fn new(program: &Path, db: &Path, trusted: bool) -> Result<Self> {
        let shown = quoted(db)?;
        let plain = format!(" --db {shown} tick");
        let trusting = format!(" --db {shown} --trust-database tick");
        let call = if trusted { &trusting } else { &plain };
        Ok(Self {
            line: format!("{EACH_MINUTE}{}{call}", quoted(program)?),
            program: program.file_name().unwrap_or_default().to_owned(),
            databases: [shown, db.display().to_string()],
            calls: [plain, trusting],
        })
    }

    /// Whether a line is one that this command has written, for this program wherever it was then.
    fn is_ours(&self, line: &str) -> bool {
        let called = line.strip_prefix(EACH_MINUTE).and_then(|rest| {
            let called = self
                .calls
                .iter()
                .find_map(|call| rest.strip_suffix(call.as_str()));
            called.and_then(unquoted)
        });
        called.is_some_and(|path| Path::new(&path).file_name() == Some(&self.program))
    }

    /// Whether a line that somebody wrote runs the tick of this database in a way of its own.
    fn is_run_by(&self, line: &str) -> bool {
        let line = line.trim();
        let is_edge =
            |c: Option<char>| c.is_none_or(|c| c.is_whitespace() || "'\"=;&|)(".contains(c));
        let names = |database: &String| {
            line.match_indices(database.as_str()).any(|(at, found)| {
                let before = line.get(..at).and_then(|text| text.chars().next_back());
                let after = line.get(at + found.len()..);
                is_edge(before) && is_edge(after.and_then(|text| text.chars().next()))
            })
        };
        let says = |wanted: &str| line.split(|c| is_edge(Some(c))).any(|word| word == wanted);
        // A rehearsal does nothing, and what runs once after a start is no tick for all the minutes that follow.
        !line.starts_with('#')
            && !line.starts_with("@reboot")
            && says("tick")
            && !says("--dry-run")
            && self.databases.iter().any(names)
    }
}

/// The path that [`quoted`] made this word of; `None` when it is not one such word.
fn unquoted(word: &str) -> Option<String> {
    let text = word.replace(r"\%", "%");
    let path = match text.strip_prefix('\'') {
        Some(rest) => rest.strip_suffix('\'')?.replace(r"'\''", "'"),
        None => text,
    };
    let again = quoted(Path::new(&path)).ok()?;
    (again == word).then_some(path)
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

fn install(entry: &Entry) -> Result<()> {
    let before = current()?;
    let after = match changed(&before, entry) {
        Change::None => return Ok(()),
        Change::LeftTo(own) => {
            complain(&format!(
                "crontab: a line of your own runs the tick of this database, and is left as it is: {own}"
            ));
            return Ok(());
        }
        Change::To(after) => after,
    };
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

/// What becomes of a crontab.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    /// The line is there.
    None,
    /// A line of the user's own does the same.
    LeftTo(String),
    /// The new content.
    To(String),
}

/// The crontab with the line in it: in place of the one that this command wrote for this database before, else at the
/// end. All other lines stay as they are.
fn changed(before: &str, entry: &Entry) -> Change {
    let mut lines: Vec<&str> = before.split_inclusive('\n').collect();
    let bare = |line: &&str| line.trim_end_matches(['\r', '\n']).to_owned();
    let with_end = format!("{}\n", entry.line);
    if lines.iter().any(|line| bare(line) == entry.line) {
        return Change::None;
    }
    if let Some(ours) = lines.iter_mut().find(|line| entry.is_ours(&bare(line))) {
        *ours = &with_end;
        return Change::To(lines.concat());
    }
    if let Some(own) = lines.iter().map(bare).find(|line| entry.is_run_by(line)) {
        return Change::LeftTo(own);
    }
    let gap = if before.is_empty() || before.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    Change::To(format!("{before}{gap}{with_end}"))
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

    fn entry(trusted: bool) -> Entry {
        Entry::new(Path::new("/bin/runner"), Path::new("/srv/a.db"), trusted).unwrap()
    }

    fn with_line(before: &str) -> Change {
        changed(before, &entry(false))
    }

    #[test]
    fn the_line_is_added_after_all_others() {
        for others in [
            "MAILTO=me\n# * * * * * old --db /srv/a.db tick\n0 5 * * * backup\n",
            "* * * * * /bin/runner --db /srv/b.db tick\n* * * * * /bin/runner --db /srv/a.db.old tick\n",
            "0 5 * * * cp /srv/a.db /backup\r\n",
            "@reboot /bin/runner --db /srv/a.db tick\n",
            "0 5 * * * /bin/runner --db /srv/a.db tick --dry-run | mail me\n",
            "",
        ] {
            assert_eq!(with_line(others), Change::To(format!("{others}{LINE}\n")));
        }
        assert_eq!(
            with_line("last line without end"),
            Change::To(format!("last line without end\n{LINE}\n"))
        );
    }

    #[test]
    fn a_second_time_changes_nothing() {
        assert_eq!(with_line(&format!("a\n{LINE}\nb\n")), Change::None);
        assert_eq!(with_line(&format!("a\n{LINE}")), Change::None);
    }

    #[test]
    fn the_line_of_an_older_program_is_replaced() {
        for old in [
            "* * * * * /old/runner --db /srv/a.db tick",
            "* * * * * '/old place/50\\% '\\''s/runner' --db /srv/a.db tick",
            "* * * * * /bin/runner --db /srv/a.db --trust-database tick",
        ] {
            let before = format!("a\n{old}\n* * * * * /bin/runner --db /srv/b.db tick\n");
            let after = format!("a\n{LINE}\n* * * * * /bin/runner --db /srv/b.db tick\n");
            assert_eq!(with_line(&before), Change::To(after), "{old}");
        }
        let trusting = "* * * * * /bin/runner --db /srv/a.db --trust-database tick\n";
        let after = changed(&format!("{LINE}\n"), &entry(true));
        assert_eq!(after, Change::To(trusting.to_owned()));
    }

    #[test]
    fn a_line_of_the_users_own_is_left_as_it_is_and_is_enough() {
        for own in [
            "*/5 * * * * /bin/runner --db /srv/a.db tick",
            "* * * * * nice /bin/runner --db /srv/a.db tick",
            "* * * * * /bin/runner --db /srv/a.db tick >> /var/log/runner 2>&1",
            "* * * * * /bin/runner -v --db=/srv/a.db tick",
            "* * * * * /bin/wrapper --db /srv/a.db tick",
            "@hourly RUNNER_DB='/srv/a.db' runner tick;true",
        ] {
            let before = format!("a\n{own}\n");
            assert_eq!(with_line(&before), Change::LeftTo(own.to_owned()));
        }
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
