//! What the program does against what the machine can do: each figure is a ratio, taken side by side, in turns.
//!
//! `cargo bench [-- A1 A2 B C1 C2 C3 D E1 E2 E3 E4 E5 E6 R]`; with `ROUNDS=n` each is repeated n times (5 unless told), and the
//! median of the ratios is printed. `RUNNER=PATH` measures another build of the program where it runs as a process. “Raw”
//! is the least that would do the same work durably: SQLite or processes without a schema that checks, a history, logs, or
//! a protocol.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

mod raw;
mod timers;

use std::fmt::Write;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use raw::Ids;
use runner::{App, Task};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const PARAMS: &str = r#"{"order":4711,"action":"confirm","recipient":"a.customer@shop.example","note":"a text of the usual length"}"#;

/// The variable that makes this program one that embeds the library, with a function as a method.
const EMBEDDING: &str = "BENCH_EMBEDDING";

fn main() -> ExitCode {
    if std::env::var_os(EMBEDDING).is_some() {
        let method = |task: &mut Task| {
            std::hint::black_box(task.id());
            Ok::<_, String>(Value::Null)
        };
        return App::new().method("No:op", method).main();
    }
    measure_wanted();
    ExitCode::SUCCESS
}

fn measure_wanted() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments
        .first()
        .is_some_and(|first| first == "raw-resident")
    {
        return raw::resident();
    }
    let wanted = |name: &str| {
        let named = arguments
            .iter()
            .filter(|argument| !argument.starts_with('-'));
        named.clone().count() == 0 || named.clone().any(|argument| argument == name)
    };
    let rows: [(&str, fn()); 14] = [
        ("A1", enqueue_one_by_one),
        ("A2", enqueue_in_bulk),
        ("B", drain_functions),
        ("C1", drain_processes),
        ("C2", drain_resident),
        ("C3", drain_limited),
        ("D", idle_tick),
        ("E1", timers::idle_with_many),
        ("E2", timers::fetch_due),
        ("E3", timers::fire_states),
        ("E4", timers::change_a_date),
        ("E5", timers::memory),
        ("E6", bytes_on_disk),
        ("R", rehearse_a_year),
    ];
    rows.iter()
        .filter(|(name, _)| wanted(name))
        .for_each(|(_, measure)| measure());
}

/// The program, which may be another build of it.
fn runner() -> Command {
    let built = env!("CARGO_BIN_EXE_runner");
    Command::new(std::env::var_os("RUNNER").unwrap_or(built.into()))
}

/// A folder with a database.
pub(crate) struct Home {
    folder: TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        let home = Self {
            folder: TempDir::new().unwrap(),
        };
        home.run(&["init"]);
        home
    }

    pub(crate) fn db(&self) -> PathBuf {
        self.path("runner.db")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a command; how long it took as a whole.
    pub(crate) fn run(&self, arguments: &[&str]) -> Duration {
        timed(|| {
            let mut command = runner();
            command
                .arg("--db")
                .arg(self.db())
                .args(arguments)
                .stdout(Stdio::null());
            assert!(command.status().unwrap().success(), "{arguments:?}");
        })
    }

    pub(crate) fn sql(&self, script: &str) {
        let connection = rusqlite::Connection::open(self.db()).unwrap();
        connection.execute_batch(script).unwrap();
    }

    /// Makes it seem written to, so long ago that its time tells.
    pub(crate) fn touch(&self) {
        let file = File::options().write(true).open(self.db()).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        let hour = Duration::from_millis(3_600_001);
        file.set_modified(modified - hour).unwrap();
    }

    /// Adds so many tasks in a batch; how long the command took as a whole.
    fn add_batch(&self, tasks: usize) -> Duration {
        let line = format!("{{\"method\":\"No:op\",\"params\":{PARAMS}}}\n");
        let batch = self.path("batch");
        std::fs::write(&batch, line.repeat(tasks)).unwrap();
        self.run(&["task", "add", "--batch", batch.to_str().unwrap()])
    }
}

pub(crate) fn timed(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

fn rounds() -> usize {
    std::env::var("ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(5)
}

/// Measures both in turns; the medians of their times, and of how many times faster the limit is than ours.
pub(crate) fn compare(
    name: &str,
    what: &str,
    ours: impl FnMut() -> Duration,
    limit: impl FnMut() -> Duration,
) {
    compare_as(name, what, "of the limit", (ours, limit), |ours, limit| {
        limit / ours
    });
}

/// The same for two of our own, where the first should take no longer than the second.
pub(crate) fn compare_cost(
    name: &str,
    what: &str,
    ours: impl FnMut() -> Duration,
    other: impl FnMut() -> Duration,
) {
    compare_as(
        name,
        what,
        "times the other",
        (ours, other),
        |ours, other| ours / other,
    );
}

fn compare_as(
    name: &str,
    what: &str,
    unit: &str,
    (mut ours, mut limit): (impl FnMut() -> Duration, impl FnMut() -> Duration),
    ratio: impl Fn(f64, f64) -> f64,
) {
    let mut all: Vec<(f64, f64, f64)> = Vec::new();
    for _ in 0..rounds() {
        let (limit, ours) = (limit().as_secs_f64(), ours().as_secs_f64());
        all.push((ratio(ours, limit), ours, limit));
    }
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (ratio, ours, limit) = all[all.len() / 2];
    let mut line = format!("{name:<3} {what:<58} {ratio:>6.2} {unit}");
    write!(
        line,
        "  (ours {:.1} ms, other {:.1} ms)",
        ours * 1e3,
        limit * 1e3
    )
    .unwrap();
    println!("{line}");
}

fn enqueue_one_by_one() {
    for (tasks, synchronous) in [(500, "FULL"), (5000, "NORMAL")] {
        let ours = || insert_by_sql(tasks, synchronous);
        compare(
            "A1",
            &format!("{tasks} tasks by plain SQL, {synchronous}"),
            ours,
            || raw::enqueue(tasks, 1, synchronous, Ids::MayBeUsedAgain),
        );
        compare(
            "A1",
            "the same, against raw ids that are never used again",
            ours,
            || raw::enqueue(tasks, 1, synchronous, Ids::AreUsedOnce),
        );
    }
}

fn insert_by_sql(tasks: usize, synchronous: &str) -> Duration {
    let home = Home::new();
    let connection = raw::open_with(&home.db(), synchronous);
    let sql = "INSERT INTO task (method, params) VALUES ('No:op', ?1)";
    let mut insert = connection.prepare(sql).unwrap();
    timed(|| {
        for _ in 0..tasks {
            raw::in_transaction(&connection, || {
                assert_eq!(insert.execute([PARAMS]).unwrap(), 1)
            });
        }
    })
}

/// Beside the bare transaction, the same as a whole process, which also opens the file and has what it wrote moved into it.
fn enqueue_in_bulk() {
    let program = raw_process();
    for tasks in [10_000, 1_000_000] {
        let ours = || {
            let home = Home::new();
            home.run(&["method", "set", "No:op", "--", "/bin/true"]);
            home.add_batch(tasks)
        };
        compare(
            "A2",
            &format!("task add --batch of {tasks}, whole process"),
            ours,
            || raw::enqueue(tasks, tasks, "FULL", Ids::MayBeUsedAgain),
        );
        compare("A2", "the same, against a whole raw process", ours, || {
            let folder = TempDir::new().unwrap();
            let path = folder.path().join("raw.db");
            raw::fill(&path, 0);
            let mut command = Command::new(&program);
            command
                .arg("fill")
                .arg(path)
                .arg(tasks.to_string())
                .args([raw::INSERT, PARAMS]);
            timed(|| assert!(command.status().unwrap().success()))
        });
    }
}

fn filled(tasks: usize, command: &[&str]) -> Home {
    let home = Home::new();
    let mut arguments = vec!["method", "set", "No:op"];
    arguments.extend(command);
    home.run(&arguments);
    home.add_batch(tasks);
    home
}

/// Runs what is pending in so many processes with a function as its method; how long they took as a whole.
fn drain_with_functions(home: &Home, workers: usize) -> Duration {
    let tick = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env(EMBEDDING, "1").arg("--db").arg(home.db());
        command.arg("tick").stdout(Stdio::null()).spawn().unwrap()
    };
    timed(|| {
        let ticks: Vec<_> = (0..workers).map(|_| tick()).collect();
        for mut tick in ticks {
            assert!(tick.wait().unwrap().success());
        }
    })
}

fn completed(home: &Home) -> i64 {
    let connection = rusqlite::Connection::open(home.db()).unwrap();
    let sql = "SELECT count(*) FROM task WHERE status = 'COMPLETED'";
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

fn drain_functions() {
    const TASKS: usize = 20_000;
    let by = |workers: usize, tasks: usize| {
        let home = filled(tasks, &["--", "/bin/true"]);
        let took = drain_with_functions(&home, workers);
        assert_eq!(completed(&home), tasks as i64);
        took
    };
    let ours = || by(1, TASKS);
    compare(
        "B",
        "20,000 tasks by functions, FULL, against claim 100 + finish 100",
        ours,
        || raw::drain(TASKS, 100, true),
    );
    compare(
        "B",
        "the same, against such without a row of history",
        ours,
        || raw::drain(TASKS, 100, false),
    );
    let finished = || {
        let home = filled(TASKS, &["--", "/bin/true"]);
        home.sql(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1000000)
             INSERT INTO task (method, status) SELECT 'No:op', 'COMPLETED' FROM n",
        );
        drain_with_functions(&home, 1)
    };
    compare_cost(
        "B",
        "the same beside 1,000,000 finished tasks",
        finished,
        ours,
    );
    // So many that it does not count how long the last of two waits for the other.
    compare_cost(
        "B",
        "100,000 by two workers, against one",
        || by(2, TASKS * 5),
        || by(1, TASKS * 5),
    );
}

fn drain_processes() {
    const TASKS: usize = 2000;
    let ours = || {
        let home = filled(TASKS, &["--", "/bin/true"]);
        home.run(&["config", "set", "task.max_running", "2"]);
        let took = home.run(&["tick"]);
        assert_eq!(completed(&home), TASKS as i64);
        took
    };
    compare("C1", "2,000 tasks that start /bin/true, FULL", ours, || {
        raw::spawn(TASKS, 2)
    });
    compare("C1", "the same, against xargs -P2", ours, || {
        let script = format!("seq {TASKS} | xargs -P2 -n1 /bin/true");
        timed(|| {
            let status = Command::new("sh").args(["-c", &script]).status();
            assert!(status.unwrap().success());
        })
    });
}

fn drain_resident() {
    const TASKS: usize = 20_000;
    let bench = std::env::current_exe().unwrap();
    let command = [
        "--resident",
        "--pipeline",
        "64",
        "--",
        bench.to_str().unwrap(),
        "raw-resident",
    ];
    compare(
        "C2",
        "20,000 tasks by a resident handler, against our B",
        || {
            let home = filled(TASKS, &command);
            let took = home.run(&["tick"]);
            assert_eq!(completed(&home), TASKS as i64);
            took
        },
        || drain_with_functions(&filled(TASKS, &["--", "/bin/true"]), 1),
    );
}

/// Tasks of a serial method, behind one signature and each with its own, where many wait and where few do.
fn drain_limited() {
    const TASKS: i64 = 200;
    for (what, signature) in [
        ("behind one signature", "'one'"),
        ("each of its own signature", "n"),
    ] {
        let filled = |pending: usize| {
            let home = Home::new();
            let method = ["method", "set", "No:op", "--serial", "--max-running", "2"];
            home.run(&[&method[..], &["--", "/bin/true"]].concat());
            home.sql(&format!(
                "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {pending})
                 INSERT INTO task (method, signature) SELECT 'No:op', {signature} FROM n",
            ));
            home
        };
        // A tick is ended when it has done so many.
        let run_some = |filled: &Home| {
            let home = Home::new();
            std::fs::copy(filled.db(), home.db()).unwrap();
            let mut tick = tick(&home).stdout(Stdio::null()).spawn().unwrap();
            let took = timed(|| {
                while completed(&home) < TASKS {
                    std::thread::sleep(Duration::from_millis(2));
                }
            });
            tick.kill().unwrap();
            tick.wait().unwrap();
            took
        };
        let (many, few) = (filled(1_000_000), filled(1000));
        compare_cost(
            "C3",
            &format!("{TASKS} tasks of a serial method, of 1,000,000 {what}, against of 1,000"),
            || run_some(&many),
            || run_some(&few),
        );
    }
}

/// Many runs of a process, one after the other.
pub(crate) fn many(mut command: impl FnMut() -> Command) -> Duration {
    let run = |_| {
        let mut command = command();
        command.stdout(Stdio::null());
        timed(|| assert!(command.status().unwrap().success()))
    };
    (0..50).map(run).sum()
}

/// The time that they take of a processor.
fn cpu_of_many(command: impl FnMut() -> Command) -> Duration {
    let before = cpu_of_children();
    many(command);
    cpu_of_children() - before
}

/// How long the processes that this one has started and waited for were at work.
#[allow(unsafe_code, clippy::cast_sign_loss)]
fn cpu_of_children() -> Duration {
    // SAFETY: a usage is numbers alone, for which zeros are values, and it is written by the call alone.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage), 0);
        usage
    };
    let of = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    of(usage.ru_utime) + of(usage.ru_stime)
}

pub(crate) fn tick(home: &Home) -> Command {
    let mut command = runner();
    command.arg("--db").arg(home.db()).arg("tick");
    command
}

pub(crate) fn tick_that_looks(home: &Home) -> Command {
    home.touch();
    tick(home)
}

/// The program of `raw_process.rs`, which is built beside this one.
fn raw_process() -> PathBuf {
    let ours = std::env::current_exe().unwrap();
    let beside = std::fs::read_dir(ours.parent().unwrap()).unwrap();
    let built = beside.map(|entry| entry.unwrap().path()).filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("raw_process-") && path.extension().is_none()
    });
    let newest = built.max_by_key(|path| path.metadata().unwrap().modified().unwrap());
    newest.expect("the program raw_process: 'cargo bench' builds it, 'cargo bench --bench against_limits' does not")
}

/// Beside a tick, the same look at the same database: what is left is what the tick does besides.
fn idle_tick() {
    let (home, folder) = (Home::new(), TempDir::new().unwrap());
    let small = folder.path().join("raw.db");
    raw::fill(&small, 0);
    let program = raw_process();
    let look = |path: &Path, query: &str| {
        let mut command = Command::new(&program);
        command.arg("look").arg(path).arg(query);
        command
    };
    let of_ours = "SELECT id FROM task WHERE status = 'TO_RUN' AND deferred = 0 ORDER BY priority DESC, id LIMIT 1";
    let of_small =
        "SELECT id FROM task WHERE status = 0 ORDER BY priority DESC, run_at, id LIMIT 1";
    home.touch();
    home.run(&["tick"]);
    let kinds: [(&str, &dyn Fn() -> Command); 2] = [
        ("after one that found nothing", &|| tick(&home)),
        ("after somebody has written", &|| tick_that_looks(&home)),
    ];
    for (kind, idle) in kinds {
        compare_cost(
            "D",
            &format!("an idle tick {kind}, against a bare look"),
            || many(idle),
            || many(|| look(&small, of_small)),
        );
        compare_cost(
            "D",
            "the same in processor time",
            || cpu_of_many(idle),
            || cpu_of_many(|| look(&small, of_small)),
        );
        // One that is over sooner than it can be looked at shows none.
        let peak = (0..20).map(|_| timers::peak(idle())).max();
        println!("D   its peak memory {:>57} KiB", peak.unwrap_or(0));
    }
    compare_cost(
        "D",
        "the last in time, against a bare look at the same database",
        || many(|| tick_that_looks(&home)),
        || many(|| look(&home.db(), of_ours)),
    );
}

/// A year of 10,000 documents with two levels each.
fn rehearse_a_year() {
    let home = Home::new();
    home.run(&[
        "template",
        "set",
        "t",
        "--to",
        "a@example.org",
        "--subject",
        "s",
        "--body",
        "b",
    ]);
    home.run(&["config", "set", "mail.from", "a@example.org"]);
    let actions = [
        "--action",
        "delay=0, mail=t",
        "--action",
        "delay=5d, state=late",
    ];
    home.run(
        &[
            &["timer", "set", "t", "--reference", "deadline"][..],
            &actions,
        ]
        .concat(),
    );
    home.sql(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 10000)
         INSERT INTO document (title, attributes)
         SELECT 'Document ' || n, json_object('deadline', date('now', '+' || (1 + n % 365) || ' days')) FROM n;
         INSERT INTO attachment (timer_id, document_id) SELECT 1, id FROM document",
    );
    let took = (0..rounds())
        .map(|_| home.run(&["rehearse", "--until", "+2y"]))
        .min();
    println!(
        "R   a rehearsal of a year of 10,000 documents {:>31.1?}",
        took.unwrap()
    );
}

/// What a row of each kind takes on the disk, in bytes: its own, and those of its indexes.
fn bytes_on_disk() {
    const ROWS: i64 = 20_000;
    let home = filled(ROWS as usize, &["--", "/bin/true"]);
    drain_with_functions(&home, 1);
    let bytes = |home: &Home, table: &str| {
        let connection = rusqlite::Connection::open(home.db()).unwrap();
        let sql = "SELECT coalesce(sum(pgsize), 0) FROM dbstat
                    WHERE name IN (SELECT name FROM sqlite_schema WHERE tbl_name = ?1)";
        let whole: i64 = connection
            .query_row(sql, [table], |row| row.get(0))
            .unwrap();
        whole / ROWS
    };
    println!(
        "E6  bytes of a finished task, its {} bytes of params among them {:>12}",
        PARAMS.len(),
        bytes(&home, "task")
    );
    let home = timers::attached(ROWS as usize, 0);
    println!(
        "E6  bytes of an attachment {:>50}",
        bytes(&home, "attachment")
    );
    let home = timers::attached(ROWS as usize, ROWS as usize);
    home.run(&["tick"]);
    println!("E6  bytes of a firing {:>55}", bytes(&home, "firing"));
    println!(
        "E6  bytes of the two history entries of a firing {:>28}",
        bytes(&home, "history")
    );
}
