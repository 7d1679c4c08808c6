//! A job runner in one library, one binary and one SQLite file: background tasks, timers on documents, and mail.
//!
//! The `runner` program is this library without methods of its own. A program that embeds it registers functions as
//! methods with [`App`], and has the same command line. The README leads into the manual.
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

pub use app::App;
pub use error::{Error, Result};
pub use functions::Task;
pub use model::task::{Progress, Severity};
