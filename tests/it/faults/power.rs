//! The power fails: of what was written, only that is left which had reached the disk. What a command had acknowledged is
//! there all the same, and what had been begun is known to have been. Needs strace(1), and leave to use it.
//!
//! A command is traced; then the files are put together as they would be found after a cut at each of its calls: with all
//! that was written before the last time that the file was synced, and nothing of what came after, or all of it.
use std::collections::BTreeMap;
use std::fs;

use crate::kit::faults::{stride, tell};
use crate::kit::runner::Home;
use crate::kit::trace::{Call, may_trace, trace};
use rusqlite::Connection;
use tempfile::TempDir;

/// The files of a database as a disk holds them, by the ending of their names.
#[derive(Clone, Default)]
struct Disk(BTreeMap<String, Vec<u8>>);

impl Disk {
    fn of(home: &Home) -> Self {
        let files = ["", "-wal"].into_iter().filter_map(|ending| {
            let content = fs::read(home.path(&format!("runner.db{ending}"))).ok()?;
            Some((ending.to_owned(), content))
        });
        Self(files.collect())
    }

    fn apply(&mut self, call: &Call) {
        match call {
            Call::Write { file, at, bytes } => {
                let Some(ending) = ending(file) else { return };
                let content = self.0.entry(ending).or_default();
                let end = at + bytes.len();
                content.resize(content.len().max(end), 0);
                content[*at..end].copy_from_slice(bytes);
            }
            Call::Truncate { file, length } => {
                let Some(ending) = ending(file) else { return };
                self.0.entry(ending).or_default().resize(*length, 0);
            }
            Call::Unlink { file } => {
                ending(file).and_then(|ending| self.0.remove(&ending));
            }
            Call::Sync { .. } | Call::Other { .. } => {}
        }
    }

    /// What the disk has for certain when the power fails after these calls: a call counts once its file was synced.
    fn with_what_was_synced(&self, calls: &[Call]) -> Self {
        let mut disk = self.clone();
        for (place, call) in calls.iter().enumerate() {
            let synced = calls[place..]
                .iter()
                .any(|later| match (call.file(), later) {
                    (Some(file), Call::Sync { file: synced }) => file == synced,
                    _ => false,
                });
            // The end of a file is no content of it, and is as likely to be on the disk as not: see the other reading.
            if synced && !matches!(call, Call::Unlink { .. }) {
                disk.apply(call);
            }
        }
        disk
    }

    /// What it has when all of the calls had reached it.
    fn with_all(&self, calls: &[Call]) -> Self {
        let mut disk = self.clone();
        calls.iter().for_each(|call| disk.apply(call));
        disk
    }

    /// The database in a folder of its own, as it is found when the power is back.
    fn found(&self) -> (TempDir, Connection) {
        let folder = TempDir::new().unwrap();
        for (ending, content) in &self.0 {
            fs::write(folder.path().join(format!("runner.db{ending}")), content).unwrap();
        }
        let connection = Connection::open(folder.path().join("runner.db")).unwrap();
        (folder, connection)
    }
}

/// Which of the database's files a path is; none when it is another file, or the shared memory that no disk has.
fn ending(path: &str) -> Option<String> {
    let (_, ending) = path.rsplit_once("runner.db")?;
    ["", "-wal"].contains(&ending).then(|| ending.to_owned())
}

/// Looks at the database after a cut at each of the calls, read both ways; how many cuts there were.
fn cut_everywhere(
    before: &Disk,
    calls: &[Call],
    mut look: impl FnMut(&Connection, &[Call]),
) -> usize {
    let step = stride(7);
    let places: Vec<usize> = (0..=calls.len())
        .step_by(step)
        .chain([calls.len()])
        .collect();
    for &place in &places {
        let calls = &calls[..place];
        for disk in [before.with_what_was_synced(calls), before.with_all(calls)] {
            let (_folder, connection) = disk.found();
            let sound: String = connection
                .query_row("PRAGMA integrity_check", [], |row| row.get(0))
                .unwrap();
            assert_eq!(sound, "ok", "cut at call {place}");
            look(&connection, calls);
        }
    }
    places.len() * 2
}

fn count(connection: &Connection, query: &str) -> i64 {
    connection.query_row(query, [], |row| row.get(0)).unwrap()
}

/// The lines that a command had written to standard output by then.
fn said(calls: &[Call]) -> String {
    let written = calls.iter().filter_map(|call| match call {
        Call::Other { name, text } if name == "write" && text.starts_with("1<") => {
            Some(text.as_str())
        }
        _ => None,
    });
    written.collect::<Vec<_>>().join("\n")
}

#[test]
fn what_a_command_has_acknowledged_is_there_after_a_power_cut() {
    if !may_trace() {
        return;
    }
    let home = Home::new();
    home.method("m", "true");
    home.write("three.jsonl", "{\"method\":\"m\"}\n".repeat(3));
    let mut tried = 0;
    for (arguments, acknowledged, query) in [
        (vec!["task", "add", "m"], 1, "SELECT count(*) FROM task"),
        (
            vec!["task", "add", "--batch", "three.jsonl"],
            4,
            "SELECT count(*) FROM task",
        ),
        (
            vec!["doc", "add", "--key", "invoice"],
            1,
            "SELECT count(*) FROM document",
        ),
    ] {
        let before = Disk::of(&home);
        let calls = trace(&home, home.command(&arguments));
        assert!(!said(&calls).is_empty(), "{arguments:?}");
        tried += cut_everywhere(&before, &calls, |found, calls| {
            if !said(calls).is_empty() {
                assert_eq!(count(found, query), acknowledged, "{arguments:?}");
            }
        });
    }
    tell("commands: power cut at any call", tried);
}

/// An attempt that has begun is known as such when the power is back, so that it is not taken for one that has not.
#[test]
fn what_a_handler_has_begun_is_known_after_a_power_cut() {
    if !may_trace() {
        return;
    }
    let home = Home::new();
    home.method("m", "true");
    home.write("three.jsonl", "{\"method\":\"m\"}\n".repeat(3));
    home.ok(["task", "add", "--batch", "three.jsonl"]);
    let before = Disk::of(&home);
    let calls = trace(&home, home.command(["tick"]));
    let begun = |calls: &[Call]| {
        let starts = calls
            .iter()
            .filter(|call| matches!(call, Call::Other { name, text } if name == "execve" && text.contains("m.sh")));
        i64::try_from(starts.count()).unwrap()
    };
    assert_eq!(begun(&calls), 3);
    let tried = cut_everywhere(&before, &calls, |found, calls| {
        let known = count(found, "SELECT count(*) FROM task WHERE attempt = 1");
        assert!(known >= begun(calls), "{known} of {}", begun(calls));
    });
    tell("tasks: power cut at any call", tried);
}

/// A mail is known to be on its way before anybody can have taken it.
#[test]
fn what_a_mail_folder_has_taken_is_known_after_a_power_cut() {
    if !may_trace() {
        return;
    }
    let home = crate::kit::outbox::home_with("file:out");
    crate::kit::outbox::add_mail(&home, "a@example.org");
    crate::kit::outbox::add_mail(&home, "b@example.org");
    let before = Disk::of(&home);
    let calls = trace(&home, home.command(["tick"]));
    let taken = |calls: &[Call]| {
        let renamed = calls.iter().filter(|call| {
            matches!(call, Call::Other { name, text } if name.starts_with("rename") && text.contains(".eml"))
        });
        i64::try_from(renamed.count()).unwrap()
    };
    assert_eq!(taken(&calls), 2);
    let tried = cut_everywhere(&before, &calls, |found, calls| {
        let known = count(
            found,
            "SELECT count(*) FROM mail WHERE status IN ('sending', 'sent')",
        );
        assert!(known >= taken(calls), "{known} of {}", taken(calls));
    });
    tell("mails: power cut at any call", tried);
}
