//! A machine that has no room: for bytes, for open files.
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::kit::process::{Running, is_alive, until};
use crate::kit::runner::Home;
use serde_json::json;

/// A disk of its own, as small as this, until it is dropped.
struct Disk(PathBuf);

impl Disk {
    /// `None` where this user may not mount one.
    fn mount(folder: PathBuf, size: &str) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]);
        mount
            .arg(&folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mounted = mount.status().is_ok_and(|status| status.success());
        mounted.then_some(Self(folder))
    }

    /// Fills it up.
    fn fill(&self) {
        let _ = fs::write(self.0.join("filler"), vec![b'x'; 16 << 20]);
        let _ = fs::write(self.0.join("rest"), vec![b'x'; 4096]);
    }

    /// Makes room.
    fn clear(&self) {
        for name in ["filler", "rest"] {
            fs::remove_file(self.0.join(name)).unwrap();
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A tick whose errors go to a file of the home.
fn tick_that_tells(home: &Home) -> Running {
    let tick = home.command(["tick"]);
    let mut shell = Command::new("sh");
    let program = tick.get_program().to_str().unwrap();
    shell.args(["-c", &format!("exec {program} tick 2> told")]);
    shell.current_dir(home.folder());
    for (name, value) in tick.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    Running::new(shell)
}

#[test]
fn handlers_go_on_while_the_disk_is_full_and_their_ends_are_noted_when_it_is_not() {
    let home = Home::without_database().env("RUNNER_DB", "disk/runner.db");
    fs::create_dir(home.path("disk")).unwrap();
    let Some(disk) = Disk::mount(home.path("disk"), "4m") else {
        return;
    };
    home.ok(["init"]);
    home.ok(["config", "set", "task.max_running", "2"]);
    // Lines, more than what is written already has room for.
    home.method(
        "m",
        "cd ..; echo $$ >> pids; until [ -e go ]; do printf '%0500d\\n' 0; sleep 0.01; done; echo said",
    );
    for _ in 0..3 {
        home.ok(["task", "add", "m"]);
    }
    let tick = tick_that_tells(&home);
    let pids = || home.lines("pids");
    until("two have begun", || pids().len() == 2);
    disk.fill();
    until("it has told", || {
        home.read("told").contains("the disk is full")
    });
    home.write("go", "");
    until("they have ended", || {
        pids().iter().all(|pid| !is_alive(pid.parse().unwrap()))
    });
    assert_eq!(home.status("1"), "RUNNING", "it cannot be noted yet");
    disk.clear();
    assert_eq!(tick.end().code(), 0);
    for task in ["1", "2", "3"] {
        assert_eq!(home.status(task), "COMPLETED");
        assert_eq!(home.logs(task).last().unwrap().1, "said");
    }
    let told = home.lines("told");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("the handlers go on"), "{told:?}");
}

#[test]
fn a_file_that_is_too_large_for_the_disk_is_told_and_holds_up_nothing() {
    let home = Home::without_database().env("RUNNER_DB", "disk/runner.db");
    fs::create_dir(home.path("disk")).unwrap();
    let Some(_disk) = Disk::mount(home.path("disk"), "4m") else {
        return;
    };
    home.ok(["init"]);
    home.method(
        "m",
        r#"head -c 9000000 /dev/zero > ../large; echo '{"type":"file","path":"../large"}'"#,
    );
    home.ok(["task", "add", "m"]);
    home.ok(["tick"]);
    assert_eq!(home.status("1"), "COMPLETED");
    let logs = home.logs("1");
    assert!(logs[0].1.ends_with("the disk is full"), "{logs:?}");
}

#[test]
#[ignore = "it holds the database for more than a minute"]
fn handlers_go_on_while_another_program_holds_the_database_for_long() {
    let home = Home::new();
    home.method("m", "echo $$ > pid; until [ -e go ]; do sleep 0.02; done");
    home.ok(["task", "add", "m"]);
    let tick = home.start(["tick"]);
    until("the handler has begun", || home.read("pid").ends_with('\n'));
    let holder = rusqlite::Connection::open(home.db()).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    home.write("go", "");
    std::thread::sleep(std::time::Duration::from_secs(70));
    holder.execute_batch("COMMIT").unwrap();
    assert_eq!(tick.end().code(), 0);
    assert_eq!(home.status("1"), "COMPLETED");
}

#[test]
#[ignore = "it holds the database for longer than a run waits for it"]
fn a_run_that_cannot_sign_off_tells_what_became_of_its_tasks_and_the_next_one_does_it() {
    let home = Home::new().env("RUNNER_DB", "runner.db");
    let each = r#"sleep 0.1; echo '{"type":"done","task":1,"ok":false}'"#;
    // It leaves late: between the end of the task and that of the run there is time to take the database.
    let script = format!("read -r line; {each}; read -r line || echo > leaving; sleep 2");
    home.method_with("m", &["--resident"], &script);
    home.ok(["task", "add", "m"]);
    let tick = tick_that_tells(&home);
    until("the handler leaves", || home.path("leaving").exists());
    let holder = rusqlite::Connection::open(home.db()).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    std::thread::sleep(std::time::Duration::from_secs(8));
    holder.execute_batch("COMMIT").unwrap();
    assert_eq!(tick.end().code(), 1);
    let told = home.read("told");
    assert!(
        told.contains("task 1 (m) failed: the handler said"),
        "{told}"
    );
    assert!(told.contains("takes this worker off the list"), "{told}");
    home.ok(["tick"]);
    assert_eq!(home.sql_value::<i64>("SELECT count(*) FROM worker"), 0);
    assert_eq!(home.status("1"), "FAILED");
}

#[test]
fn a_task_whose_file_cannot_be_laid_out_for_want_of_room_stays_pending() {
    let home = Home::new();
    fs::create_dir(home.path("tmp")).unwrap();
    let Some(disk) = Disk::mount(home.path("tmp"), "64k") else {
        return;
    };
    home.write("large", vec![b'x'; 100_000]);
    home.method("m", "wc -c < \"$RUNNER_FILE\" > size");
    home.ok(["task", "add", "m", "--file", "large"]);
    let mut tick = home.command(["tick"]);
    tick.env("TMPDIR", home.path("tmp"));
    let told = Running::new(tick).end().refused();
    assert!(
        told.contains("the disk is full; it stays pending"),
        "{told}"
    );
    let task = home.task("1");
    assert_eq!(
        (&task["status"], &task["attempt"]),
        (&json!("TO_RUN"), &json!(0))
    );
    assert_eq!(fs::read_dir(home.path("tmp")).unwrap().count(), 0);
    drop(disk);
    home.ok(["tick"]);
    assert_eq!(home.read("size").trim(), "100000");
}

#[test]
fn a_task_whose_file_cannot_be_laid_out_for_want_of_descriptors_stays_pending() {
    let home = Home::new();
    fs::create_dir(home.path("tmp")).unwrap();
    home.write("in.txt", "Ada");
    home.method("m", "exit 0");
    for _ in 0..30 {
        home.ok(["task", "add", "m", "--file", "in.txt"]);
    }
    let runner = env!("CARGO_BIN_EXE_runner");
    for limit in 8..24 {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -n {limit}; exec {runner} tick")]);
        shell.current_dir(home.folder());
        shell.env("TMPDIR", home.path("tmp"));
        Running::new(shell).end();
        assert_eq!(
            fs::read_dir(home.path("tmp")).unwrap().count(),
            0,
            "{limit}"
        );
    }
    let failed: i64 = home.sql_value("SELECT count(*) FROM task WHERE status = 'FAILED'");
    assert_eq!(failed, 0);
    home.ok(["tick"]);
}
