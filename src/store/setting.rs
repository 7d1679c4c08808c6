//! The settings.

use crate::error::Result;
use crate::model::settings::Settings;
use crate::store::Store;
use crate::store::text::text;

impl Store<'_> {
    /// All that is set.
    pub(crate) fn settings(&self) -> Result<Settings> {
        let rows = self.list("SELECT key, value FROM setting", [], |row| {
            Ok((text(row, "key")?, text(row, "value")?))
        })?;
        Ok(Settings::new(rows.into_iter().collect()))
    }

    /// Sets one; the caller has checked the value.
    pub(crate) fn set_setting(&self, key: &str, value: &str) -> Result<()> {
        self.execute(
            "INSERT INTO setting (key, value) VALUES (?1, ?2)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            [key, value],
        )
    }

    /// Takes one back to its default.
    pub(crate) fn unset_setting(&self, key: &str) -> Result<()> {
        self.execute("DELETE FROM setting WHERE key = ?1", [key])
    }
}
