//! The ticks between which nothing happens: most of them, on most machines. They need not open the database.

use super::note::Note;
use super::{HOUR, Report, hour};
use crate::clock::Clock;
use crate::error::Result;
use crate::report;
use crate::store::Store;
use crate::store::file::Files;
use crate::store::stamp::Stamp;
use crate::time::Timestamp;

/// The report of a tick that need not open the database, if this is one: the last tick has noted that nothing is due until
/// later than now, and nobody has written to the database since then. The first tick of an hour is none.
pub(crate) fn quiet_tick(files: &Files, clock: &Clock, stamp: Stamp) -> Option<Report> {
    let now = clock.start();
    let last = Note::read(files).ok()??;
    let (until, then) = last.quiet?;
    let is_in_time = last.at <= now && now < until && Some(until) <= end_of_hour(now);
    if then != stamp || !is_in_time || report::has_failed(files) {
        return None;
    }
    // A tick that cannot note its end says so with all that it takes to tell of errors.
    Note { at: now, ..last }.write(files).ok()?;
    log::info!(
        "nothing has become due, and nobody has written to the database since the last tick"
    );
    Some(Report::new(now).after(clock))
}

/// Until when no tick has anything to do unless somebody writes to the database, where nothing is due now.
pub(super) fn quiet_until(store: &Store, now: Timestamp) -> Result<Option<Timestamp>> {
    // What was told of errors that are over is to be forgotten.
    if store.has_reported()? {
        return Ok(None);
    }
    let times = [end_of_hour(now), store.next_due()?];
    Ok(times.into_iter().flatten().min())
}

fn end_of_hour(time: Timestamp) -> Option<Timestamp> {
    Timestamp::from_unix((hour(time) + 1) * HOUR)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use rusqlite::Connection;
    use tempfile::TempDir;

    use super::{Clock, Files, Note, Stamp, Store, Timestamp, quiet_tick, quiet_until};
    use crate::context::Context;
    use crate::functions::Functions;
    use crate::outbox::Post;
    use crate::shutdown::Shutdown;
    use crate::store::stamp::tests::{changed_at, database};
    use crate::tick::stamped_tick;
    use crate::time::Zone;

    fn time(text: &str) -> Timestamp {
        let text = format!("2026-04-10T{text}");
        Zone::parse("UTC").unwrap().parse_time(&text).unwrap()
    }

    fn stamp(text: &str) -> Stamp {
        Stamp::parse(text).unwrap()
    }

    /// A database, and what a tick at nine has noted of it.
    fn noted() -> (TempDir, Files) {
        let (folder, path) = database();
        let files = Files::of(&path);
        let quiet = Some((time("09:20"), stamp("1f")));
        let at = time("09:00");
        Note { at, quiet }.write(&files).unwrap();
        (folder, files)
    }

    fn is_quiet(files: &Files, now: &str) -> bool {
        quiet_tick(files, &Clock::fixed(time(now)), stamp("1f")).is_some()
    }

    #[test]
    fn a_tick_need_not_look_until_something_is_due_or_written() {
        let (_folder, files) = noted();
        let other = quiet_tick(&files, &Clock::fixed(time("09:01")), stamp("2f"));
        assert!(other.is_none(), "somebody has written");
        assert!(!is_quiet(&files, "08:59"), "the clock was set back");
        assert!(is_quiet(&files, "09:00") && is_quiet(&files, "09:19"));
        assert!(!is_quiet(&files, "09:18"), "that was before the last tick");
        assert!(!is_quiet(&files, "09:20"), "it is due");
        let report = quiet_tick(&files, &Clock::fixed(time("09:19:59")), stamp("1f")).unwrap();
        assert_eq!(
            (report.now, report.fired, report.errors.len()),
            (time("09:19:59"), 0, 0)
        );
    }

    #[test]
    fn what_is_committed_while_a_tick_looks_is_seen_by_the_next() {
        let (_folder, path) = database();
        let (files, clock) = (Files::of(&path), Clock::system());
        let before = Stamp::of(&files, &clock).unwrap();
        let sql = "INSERT INTO document (title) VALUES ('in the midst')";
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let store = Store::open(&path).unwrap();
        let settings = store.settings().unwrap();
        let (functions, shutdown) = (Functions::default(), Shutdown::default());
        let ctx = Context {
            store: &store,
            clock: &clock,
            settings: &settings,
            functions: &functions,
            shutdown: &shutdown,
        };
        let mut post = Post::new(&store, &clock, &settings);
        stamped_tick(ctx, &mut post, Some(before)).1.unwrap();
        drop(post);
        drop(store);
        let (_, noted) = Note::read(&files).unwrap().unwrap().quiet.unwrap();
        assert_eq!(noted, before);
        changed_at(&path, UNIX_EPOCH + Duration::from_secs(1_775_804_401));
        let after = Stamp::of(&files, &clock).unwrap();
        assert!(quiet_tick(&files, &Clock::system(), after).is_none());
    }

    #[test]
    fn the_first_tick_of_an_hour_looks_whatever_the_last_one_noted() {
        let (_folder, files) = noted();
        let quiet = Some((time("12:00"), stamp("1f")));
        let at = time("09:00");
        Note { at, quiet }.write(&files).unwrap();
        assert!(!is_quiet(&files, "09:01"));
    }

    #[test]
    fn it_is_quiet_until_the_next_hour_or_what_is_due_before_that() {
        let queued = |time: &str| {
            format!(
                "INSERT INTO mail (\"from\", \"to\", subject, body, run_at, message_id)
                 VALUES ('a@example.org', json_array('b@example.org'), 'Soon', '', {time}, '<1@example.org>')"
            )
        };
        let level = "INSERT INTO timer (name) VALUES ('soon'); INSERT INTO document (title) VALUES ('Soon');
             INSERT INTO attachment (timer_id, document_id, counted_from, due_at, needs_reschedule)
             VALUES (1, 1, '2026-04-10 09:00:00', '2026-04-10 09:30:00', 0)";
        let held = |time: &str| format!("INSERT INTO task (method, run_at) VALUES ('a', '{time}')");
        for (sql, until) in [
            (String::new(), Some("10:00")),
            (held("2026-04-10 09:10:00"), Some("09:10")),
            (held("2026-04-10 10:10:00"), Some("10:00")),
            (level.to_owned(), Some("09:30")),
            (queued("'2026-04-10 09:40:00'"), Some("09:40")),
            (queued("'2026-04-10 10:00:01'"), Some("10:00")),
            (
                "INSERT INTO reported (subject, since) VALUES ('task', '2026-04-10 08:00:00')"
                    .to_owned(),
                None,
            ),
        ] {
            let (_folder, path) = database();
            let store = Store::open(&path).unwrap();
            Connection::open(&path)
                .unwrap()
                .execute_batch(&sql)
                .unwrap();
            let found = quiet_until(&store, time("09:00")).unwrap();
            assert_eq!(found, until.map(time), "{sql}");
        }
    }
}
