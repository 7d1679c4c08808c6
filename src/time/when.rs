//! A moment with the zone that it is seen in.

use super::{Timestamp, Zone};

/// The time now, and the zone that it is shown and counted in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct When {
    /// The zone.
    pub zone: Zone,
    /// The time.
    pub now: Timestamp,
}

impl When {
    /// Reads a time, also one of today or from now: `2026-04-10`, `2026-04-10T09:00`, `09:00`, `+15d`.
    pub(crate) fn time(&self, text: &str) -> Result<Timestamp, String> {
        self.zone.parse_words(text, self.now)
    }
}
