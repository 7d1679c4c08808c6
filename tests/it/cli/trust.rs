//! Who can write to a database can run commands as its user: which databases are run, and which are not.
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::process::Command;

use crate::kit::programs::is_installed;
use crate::kit::runner::Home;
use rusqlite::Connection;

/// Somebody else: the user that most systems call nobody.
const STRANGER: u32 = 65534;

/// A database with a handler that leaves a trace, and a folder with this mode.
fn home(mode: u32) -> Home {
    let home = Home::new();
    home.method("m", "touch ran");
    fs::set_permissions(home.folder(), Permissions::from_mode(mode)).unwrap();
    home
}

/// Puts a write-ahead log beside the database that adds a task to it, as somebody does who cannot write to the
/// database itself.
fn plant(home: &Home) {
    let copy = home.path("copy.db");
    fs::copy(home.db(), &copy).unwrap();
    let connection = Connection::open(&copy).unwrap();
    connection
        .execute_batch("INSERT INTO task (method) VALUES ('m')")
        .unwrap();
    fs::copy(home.path("copy.db-wal"), home.path("runner.db-wal")).unwrap();
}

fn give_away(home: &Home, file: &str) {
    let mode = Permissions::from_mode(0o644);
    fs::set_permissions(home.path(file), mode).unwrap();
    chown(home.path(file), Some(STRANGER), Some(STRANGER)).unwrap();
}

/// Only the superuser can make files of somebody else.
fn may_give_away() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn what_somebody_else_puts_beside_a_database_is_not_run_and_not_taken_into_it() {
    if !may_give_away() {
        return;
    }
    let home = home(0o1777);
    plant(&home);
    give_away(&home, "runner.db-wal");
    for command in [
        &["tick"][..],
        &["task", "run", "1"],
        &["mail", "test", "a@x.org"],
        &["status"],
        &["task", "add", "m"],
    ] {
        let told = home.refused(command);
        assert!(
            told.contains("runner.db-wal") && told.contains("somebody else"),
            "{told}"
        );
    }
    assert!(!home.path("ran").exists());
    fs::remove_file(home.path("runner.db-wal")).unwrap();
    home.ok(["tick"]);
    assert_eq!(home.ok(["task", "list"]), "");
}

#[test]
fn a_log_that_is_our_own_is_part_of_the_database() {
    let home = home(0o755);
    plant(&home);
    home.ok(["tick"]);
    assert!(home.path("ran").exists());
}

#[test]
fn a_log_in_a_folder_for_all_that_all_may_write_or_that_is_a_link_is_refused() {
    let home = home(0o1777);
    plant(&home);
    let writable = Permissions::from_mode(0o666);
    fs::set_permissions(home.path("runner.db-wal"), writable).unwrap();
    assert!(home.refused(["tick"]).contains("runner.db-wal"));
    fs::remove_file(home.path("runner.db-wal")).unwrap();
    symlink(home.path("copy.db-wal"), home.path("runner.db-wal")).unwrap();
    assert!(home.refused(["tick"]).contains("runner.db-wal"));
    assert!(!home.path("ran").exists());
}

#[test]
fn a_group_that_may_exchange_the_database_must_be_one_that_may_write_to_it() {
    if !may_give_away() {
        return;
    }
    let home = home(0o775);
    home.ok(["task", "add", "m"]);
    chown(home.folder(), None, Some(STRANGER)).unwrap();
    let told = home.refused(["tick"]);
    assert!(
        told.contains("group") && told.contains("chmod g-w"),
        "{told}"
    );
    chown(home.db(), None, Some(STRANGER)).unwrap();
    assert!(home.refused(["tick"]).contains("chmod g-w"));
    fs::set_permissions(home.db(), Permissions::from_mode(0o660)).unwrap();
    home.ok(["tick"]);
    assert!(home.path("ran").exists());
}

#[test]
fn a_folder_of_another_user_is_refused() {
    if !may_give_away() {
        return;
    }
    let home = home(0o755);
    home.ok(["task", "add", "m"]);
    chown(home.folder(), Some(STRANGER), None).unwrap();
    let told = home.refused(["tick"]);
    assert!(told.contains("folder") && told.contains("chown"), "{told}");
    home.ok(["--trust-database", "tick"]);
    assert!(home.path("ran").exists());
}

#[test]
fn a_folder_where_all_may_replace_the_files_of_others_is_refused() {
    let home = home(0o777);
    home.ok(["task", "add", "m"]);
    let told = home.refused(["tick"]);
    assert!(told.contains("folder") && told.contains("chmod"), "{told}");
    home.ok(["--trust-database", "tick"]);
    assert!(home.path("ran").exists());
}

#[test]
fn no_file_of_ours_is_overwritten_through_a_link_beside_the_database() {
    let home = home(0o1777);
    let precious = home.write("precious", "of value");
    home.ok(["task", "add", "m"]);
    symlink(&precious, home.path("runner.db-tick")).unwrap();
    let told = home.run(["tick"]).err();
    assert!(
        told.contains("runner.db-tick") && told.contains("link"),
        "{told}"
    );
    symlink(&precious, home.path("runner.db-worker-2")).unwrap();
    home.ok(["task", "add", "m"]);
    let told = home.run(["tick"]).err();
    assert!(told.contains("runner.db-worker-2"), "{told}");
    assert_eq!(home.read("precious"), "of value");
}

#[test]
fn a_pipe_in_the_place_of_a_file_of_ours_holds_up_no_tick() {
    let home = home(0o1777);
    home.ok(["task", "add", "m"]);
    let made = Command::new("mkfifo")
        .arg(home.path("runner.db-tick"))
        .status();
    assert!(made.unwrap().success());
    let told = home.refused(["tick"]);
    assert!(told.contains("runner.db-tick"), "{told}");
    assert!(home.path("ran").exists());
    fs::rename(home.path("runner.db-tick"), home.path("runner.db-failure")).unwrap();
    home.ok(["tick"]);
    for (key, value) in [
        ("mail.from", "runner@example.org"),
        ("mail.errors_to", "admin@example.org"),
        ("mail.transport", "file:mails"),
    ] {
        home.ok(["config", "set", key, value]);
    }
    fs::remove_file(home.path("runner.db-tick")).unwrap();
    fs::create_dir(home.path("runner.db-tick")).unwrap();
    assert_eq!(home.run(["tick"]).code(), 1);
    fs::rename(home.path("runner.db-failure"), home.path("runner.db-shm")).unwrap();
    assert_eq!(home.run(["--trust-database", "tick"]).code(), 1);
}

#[test]
fn a_database_that_is_made_of_an_empty_file_is_its_owners_alone() {
    let home = Home::without_database();
    home.write("runner.db", "");
    fs::set_permissions(home.db(), Permissions::from_mode(0o666)).unwrap();
    home.ok(["init"]);
    let mode = fs::metadata(home.db()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    if may_give_away() {
        let home = Home::without_database();
        home.write("runner.db", "");
        give_away(&home, "runner.db");
        let told = home.refused(["init"]);
        assert!(told.contains("belongs to another user"), "{told}");
        assert_eq!(fs::metadata(home.db()).unwrap().len(), 0);
    }
}

#[test]
fn what_root_makes_beside_the_database_of_another_user_is_that_users() {
    let home = home(0o755);
    home.ok(["task", "add", "m"]);
    give_away(&home, "runner.db");
    if fs::metadata(home.db()).unwrap().uid() != STRANGER {
        return;
    }
    home.method("m", "ls -n \"$RUNNER_DB\"* > beside; touch ran");
    home.ok(["--trust-database", "tick"]);
    assert!(home.path("ran").exists());
    let beside = home.read("beside");
    let is_given = |line: &str| line.split_whitespace().nth(2) == Some("65534");
    assert!(beside.contains("-worker-1"), "{beside}");
    assert!(beside.lines().all(is_given), "{beside}");
    assert_eq!(
        fs::metadata(home.path("runner.db-tick")).unwrap().uid(),
        STRANGER
    );
}

#[test]
fn a_database_with_two_names_is_not_run_by_either() {
    let home = home(0o755);
    home.ok(["task", "add", "m"]);
    fs::hard_link(home.db(), home.path("other.db")).unwrap();
    for command in [
        &["tick"][..],
        &["--db", "other.db", "tick"],
        &["--trust-database", "task", "run", "1"],
    ] {
        let told = home.refused(command);
        assert!(told.contains("has 2 names (hard links)"), "{told}");
    }
    assert!(!home.path("ran").exists());
    fs::remove_file(home.path("other.db")).unwrap();
    home.ok(["tick"]);
    assert!(home.path("ran").exists());
}

#[test]
fn a_database_that_is_moved_while_a_tick_runs_is_told() {
    let home = home(0o755);
    home.method("m", "mv runner.db moved.db; touch ran");
    home.ok(["task", "add", "m"]);
    let told = home.refused(["tick"]);
    assert!(
        told.contains("was moved or replaced while the tick ran"),
        "{told}"
    );
    assert!(home.path("ran").exists());
}

/// A command as another user, of the group that may use the database.
fn as_member(user: u32, home: &Home, arguments: &[&str]) -> Command {
    let command = home.command(arguments);
    let mut member = Command::new("setpriv");
    member.args([&format!("--reuid={user}"), "--regid=4242", "--clear-groups"]);
    member.arg(command.get_program()).args(command.get_args());
    member.current_dir(home.folder());
    member
}

#[test]
fn a_group_that_shares_a_database_shares_what_is_beside_it() {
    let home = home(0o770);
    if !may_give_away() || !is_installed("setpriv") {
        return;
    }
    home.ok(["task", "add", "m"]);
    for (name, mode) in [("runner.db", 0o660), ("", 0o2770)] {
        chown(home.path(name), Some(4001), Some(4242)).unwrap();
        fs::set_permissions(home.path(name), Permissions::from_mode(mode)).unwrap();
    }
    let Ok(first) = as_member(4001, &home, &["tick"]).output() else {
        return;
    };
    assert!(first.status.success(), "{first:?}");
    for user in [4002, 4001] {
        let ticked = as_member(user, &home, &["--trust-database", "tick"])
            .output()
            .unwrap();
        assert!(ticked.status.success(), "{user}: {ticked:?}");
        let status = as_member(user, &home, &["status", "--max-age", "5m"])
            .output()
            .unwrap();
        assert!(status.status.success(), "{user}: {status:?}");
    }
}

#[test]
fn root_without_the_right_to_give_files_away_locks_nobody_out() {
    let home = home(0o755);
    if !may_give_away() || !is_installed("setpriv") {
        return;
    }
    home.ok(["task", "add", "m"]);
    for name in ["runner.db", ""] {
        chown(home.path(name), Some(4001), Some(4242)).unwrap();
    }
    let tick = home.command(["--trust-database", "tick"]);
    let mut bound = Command::new("setpriv");
    bound
        .arg("--bounding-set=-chown")
        .arg(tick.get_program())
        .args(tick.get_args());
    let Ok(done) = bound.current_dir(home.folder()).output() else {
        return;
    };
    assert!(done.status.success(), "{done:?}");
    // A file that was left behind all the same does not stand in the owner's way.
    home.write("runner.db-worker-2", "");
    fs::set_permissions(
        home.path("runner.db-worker-2"),
        Permissions::from_mode(0o600),
    )
    .unwrap();
    for name in ["runner.db-tick", "ran"] {
        fs::remove_file(home.path(name)).unwrap();
    }
    let added = as_member(4001, &home, &["task", "add", "m"])
        .output()
        .unwrap();
    assert!(added.status.success(), "{added:?}");
    let ticked = as_member(4001, &home, &["tick"]).output().unwrap();
    assert!(ticked.status.success(), "{ticked:?}");
}
