//! The limits of methods: how many of their tasks run at once, and which task of a signature goes first. Triggers of the
//! schema keep with each task which method's limits it is bound by, and whether it is behind another one.

use rusqlite::{Params, Row, params};

use crate::error::Result;
use crate::store::Store;
use crate::store::task_claim::READY;
use crate::store::text::text;

/// The methods with limits that have tasks which are ready, each found by one look at an index, and how many more of their
/// tasks may run. A method that is gone has no limits.
const LIMITED: &str = "WITH RECURSIVE limited (name) AS (
        SELECT min(limited_by) FROM task INDEXED BY task_limited
         WHERE status = 'TO_RUN' AND deferred = 0 AND limited_by IS NOT NULL AND behind = 0
        UNION ALL
        SELECT (SELECT min(limited_by) FROM task INDEXED BY task_limited
                 WHERE status = 'TO_RUN' AND deferred = 0 AND limited_by > limited.name AND behind = 0)
          FROM limited WHERE name IS NOT NULL)
    SELECT limited.name,
           iif(method.paused = 1, 0, method.max_running - (SELECT count(*) FROM task INDEXED BY task_limited_running
                           WHERE status = 'RUNNING' AND limited_by = limited.name)) AS room
      FROM limited LEFT JOIN method ON method.name = limited.name WHERE limited.name IS NOT NULL";

/// A method with limits.
struct Limited {
    method: String,
    /// How many more of its tasks may run, if their number is limited.
    room: Option<i64>,
}

/// A task that may be claimed.
pub(super) struct Candidate {
    pub(super) priority: i64,
    pub(super) id: i64,
}

impl Store<'_> {
    /// The next tasks of methods with limits, as many of each as its limit leaves room for.
    pub(super) fn limited_candidates(&self, max: i64) -> Result<Vec<Candidate>> {
        let mut candidates = Vec::new();
        for Limited { method, room } in self.list(LIMITED, [], limited)? {
            let room = room.map_or(max, |room| room.min(max));
            if room > 0 {
                let of_method = "limited_by = ?2 AND behind = 0";
                candidates.extend(self.candidates(of_method, params![room, method])?);
            }
        }
        Ok(candidates)
    }

    /// The next `?1` tasks of which a condition holds.
    pub(super) fn candidates(
        &self,
        condition: &str,
        params: impl Params,
    ) -> Result<Vec<Candidate>> {
        let sql = format!(
            "SELECT priority, id FROM task WHERE {condition} AND {READY} ORDER BY priority DESC, id LIMIT ?1"
        );
        self.list(&sql, params, |row| {
            Ok(Candidate {
                priority: row.get("priority")?,
                id: row.get("id")?,
            })
        })
    }

    /// The running task of the same signature that keeps a task of a serial method from being run.
    pub(crate) fn running_before(&self, id: i64) -> Result<Option<i64>> {
        let sql = "SELECT other.id FROM task
               JOIN method ON method.name = task.limited_by AND method.serial = 1
               JOIN task AS other ON other.limited_by = task.limited_by AND other.signature = task.signature
                                 AND other.status = 'RUNNING' AND other.id <> task.id
              WHERE task.id = ?1 AND task.signature <> ''";
        self.value(sql, [id])
    }
}

fn limited(row: &Row<'_>) -> rusqlite::Result<Limited> {
    Ok(Limited {
        method: text(row, "name")?,
        room: row.get("room")?,
    })
}

#[cfg(test)]
mod tests {
    use rusqlite::config::DbConfig;

    use super::{LIMITED, READY};
    use crate::store::Store;

    /// A million tasks behind one signature, or of a full method, cost no more than one.
    #[test]
    fn limits_are_held_without_a_look_at_each_task_that_waits() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = Store::create(&folder.path().join("runner.db")).unwrap();
        let with_triggers = DbConfig::SQLITE_DBCONFIG_TRIGGER_EQP;
        store.connection.set_db_config(with_triggers, true).unwrap();
        let next = |of: &str| {
            format!("SELECT id FROM task WHERE {of} AND {READY} ORDER BY priority DESC, id LIMIT 1")
        };
        let of_limited = next("limited_by = 'm' AND behind = 0");
        let turn = "task_serial (limited_by=? AND signature=? AND behind=?)";
        for (sql, index) in [
            (&*next("limited_by IS NULL"), "task_ready"),
            (&of_limited, "task_limited (limited_by=?)"),
            (LIMITED, "task_limited (limited_by>?)"),
            (LIMITED, "task_limited_running (limited_by=?)"),
            ("UPDATE task SET status = 'RUNNING' WHERE id = 1", turn),
            ("DELETE FROM task WHERE id = 1", turn),
            ("INSERT INTO task (method) VALUES ('m')", turn),
        ] {
            let plan = store.plan(sql).unwrap();
            assert!(plan.contains(&format!("INDEX {index}")), "{sql}\n{plan}");
            let is_whole = |step: &&str| step.starts_with("SCAN task") && !step.contains("INDEX");
            assert_eq!(plan.lines().find(is_whole), None, "{sql}\n{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{sql}\n{plan}");
        }
    }
}
