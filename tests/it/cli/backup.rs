//! `backup FILE`: a whole copy of a database that others are writing to (`docs/administration.md`, "Backup").

use std::fs::{self, OpenOptions, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rusqlite::Connection;

use crate::kit::database::dump;
use crate::kit::runner::Home;

#[test]
fn it_is_a_whole_copy_for_its_owner_alone() {
    let home = Home::example();
    assert_eq!(home.ok(["backup", "copy.db"]), "");
    assert_eq!(dump(&home.path("copy.db")), dump(&home.db()));
    let mode = fs::metadata(home.path("copy.db")).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    home.ok(["--db", "copy.db", "tick"]);
    assert_eq!(home.json(["backup", "other.db"]), serde_json::json!({}));
}

#[test]
fn no_copy_is_kept_of_a_database_that_is_damaged() {
    let home = Home::new();
    home.sql(
        "INSERT INTO document (attributes) VALUES (json_object('text', hex(zeroblob(100000))));
         PRAGMA wal_checkpoint(TRUNCATE)",
    );
    let mut file = OpenOptions::new().write(true).open(home.db()).unwrap();
    file.seek(SeekFrom::End(-4096)).unwrap();
    file.write_all(&[0xa5; 4096]).unwrap();
    let told = home.run(["backup", "copy.db"]).refused();
    assert!(told.contains("the database is damaged"), "{told}");
    assert!(!home.path("copy.db").exists());
}

#[test]
fn what_it_copies_is_one_moment_of_a_database_that_others_write_to() {
    let home = Home::new();
    // Several steps of copying.
    home.sql(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
         INSERT INTO document (attributes) SELECT json_object('text', hex(randomblob(4000))) FROM n",
    );
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let writer = Connection::open(home.db()).unwrap();
            writer
                .busy_timeout(std::time::Duration::from_secs(5))
                .unwrap();
            while !is_over.load(Ordering::Relaxed) {
                let both = "BEGIN IMMEDIATE; INSERT INTO task (method) VALUES ('m');
                            INSERT INTO document (key) SELECT 'k' || max(id) FROM task; COMMIT";
                writer.execute_batch(both).unwrap();
            }
        });
        for name in ["1.db", "2.db", "3.db"] {
            home.ok(["backup", name]);
        }
        is_over.store(true, Ordering::Relaxed);
    });
    for name in ["1.db", "2.db", "3.db"] {
        let copy = Connection::open(home.path(name)).unwrap();
        let value = |sql: &str| {
            copy.query_row(sql, [], |row| row.get::<_, String>(0))
                .unwrap()
        };
        assert_eq!(value("PRAGMA integrity_check"), "ok");
        let same = "SELECT iif((SELECT count(*) FROM task) = (SELECT count(key) FROM document), 'one', 'more')";
        assert_eq!(value(same), "one", "{name}");
    }
}

#[test]
fn a_file_that_is_there_is_left_alone() {
    let home = Home::new();
    home.write("copy.db", "mine");
    for name in ["copy.db", "runner.db", "."] {
        let told = home.refused(["backup", name]);
        assert!(told.contains("there is such a file already"), "{told}");
    }
    assert_eq!(home.read("copy.db"), "mine");
    let told = home.refused(["backup", "nowhere/copy.db"]);
    assert!(told.contains("nowhere"), "{told}");
    assert_eq!(home.run(["backup"]).code(), 2);
}

#[test]
fn when_it_fails_nothing_is_left() {
    let home = Home::new();
    fs::create_dir(home.path("closed")).unwrap();
    fs::set_permissions(home.path("closed"), Permissions::from_mode(0o500)).unwrap();
    // Root may write everywhere.
    if fs::write(home.path("closed/x"), "").is_err() {
        home.refused(["backup", "closed/copy.db"]);
        assert_eq!(fs::read_dir(home.path("closed")).unwrap().count(), 0);
    }
    home.refused(["--db", "none.db", "backup", "copy.db"]);
    assert!(!home.path("copy.db").exists());
}
