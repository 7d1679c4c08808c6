//! What a mail says, from whom and to whom.

use serde::Serialize;

use super::Address;

/// A mail before it has a Message-ID.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Letter {
    /// The sender, of the message and of the envelope.
    pub from: Address,
    /// The recipients.
    pub to: Vec<Address>,
    /// Recipients of a copy.
    pub cc: Vec<Address>,
    /// Recipients of a copy that the others don't see: they are in the envelope alone.
    pub bcc: Vec<Address>,
    /// The subject, on one line.
    pub subject: String,
    /// The body as plain text.
    pub body: String,
    /// The same as HTML.
    pub html: Option<String>,
}

impl Letter {
    /// All who get it, each once.
    #[must_use]
    pub fn recipients(&self) -> Vec<&Address> {
        let mut all: Vec<&Address> = Vec::new();
        for address in self.to.iter().chain(&self.cc).chain(&self.bcc) {
            if !all.iter().any(|known| known.mail() == address.mail()) {
                all.push(address);
            }
        }
        all
    }
}
