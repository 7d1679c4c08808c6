//! The definitions that a run has read.

use std::collections::HashMap;
use std::rc::Rc;

use crate::error::Result;
use crate::model::timer::Timer;
use crate::store::Store;

/// Definitions by their id, each read once.
#[derive(Debug, Default)]
pub(super) struct Timers {
    known: HashMap<i64, Rc<Result<Timer>>>,
}

impl Timers {
    /// A timer, or why plain SQL has made it one that cannot be read.
    ///
    /// # Errors
    /// When the database itself fails.
    pub(super) fn get(&mut self, store: &Store, id: i64) -> Result<Rc<Result<Timer>>> {
        if let Some(known) = self.known.get(&id) {
            return Ok(Rc::clone(known));
        }
        let read = match store.timer(id) {
            Err(error) if error.is_about_the_database() => return Err(error),
            read => Rc::new(read),
        };
        self.known.insert(id, Rc::clone(&read));
        Ok(read)
    }
}
