//! Mail: addresses, templates, messages, and the three ways out (`design`, “Mail”).
//!
//! Nothing here knows of the database: the caller keeps the outbox, renders a [`Template`] to a [`Letter`] for it, and
//! hands each row as an [`Outgoing`] to a [`Sender`]. What comes back says what to do with the row: [`Accepted`], or a
//! [`SendError`] whose [`Failure`] tells a refusal from a pause and from a server that is not there.
//!
//! Two rules hold everywhere. No value of a document can add a header or a recipient: see [`Template`] and
//! [`Address`]. No password leaves a [`Transport`] but to its server: it is in no sentence, no `Debug`, no argument.

mod address;
pub(crate) mod alerts;
mod bounds;
mod deadline;
mod file;
mod fill;
mod header;
mod letter;
mod list;
mod login;
mod message;
mod pinned;
mod sender;
mod sendmail;
mod server;
mod session;
mod smtp;
mod template;
mod tls;
mod transport;
mod wire;

pub use address::Address;
pub use letter::Letter;
pub use list::parse_list;
pub use message::Outgoing;
pub use sender::{Accepted, Failure, SendError, Sender};
pub use template::Template;
pub use transport::{Limits, Transport};

/// Why an address, a template, a message or a transport can't be taken: one sentence for its author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(String);

impl Invalid {
    fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }

    /// The same sentence, with the thing it is about in front.
    fn about(self, thing: &str) -> Self {
        Self(format!("{thing}: {self}"))
    }
}
