//! A single-file embedded job runner on SQLite: background tasks, timers on documents and mail, in one database file.
//!
//! The `runner` program is this library with no methods of its own. A program that embeds it registers functions as
//! methods with [`App`] and gets the same command line, or works with the parts: [`store::Store`] opens a
//! database, [`enqueue::Enqueue`] adds tasks, [`tick::tick`] does all that is due.
//!
//! # Words
//!
//! A *task* is one piece of work to run once; its *method* names the *handler* that does it, a program or a function. A
//! *document* has a state and attributes; a *timer* is a sequence of *actions* that an *attachment* hangs on a document,
//! counted from a *reference* date. The n-th iteration over all actions is a *level*; to do one is to *fire* it. A
//! *template* filled from a document is a *mail*. One run of all this is a *tick*; whoever has claimed work is a *worker*.
//! The same words stand in the SQL, the command line and the documentation.
//!
//! # The life of a task
//!
//! `WAITING → TO_RUN → RUNNING → COMPLETED | FAILED | INTERRUPTED`, and `CANCELLED` from the first three. To claim is one
//! short transaction that makes tasks `RUNNING` for a worker and counts the attempt; to finish is another, which is refused
//! unless the attempt still is that worker's. No transaction waits for what is done between them. What a dead worker had started is
//! `INTERRUPTED` by the next, and what it had only claimed is `TO_RUN` again: an attempt is begun at most once.
//!
//! # The life of a timer's level
//!
//! `due → state change → mails → method → done`, each step with its entry in the history in one transaction, so that a level
//! goes on at the step where it was left. A step that fails leaves the level due for the next tick, until it is later than
//! `timer.hour_limit` and is skipped. A change of the date that a timer counts from, by whichever program, is noticed by
//! triggers, marks the attachment, and takes it back to its first level before anything more is done for it.
//!
//! # Locking
//!
//! Every write is a transaction that takes SQLite's write lock at its start and waits for it up to 5 seconds; the file is in
//! WAL mode, so that readers wait for nobody. One thread owns a connection. That a worker lives is told by an exclusive lock
//! on a file of its own beside the database, which the kernel frees with the process. No lock is taken on the database
//! file but SQLite's own.
//!
//! # Quiet ticks
//!
//! Most ticks find nothing. One that does notes until when nothing is due, and what the system and SQLite say of the
//! database's files, as it was before it opened them (the module `store::stamp`). While they say the same, and that time has not
//! come, the next ticks end there.
//!
//! # Compatibility
//!
//! The tables are a public interface, and use nothing newer than SQLite 3.37. `user_version` counts the steps of the schema:
//! an older file is migrated when it is opened, in one transaction, and a newer one is refused.

mod app;
mod boot;
pub mod cli;
pub mod clock;
pub mod context;
pub mod enqueue;
pub mod error;
pub mod firing;
pub mod functions;
pub mod json;
pub(crate) mod mail;
pub mod model;
pub mod rehearsal;
pub(crate) mod retention;
pub mod shutdown;
pub mod store;
pub mod tick;
pub mod time;
pub mod worker;

pub use app::App;
pub use error::{Error, Result};
pub use functions::Task;
