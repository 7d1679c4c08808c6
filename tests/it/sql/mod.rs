//! What any program may do to the database with plain SQL.

mod columns;
mod task;
mod timer;
