use std::thread;

use tempfile::TempDir;

use super::{MIGRATIONS, Store};
use crate::error::Error;

/// The schema of a later version, and one whose last statement fails.
const LATER: [&str; 3] = [
    MIGRATIONS[0],
    "CREATE TABLE more (id INTEGER PRIMARY KEY) STRICT; INSERT INTO more VALUES (1)",
    "INSERT INTO more SELECT max(id) + 1 FROM more",
];
const BROKEN: [&str; 2] = [
    MIGRATIONS[0],
    "CREATE TABLE more (id INTEGER PRIMARY KEY) STRICT; INSERT INTO more VALUES (1); INSERT INTO none VALUES (1)",
];

fn more(store: &Store) -> Vec<i64> {
    let sql = "SELECT id FROM more ORDER BY id";
    store.list(sql, [], |row| row.get("id")).unwrap()
}

#[test]
fn an_older_database_is_migrated_when_it_is_opened_and_once() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("runner.db");
    drop(Store::create(&path).unwrap());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let store = Store::open_with(&path, &LATER).unwrap();
                assert_eq!(store.pragma("user_version").unwrap(), 3);
                assert_eq!(more(&store), [1, 2]);
            });
        }
    });
    assert!(matches!(
        Store::open(&path),
        Err(Error::Newer {
            found: 3,
            known: 1,
            ..
        })
    ));
}

#[test]
fn a_migration_that_fails_half_way_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("runner.db");
    drop(Store::create(&path).unwrap());
    let error = Store::open_with(&path, &BROKEN).err().unwrap();
    assert!(
        error.to_string().contains("its tables are not those"),
        "{error}"
    );
    let store = Store::open(&path).unwrap();
    assert_eq!(store.pragma("user_version").unwrap(), 1);
    assert!(store.plan("SELECT * FROM more").is_err());
}
