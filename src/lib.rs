//! Background tasks, timers on documents and mail, in one SQLite file.
//!
//! The program `runner` is this library with no functions of its own; its manual is the folder `docs`. Another program embeds
//! the library to run tasks by its own functions, and to add tasks and attach timers in its own transactions:
//!
//! ```
//! use runner::{App, NewTask, Task};
//! use serde_json::{Value, json};
//!
//! fn count(task: &mut Task) -> Result<Value, String> {
//!     let text = task.params()["text"].as_str().ok_or("params.text is missing")?.to_owned();
//!     task.info(format!("counting {} bytes", text.len()));
//!     Ok(json!({"words": text.split_whitespace().count()}))
//! }
//!
//! # fn main() -> runner::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("app.db");
//! let app = App::new().method("Text:count", count);
//!
//! let mut db = runner::create(&path)?;
//! let transaction = db.transaction()?;
//! let id = app.enqueue(&transaction, NewTask::new("Text:count").param("text", "one two three"))?;
//! transaction.commit()?;
//!
//! app.tick(&path)?;
//! let result: String =
//!     db.query_row("SELECT result FROM task WHERE id = ?1", [id], |row| row.get(0))?;
//! assert_eq!(result, r#"{"words":3}"#);
//! # Ok(())
//! # }
//! ```
//!
//! [`App::main`] gives such a program the whole command line, so that cron calls its `tick`. Whatever else there is to read or
//! write is plain SQL: the tables are a public interface, which `docs/sql.md` describes.
//!
//! # How it works
//!
//! A *task* is one piece of work to run once; its *method* names the *handler* that does it, a program or a function. A
//! *document* has a state and attributes; a *timer* is a sequence of *actions*, and an *attachment* puts it on a document,
//! counted from a *reference* date. The n-th iteration over all actions is a *level*; to do one is to *fire* it. A
//! *template* filled from a document is a *mail*. One run that does all that is due is a *tick*; whoever has claimed work is a
//! *worker*.
//!
//! **Tasks.** `WAITING → TO_RUN → RUNNING → COMPLETED | FAILED | INTERRUPTED`, and `CANCELLED` from the first three. To claim is
//! one short transaction that makes tasks `RUNNING` for a worker and counts the attempt; to finish is another, which is refused
//! unless the attempt is still that worker's. What a dead worker had started is `INTERRUPTED` by the next, and what it had only
//! claimed is `TO_RUN` again: an attempt is begun at most once.
//!
//! **Levels.** `due → state change → mails → method → done`, each step in one transaction with its entry in the history, so that
//! a level goes on at the step where it was left. A step that fails leaves the level due for the next tick, until it is later
//! than its limit and is skipped. When the date changes that a timer counts from, triggers mark the attachment, whichever
//! program changed it, and nothing more is begun that was due by the old date.
//!
//! **Locks.** Every write is a transaction that takes SQLite's write lock at its start and waits for it up to 5 seconds; the file
//! is in WAL mode, so that readers wait for nobody. A worker is alive while it holds an exclusive lock on a file of its own
//! beside the database, which the kernel frees with the process.

#![warn(unreachable_pub)]

mod app;
mod boot;
mod cli;
mod clock;
mod context;
mod enqueue;
mod error;
mod firing;
mod functions;
mod json;
mod lock;
mod mail;
mod model;
mod rehearsal;
mod retention;
mod shutdown;
mod store;
mod tick;
mod time;
mod worker;

pub use app::{App, NewAttachment, attach, create, open};
pub use error::{Error, Result};
pub use functions::Task;
pub use model::issue::Issue;
pub use model::new_task::NewTask;
pub use model::summary::{Summary, TaskCounts};
pub use model::task::{Progress, Severity};
pub use rusqlite;
