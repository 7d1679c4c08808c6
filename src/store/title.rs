//! Finding documents by a part of their title, whatever its case.

use rusqlite::functions::{Context, FunctionFlags};

use crate::error::Result;
use crate::store::Store;
use crate::store::text::readable;

impl Store<'_> {
    /// Teaches SQLite `has_text(title, text)`, for the statements that ask for a part of a title: its own `lower` knows
    /// no letters but those of ASCII.
    pub(super) fn know_titles(&self) -> Result<()> {
        if !self.knows_titles.replace(true) {
            let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
            self.connection
                .create_scalar_function("has_text", 2, flags, has_text)?;
        }
        Ok(())
    }
}

fn has_text(context: &mut Context<'_>) -> rusqlite::Result<bool> {
    let text = |place| readable(context.get_raw(place)).unwrap_or_default();
    Ok(folded(&text(0)).contains(&folded(&text(1))))
}

/// A text without the difference between large and small letters: the large ones made small, so that a sharp s is two
/// letters and the two small sigmas are one.
fn folded(text: &str) -> String {
    let large = text.chars().flat_map(char::to_uppercase);
    large.flat_map(char::to_lowercase).collect()
}
