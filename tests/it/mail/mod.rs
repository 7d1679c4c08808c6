//! Mail: templates, the outbox, the ways out, and the mail about errors.

mod errors;
mod levels;
mod local;
mod outbox;
mod single;
mod smtp;
mod templates;
mod transport;
