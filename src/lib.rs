//! A job runner in one library, one binary and one SQLite file: background tasks, timers on documents, and mail.
//!
//! The `runner` program is this library without methods of its own. Another program embeds it to run tasks by its own
//! functions, and to add tasks and attach timers in its own transactions. The README leads into the manual.
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
//! [`App::main`] gives such a program the whole command line, so that cron calls its `tick`. All else is plain SQL.
//!
//! # Words
//!
//! A *task* is one piece of work to run once. Its *method* names the *handler* that does the work: a program or a function.
//! A *document* has a state and attributes. A *timer* is a sequence of *actions*; an *attachment* is a timer on a document.
//! Each iteration of an action is a *level*, and to *fire* a level is to do it. A *mail* is filled from a *template*. One
//! run of the main job is a *tick*. A *worker* is a tick or a `task run` that has claimed work.
//!
//! # Claims
//!
//! To claim tasks is one transaction, and to record their ends is another, which counts only while the attempt is still
//! the worker's own. No transaction is open while a handler runs or a mail is sent. Whether a worker is alive is decided by
//! a lock on a file of its own beside the database, which the kernel releases with the process. What a dead worker had
//! started is `INTERRUPTED`, and what it had only claimed is `TO_RUN` again (`docs/guarantees.md`, "Tasks").
//!
//! # The database
//!
//! Every write is a transaction that takes SQLite's write lock at its start. The tables are a public interface
//! (`docs/sql.md`, "What any program may write"), so triggers notice what other programs change.
//!
//! # Modules
//!
//! Each module uses only those after it in this list: `app`, `cli`, `rehearsal`, `tick`, `firing`, `mail`, `worker`,
//! `retention`, `enqueue`, `context`, `functions`, `store`, `model`, `time`, `error`. The tick tells the story; `store` alone
//! speaks SQL; `cli` alone prints.

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
mod schedule;
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
