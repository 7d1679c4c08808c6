//! What a program works with that embeds the library.

use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;

use rusqlite::{Connection, Transaction};
use serde_json::Value;

use crate::clock::Clock;
use crate::context::Context;
use crate::enqueue::Enqueue;
use crate::error::{Error, Result};
use crate::firing;
use crate::functions::{Functions, Task};
use crate::model::attachment::AttachmentRow;
use crate::model::new_task::NewTask;
use crate::model::summary::Summary;
use crate::shutdown::{Shutdown, unblock_signals};
use crate::store::file::Files;
use crate::store::{Store, connect_again, trust};
use crate::tick::tick;
use crate::time::When;

/// A program that has the whole command line of `runner`, with functions of its own as methods.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use runner::{App, Task};
/// use serde_json::{Value, json};
///
/// fn count(task: &mut Task) -> Result<Value, String> {
///     let text = task.params()["text"].as_str().ok_or("params.text is missing")?.to_owned();
///     task.info(format!("counting {} bytes", text.len()));
///     Ok(json!({"words": text.split_whitespace().count()}))
/// }
///
/// fn main() -> ExitCode {
///     App::new().method("Text:count", count).main()
/// }
/// ```
#[derive(Debug, Default)]
pub struct App {
    functions: Functions,
}

impl App {
    /// A program with no methods of its own yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a function as a method, in place of whatever the database has under that name.
    ///
    /// It is called on a thread of a tick. `Ok` is COMPLETED, with the value as the task's result unless it is null; `Err`
    /// is FAILED, with the error in the task's log; a panic is INTERRUPTED. A time limit or `task stop` cannot end a
    /// thread: the function asks [`Task::should_stop`], and is given up when it has not returned 10 seconds later.
    #[must_use]
    pub fn method<E: Display>(
        mut self,
        name: impl Into<String>,
        function: impl Fn(&mut Task) -> Result<Value, E> + Send + Sync + 'static,
    ) -> Self {
        self.functions.add(name, function);
        self
    }

    /// Runs the command line of this process.
    pub fn main(self) -> ExitCode {
        unblock_signals();
        crate::cli::run(std::env::args_os(), self.functions)
    }

    /// Adds a task, as a part of a transaction of the program's own; its id. It is there when that is committed.
    ///
    /// ```
    /// use runner::rusqlite::TransactionBehavior;
    /// use runner::{App, NewTask, Task};
    /// use serde_json::Value;
    ///
    /// # fn main() -> runner::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("shop.db");
    /// let app = App::new().method("Order:confirm", |_: &mut Task| Ok::<_, String>(Value::Null));
    /// let mut db = runner::create(&path)?;
    /// db.execute_batch("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT)")?;
    ///
    /// let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    /// transaction.execute("INSERT INTO orders (customer) VALUES ('Ada')", [])?;
    /// let order = transaction.last_insert_rowid();
    /// app.enqueue(&transaction, NewTask::new("Order:confirm").param("order", order))?;
    /// transaction.commit()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn enqueue(&self, transaction: &Transaction<'_>, task: NewTask) -> Result<i64> {
        let store = Store::lent(transaction)?;
        Enqueue::new(&store, &self.functions, when(&store)?)?.add(task)
    }

    /// Does all that is due in a database, as the command `tick` does: what it did, and what went wrong. It listens to
    /// SIGTERM, SIGINT and SIGHUP meanwhile, and ends early on them.
    ///
    /// ```
    /// use runner::{App, NewTask, Task};
    /// use serde_json::Value;
    ///
    /// # fn main() -> runner::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("shop.db");
    /// let app = App::new().method("Order:confirm", |_: &mut Task| Ok::<_, String>(Value::Null));
    /// let mut db = runner::create(&path)?;
    /// let transaction = db.transaction()?;
    /// app.enqueue(&transaction, NewTask::new("Order:confirm"))?;
    /// transaction.commit()?;
    ///
    /// let summary = app.tick(&path)?;
    /// assert_eq!(summary.tasks.completed, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn tick(&self, database: impl AsRef<Path>) -> Result<Summary> {
        let files = Files::of(database.as_ref());
        files.check_names()?;
        trust::check(&files)?;
        let store = Store::open(files.path())?;
        tick(Context {
            store: &store,
            clock: &Clock::system(),
            settings: &store.settings()?,
            functions: &self.functions,
            shutdown: &Shutdown::default(),
        })
    }
}

/// Creates a database, which its owner alone can read and write, and connects to it.
pub fn create(path: impl AsRef<Path>) -> Result<Connection> {
    Store::create(path.as_ref())?;
    connect_again(path.as_ref())
}

/// Opens a database. The connection has foreign keys on, and waits 5 seconds for other writers.
///
/// ```
/// # fn main() -> runner::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("shop.db");
/// # runner::create(&path)?;
/// let db = runner::open(&path)?;
/// let waiting: i64 =
///     db.query_row("SELECT count(*) FROM task WHERE status = 'TO_RUN'", [], |row| row.get(0))?;
/// assert_eq!(waiting, 0);
/// # Ok(())
/// # }
/// ```
pub fn open(path: impl AsRef<Path>) -> Result<Connection> {
    Store::open(path.as_ref())?;
    connect_again(path.as_ref())
}

/// An attachment to be made: a timer on a document.
#[derive(Debug, Clone, Default)]
pub struct NewAttachment {
    timer: String,
    document: i64,
    origin: Option<String>,
    reference: Option<String>,
}

impl NewAttachment {
    /// Attaches the timer of this name to the document of this id.
    pub fn new(timer: impl Into<String>, document: i64) -> Self {
        Self {
            timer: timer.into(),
            document,
            ..Self::default()
        }
    }

    /// Says who attaches it: all of one origin can be detached at once.
    #[must_use]
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// Counts from this date, whatever the document's attributes say: a time as [`NewTask::at`] takes it.
    #[must_use]
    pub fn reference(mut self, date: impl Into<String>) -> Self {
        self.reference = Some(date.into());
        self
    }
}

/// Attaches a timer to a document, as a part of a transaction of the program's own; the attachment's id.
///
/// ```
/// use runner::NewAttachment;
///
/// # fn main() -> runner::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("shop.db");
/// # let mut db = runner::create(&path)?;
/// # db.execute_batch(
/// #     "INSERT INTO timer (name, reference) VALUES ('dunning', 'due_on');
/// #      INSERT INTO timer_action (timer_id, position, delay, state) VALUES (1, 0, '1d', 'late')",
/// # )?;
/// let transaction = db.transaction()?;
/// transaction.execute(
///     r#"INSERT INTO document (state, attributes) VALUES ('open', '{"due_on": "2030-03-01"}')"#,
///     [],
/// )?;
/// let invoice = transaction.last_insert_rowid();
/// runner::attach(&transaction, &NewAttachment::new("dunning", invoice).origin("shop"))?;
/// transaction.commit()?;
/// # Ok(())
/// # }
/// ```
pub fn attach(transaction: &Transaction<'_>, new: &NewAttachment) -> Result<i64> {
    let store = Store::lent(transaction)?;
    let when = when(&store)?;
    let reference = new.reference.as_deref();
    let reference = reference.map(|text| when.time(text)).transpose();
    let row = AttachmentRow {
        timer: store.timer_id(&new.timer)?,
        document: new.document,
        origin: new.origin.as_deref(),
        fixed_reference: reference.map_err(|reason| Error::invalid("reference", reason))?,
    };
    firing::attach::attach(&store, &row, false, when)
}

fn when(store: &Store<'_>) -> Result<When> {
    Ok(When {
        zone: store.settings()?.zone()?,
        now: Clock::system().now(),
    })
}
