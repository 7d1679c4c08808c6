//! A tick that is killed, or whose calls fail, while it changes states, sends mail, runs methods and chains, or recovers
//! from a death before: the next clean ticks do what is left, and no step of a level is done twice. Needs strace(1), and
//! leave to use it.
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::PathBuf;

use crate::kit::faults::{stride, tell};
use crate::kit::mime::header;
use crate::kit::outbox::add_mail;
use crate::kit::runner::Home;
use crate::kit::smtp::{Script, Server};
use crate::kit::trace::{may_trace, tick_with};

/// The calls that change what others can see, and those between which a mail is taken.
const CALLS: &str = "pwrite64,write,fsync,fdatasync,ftruncate,unlink,mkdir,rename,clone,clone3,vfork,\
                     connect,sendto,recvfrom";
/// More calls than any of these ticks makes.
const MOST: u32 = 3000;
/// Of so many calls, the short form kills at one.
const STRIDE: usize = 23;

const BEGIN: &str = "2026-04-10T09:00";
/// Ticks after a failure, each later than the pause before a retry, all within the hour limit.
const AFTER: [&str; 3] = ["2026-04-10T09:20", "2026-04-10T09:40", "2026-04-10T10:00"];

/// Writes down the task and its attempt, which is the one thing that it reads of its input. When the runner dies before
/// it has written that, the handler may see the end of its input a moment before it dies as well.
const LEDGER: &str =
    "read -r in || exit 1; at=${in#*'\"attempt\":'}; echo \"$RUNNER_TASK ${at%%[,\\}]*}\" >> ran";

/// What a tick has to do, and what must have been done in the end.
struct Scenario {
    name: &'static str,
    prepare: fn() -> Home,
    over_smtp: bool,
    firings: i64,
    mails: usize,
    completed: i64,
}

const SCENARIOS: [Scenario; 9] = [
    Scenario {
        name: "state",
        prepare: || with_levels(&["state=late", "delay=5m, state=end"]),
        over_smtp: false,
        firings: 4,
        mails: 0,
        completed: 0,
    },
    Scenario {
        name: "many states",
        prepare: with_many_levels,
        over_smtp: false,
        firings: 260,
        mails: 0,
        completed: 0,
    },
    Scenario {
        name: "mail to a folder",
        prepare: || with_levels(&["state=late, mail=one, mail=two", "delay=5m, mail=one"]),
        over_smtp: false,
        firings: 4,
        mails: 6,
        completed: 0,
    },
    Scenario {
        name: "mail over SMTP",
        prepare: || with_levels(&["state=late, mail=one, mail=two", "delay=5m, mail=one"]),
        over_smtp: true,
        firings: 4,
        mails: 6,
        completed: 0,
    },
    Scenario {
        name: "method",
        prepare: || {
            with_levels(&[
                "state=late, mail=one, method=m",
                "delay=5m, method=m, state=end",
            ])
        },
        over_smtp: false,
        firings: 4,
        mails: 2,
        completed: 4,
    },
    Scenario {
        name: "bound to a state",
        prepare: with_bound_levels,
        over_smtp: false,
        firings: 2,
        mails: 2,
        completed: 2,
    },
    Scenario {
        name: "chain",
        prepare: with_chain,
        over_smtp: false,
        firings: 0,
        mails: 0,
        completed: 3,
    },
    Scenario {
        name: "schedules",
        prepare: with_schedules,
        over_smtp: false,
        firings: 0,
        mails: 0,
        completed: 3,
    },
    Scenario {
        name: "recovery",
        prepare: with_a_dead_tick,
        over_smtp: false,
        firings: 2,
        mails: 3,
        completed: 5,
    },
];

fn scenario(name: &str) -> &'static Scenario {
    SCENARIOS
        .iter()
        .find(|scenario| scenario.name == name)
        .unwrap()
}

/// A home with templates, a folder that mails go to, and a method with retries.
fn equipped() -> Home {
    let home = Home::new().at(BEGIN);
    home.sql(
        "INSERT INTO template (name, \"to\", subject, body)
         VALUES ('one', 'a@example.org', 'One of {{ doc.title }}', 'One'),
                ('two', 'b@example.org', 'Two of {{ doc.title }}', 'Two');
         INSERT OR REPLACE INTO setting
         VALUES ('mail.from', 'runner@example.org'), ('mail.transport', 'file:out'), ('task.max_running', '2')",
    );
    home.method_with("m", &["--retries", "3"], LEDGER);
    home
}

/// Two documents on a timer with these actions, all of which are due.
fn with_levels(actions: &[&str]) -> Home {
    let home = equipped();
    hang(&home, actions);
    home
}

fn hang(home: &Home, actions: &[&str]) {
    home.timer_with("t", &["--reference", "deadline"], actions);
    for title in ["A", "B"] {
        let doc = home.document(title, "2026-04-10T08:50");
        home.ok(["timer", "attach", "t", &doc]);
    }
}

/// Two documents on a timer whose first level takes them out of its state, and which has no more to do then.
fn with_bound_levels() -> Home {
    let home = equipped();
    home.timer_with(
        "t",
        &["--reference", "deadline", "--while-state", "open"],
        &["state=late, mail=one, method=m", "delay=5m, state=end"],
    );
    for title in ["A", "B"] {
        home.document(title, "2026-04-10T08:50");
    }
    home
}

/// So many documents that they are fired without the schema's triggers.
fn with_many_levels() -> Home {
    let home = equipped();
    home.timer("t", &["state=late"]);
    home.sql(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 260)
         INSERT INTO document (title, state) SELECT n, 'open' FROM n;
         INSERT INTO attachment (timer_id, document_id, attached_at) SELECT 1, id, '2026-04-10 08:50:00' FROM document",
    );
    home
}

fn with_chain() -> Home {
    let home = equipped();
    let first = home.ok(["task", "add", "m"]);
    let second = home.ok(["task", "add", "m", "--after", &first]);
    home.ok(["task", "add", "m", "--after", &second]);
    home
}

/// Three occurrences that have come, and no other before tomorrow.
fn with_schedules() -> Home {
    let mut home = equipped();
    home.set_now("2026-04-10T08:00");
    let twice = ["--cron", "40,50 8 * * *", "--missed", "all"];
    home.ok([&["schedule", "set", "twice"][..], &twice, &["m"]].concat());
    home.ok(["schedule", "set", "once", "--cron", "0 9 * * *", "m"]);
    home.set_now(BEGIN);
    home
}

/// Levels and tasks that a tick had in hand when it died with its handler, and a mail that it had been sending.
fn with_a_dead_tick() -> Home {
    let home = equipped();
    let script = format!("{LEDGER}\n[ -e died ] || {{ : > died; kill -9 $PPID; sleep 300; }}");
    home.method_with("m", &["--retries", "3"], &script);
    home.write("three.jsonl", "{\"method\":\"m\"}\n".repeat(3));
    home.ok(["task", "add", "--batch", "three.jsonl"]);
    hang(&home, &["state=late, mail=one, method=m"]);
    let _killed = home.run(["tick"]);
    add_mail(&home, "c@example.org");
    home.sql(
        "UPDATE mail SET status = 'sending', worker_id = (SELECT min(id) FROM worker) WHERE status = 'queued'",
    );
    for left in [
        "SELECT count(*) FROM worker",
        "SELECT count(*) FROM task WHERE status = 'RUNNING'",
        "SELECT count(*) FROM mail WHERE status = 'sending'",
    ] {
        assert!(home.sql_value::<i64>(left) > 0, "{left}");
    }
    home
}

/// A prepared home, that can be put back to how it was.
struct Prepared {
    home: Home,
    files: BTreeMap<PathBuf, Vec<u8>>,
    mails: BTreeMap<PathBuf, Vec<u8>>,
}

impl Prepared {
    fn new(scenario: &Scenario) -> Self {
        let home = (scenario.prepare)();
        let files = files_in(home.folder().to_owned());
        let mails = files_in(home.path("out"));
        Self { home, files, mails }
    }

    /// Puts all files back in place: the database keeps its inode, and scripts are left alone.
    fn restore(&mut self) {
        for path in files_in(self.home.folder().to_owned()).into_keys() {
            if !self.files.contains_key(&path) {
                fs::remove_file(path).unwrap();
            }
        }
        let _ = fs::remove_dir_all(self.home.path("out"));
        if !self.mails.is_empty() {
            fs::create_dir(self.home.path("out")).unwrap();
        }
        let scripts = |path: &PathBuf| path.extension().is_some_and(|end| end == "sh");
        for (path, content) in self.files.iter().chain(&self.mails) {
            if !scripts(path) {
                fs::write(path, content).unwrap();
            }
        }
        self.home.set_now(BEGIN);
    }
}

fn files_in(folder: PathBuf) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

/// What came out at the other end, whichever way.
fn arrived(home: &Home, server: Option<&Server>) -> Vec<String> {
    match server {
        Some(server) => server.mails().into_iter().map(|mail| mail.data).collect(),
        None => files_in(home.path("out"))
            .into_iter()
            .filter(|(path, _)| path.extension().is_some_and(|end| end == "eml"))
            .map(|(_, mail)| String::from_utf8(mail).unwrap())
            .collect(),
    }
}

/// Tries one fault; whether it happened.
fn survives(scenario: &Scenario, prepared: &mut Prepared, fault: (&str, &str, u32)) -> bool {
    let (calls, what, n) = fault;
    prepared.restore();
    let server = scenario.over_smtp.then(|| Script::accept().start());
    if let Some(server) = &server {
        prepared.home.sql(&format!(
            "UPDATE setting SET value = '{}' WHERE key = 'mail.transport'",
            server.url("", "")
        ));
    }
    if tick_with(&prepared.home, calls, what, n).is_none() {
        return false;
    }
    let after = format!("{}: {what} at {n} of {calls}", scenario.name);
    drain(&mut prepared.home, &after);
    assert_all_was_done(scenario, &prepared.home, &after);
    assert_ledger_agrees(&prepared.home, &after);
    assert_mails_arrived(
        scenario,
        &prepared.home,
        &arrived(&prepared.home, server.as_ref()),
        &after,
    );
    true
}

/// Clean ticks: the first does all that is left, unless it found attempts that were interrupted, which have a pause.
fn drain(home: &mut Home, after: &str) {
    let [first, second, last] = AFTER;
    home.set_now(first);
    let tick = home.run(["--json", "tick"]).json();
    if tick["interrupted"] == 0 {
        assert_nothing_is_left(home, after);
    }
    home.set_now(second);
    home.run(["tick"]);
    home.set_now(last);
    assert_eq!(home.ok(["tick"]), "", "{after}");
    assert_nothing_is_left(home, after);
}

fn assert_nothing_is_left(home: &Home, after: &str) {
    assert_eq!(
        home.sql_value::<String>("PRAGMA integrity_check"),
        "ok",
        "{after}"
    );
    for nothing in [
        "SELECT count(*) FROM pragma_foreign_key_check",
        "SELECT count(*) FROM worker",
        "SELECT count(*) FROM attachment",
        "SELECT count(*) FROM task WHERE status <> 'COMPLETED'",
        "SELECT count(*) FROM mail WHERE status <> 'sent'",
    ] {
        assert_eq!(home.sql_value::<i64>(nothing), 0, "{after}: {nothing}");
    }
    let beside = files_in(home.folder().to_owned()).into_keys();
    let locks = beside.filter(|path| path.to_string_lossy().contains("-worker-"));
    assert_eq!(locks.collect::<Vec<_>>(), Vec::<PathBuf>::new(), "{after}");
}

fn assert_all_was_done(scenario: &Scenario, home: &Home, after: &str) {
    for (query, expected) in [
        (
            "SELECT count(*) FROM firing WHERE status = 'done'",
            scenario.firings,
        ),
        ("SELECT count(*) FROM firing WHERE status = 'skipped'", 0),
        (
            "SELECT count(*) FROM (SELECT DISTINCT document_id, timer, level FROM firing)",
            scenario.firings,
        ),
        ("SELECT count(*) FROM task", scenario.completed),
        (
            "SELECT count(*) - count(DISTINCT document_id || message) FROM history WHERE message LIKE 'state: %'",
            0,
        ),
        (
            "SELECT (SELECT count(*) FROM history WHERE message LIKE 'mail % sent to %')
                  - (SELECT count(*) FROM mail WHERE document_id IS NOT NULL)",
            0,
        ),
    ] {
        assert_eq!(home.sql_value::<i64>(query), expected, "{after}: {query}");
    }
}

/// No attempt ran twice, none ran that the database does not know, and each task ran in its last one.
fn assert_ledger_agrees(home: &Home, after: &str) {
    let ran = home.lines("ran");
    let once: HashSet<&String> = ran.iter().collect();
    assert_eq!(once.len(), ran.len(), "{after}: {ran:?}");
    let tasks: String = home
        .sql_value("SELECT coalesce(group_concat(id || ' ' || attempt, char(10)), '') FROM task");
    for task in tasks.lines() {
        assert!(once.contains(&task.to_owned()), "{after}: {task}, {ran:?}");
    }
    let attempts: BTreeMap<&str, u32> = tasks.lines().map(numbered).collect();
    for (task, attempt) in ran.iter().map(|line| numbered(line)) {
        assert!(
            (1..=attempts[task]).contains(&attempt),
            "{after}: {task} {attempt}"
        );
    }
}

fn numbered(line: &str) -> (&str, u32) {
    let (task, attempt) = line.split_once(' ').unwrap();
    (task, attempt.parse().unwrap())
}

/// Each mail of the outbox arrived, under its one Message-ID, and a repeat says the same.
fn assert_mails_arrived(scenario: &Scenario, home: &Home, arrived: &[String], after: &str) {
    let mut contents = BTreeMap::new();
    for mail in arrived {
        let id = header(mail, "Message-ID");
        let first = contents.entry(id).or_insert(mail);
        assert_eq!(*first, mail, "{after}");
    }
    assert_eq!(contents.len(), scenario.mails, "{after}");
    let known: i64 = home.sql_value("SELECT count(*) FROM mail");
    assert_eq!(known, i64::try_from(scenario.mails).unwrap(), "{after}");
    for id in contents.keys() {
        let known = format!("SELECT count(*) FROM mail WHERE message_id = '{id}'");
        assert_eq!(home.sql_value::<i64>(&known), 1, "{after}: {id}");
    }
}

/// Tries a fault at each of these calls until a tick makes none; how many happened.
fn sweep(scenario: &Scenario, fault: (&str, &str), step: usize) -> usize {
    let mut prepared = Prepared::new(scenario);
    let (calls, what) = fault;
    let tried = (1..MOST)
        .step_by(step)
        .take_while(|n| survives(scenario, &mut prepared, (calls, what, *n)));
    let tried = tried.count();
    assert!(
        tried * step < MOST as usize,
        "{} makes more calls",
        scenario.name
    );
    tried
}

fn killed(name: &str) {
    if may_trace() {
        let tried = sweep(scenario(name), (CALLS, "signal=SIGKILL"), stride(STRIDE));
        assert!(tried > 1, "nothing was injected");
        tell(&format!("{name}: killed at any call"), tried);
    }
}

#[test]
fn killed_in_a_state_change() {
    killed("state");
}

#[test]
fn killed_in_many_state_changes() {
    killed("many states");
}

#[test]
fn killed_while_mails_go_to_a_folder() {
    killed("mail to a folder");
}

#[test]
fn killed_while_mails_go_to_a_server() {
    killed("mail over SMTP");
}

#[test]
fn killed_in_a_method_step() {
    killed("method");
}

#[test]
fn killed_in_a_level_that_leaves_its_state() {
    killed("bound to a state");
}

#[test]
fn killed_in_schedules() {
    killed("schedules");
}

#[test]
fn killed_in_a_chain() {
    killed("chain");
}

#[test]
fn killed_while_it_recovers() {
    killed("recovery");
}

/// In the short form, one scenario stands for all, and the longest of them.
#[test]
fn a_disk_that_fails_at_any_call() {
    if !may_trace() {
        return;
    }
    for scenario in &SCENARIOS {
        if stride(2) > 1 && scenario.name != "method" {
            continue;
        }
        for fault in [
            ("pwrite64", "error=ENOSPC"),
            ("pwrite64", "error=EIO"),
            ("fsync,fdatasync", "error=EIO"),
            ("rename,renameat,renameat2", "error=EIO"),
        ] {
            let tried = sweep(scenario, fault, stride(STRIDE));
            tell(
                &format!("{}: {} at {}", scenario.name, fault.1, fault.0),
                tried,
            );
        }
    }
}
