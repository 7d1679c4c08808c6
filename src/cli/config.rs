//! `runner config`

use serde::Serialize;
use serde_json::json;

use super::Invocation;
use super::values::body;
use crate::error::Result;
use crate::mail;
use crate::model::settings::{self, Settings};
use crate::schedule::redate;
use crate::store::Store;
use crate::time::When;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List all settings with their values
    List,
    /// Print the value of one
    Get { key: String },
    /// Set one; a value that others must not see in the list of processes is @FILE, or - for standard input
    Set {
        key: String,
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Take one back to its default
    Unset { key: String },
}

#[derive(Serialize)]
struct Setting {
    key: &'static str,
    value: String,
    default: &'static str,
}

impl Command {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        match self {
            Self::List => list(invocation),
            Self::Get { key } => get(invocation, &key),
            Self::Set { key, value } => {
                let given = body(&value)?;
                let value = given.trim_end_matches(['\r', '\n']);
                settings::check(&key, value)?;
                mail::check_setting(&key, value)?;
                change(invocation, &key, |store| store.set_setting(&key, value))
            }
            Self::Unset { key } => {
                Settings::default().text(&key)?;
                change(invocation, &key, |store| store.unset_setting(&key))
            }
        }
    }
}

/// Changes a setting. All dates are counted anew when it is the zone that they are counted in.
fn change(
    invocation: &Invocation,
    key: &str,
    work: impl FnOnce(&Store) -> Result<()>,
) -> Result<()> {
    invocation.store()?.transact(|store| {
        let before = store.settings()?;
        work(store)?;
        if key == settings::ZONE && store.settings()?.text(key)? != before.text(key)? {
            store.mark_all_for_reschedule()?;
            let zone = store.settings()?.zone()?;
            let now = invocation.clock(&zone)?.now();
            redate(store, When { zone, now })?;
        }
        Ok(())
    })
}

fn list(invocation: &Invocation) -> Result<()> {
    let settings = invocation.store_to_read()?.settings()?;
    let all = settings::ALL.into_iter().map(|setting| {
        Ok(Setting {
            key: setting.key,
            value: settings.shown(setting.key)?,
            default: setting.default,
        })
    });
    let all = all.collect::<Result<Vec<_>>>()?;
    invocation.out.list(&all, ["SETTING", "VALUE"], |setting| {
        [setting.key.to_owned(), setting.value.clone()]
    })
}

fn get(invocation: &Invocation, key: &str) -> Result<()> {
    let value = invocation.store_to_read()?.settings()?.shown(key)?;
    let out = &invocation.out;
    out.show(&json!({"key": key, "value": value}), || out.line(&value))
}
