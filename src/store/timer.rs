//! The definitions of timers.

use rusqlite::{Row, params};

use crate::error::{Error, OrNotFound, Result};
use crate::json::Json;
use crate::model::timer::{Action, Definition, ListedTimer, Timer, TimerRow};
use crate::store::Store;
use crate::store::text::{text, text_or_null};

impl Store<'_> {
    /// The id of a timer, if there is one of that name.
    pub(crate) fn find_timer(&self, name: &str) -> Result<Option<i64>> {
        let sql = "SELECT id FROM timer WHERE name = ?1";
        self.find(sql, [name], |row| row.get("id"))
    }

    /// The id of a timer.
    pub(crate) fn timer_id(&self, name: &str) -> Result<i64> {
        self.find_timer(name)?
            .or_not_found("timer", format!("'{name}'"))
    }

    /// The name of a timer as it is shown; `#` and its id when plain SQL has deleted it under what is attached to documents.
    pub(crate) fn timer_name(&self, id: i64) -> Result<String> {
        let found = self.find("SELECT name FROM timer WHERE id = ?1", [id], |row| {
            text(row, "name")
        })?;
        Ok(found.unwrap_or_else(|| format!("#{id}")))
    }

    /// A timer by its id.
    ///
    /// # Errors
    /// When plain SQL has deleted it, or its definition cannot be one.
    pub(crate) fn timer(&self, id: i64) -> Result<Timer> {
        let stored = self.find("SELECT * FROM timer WHERE id = ?1", [id], stored)?;
        let stored = stored.ok_or_else(|| Error::NotFound {
            what: "timer",
            name: format!("#{id}"),
            hint: "it was deleted; 'runner timer detach --all DOC' takes it off a document"
                .to_owned(),
        })?;
        self.timer_of(stored)
    }

    fn timer_of(&self, stored: TimerRow) -> Result<Timer> {
        Timer::new(self.definition(stored)?)
    }

    /// All timers by name, and how many documents each is attached to.
    pub(crate) fn list_timers(&self) -> Result<Vec<ListedTimer>> {
        let counted = self.list(
            "SELECT coalesce(attachments.attached, 0) AS attached, timer.*
               FROM timer
               LEFT JOIN (SELECT timer_id, count(*) AS attached FROM attachment GROUP BY timer_id) AS attachments
                 ON attachments.timer_id = timer.id
              ORDER BY timer.name",
            [],
            |row| Ok((stored(row)?, row.get("attached")?)),
        )?;
        let counted = counted.into_iter().map(|(stored, attached)| {
            let definition = match self.timer_of(stored.clone()) {
                Err(error) if error.is_about_the_database() => return Err(error),
                timer => timer.map(|timer| timer.definition),
            };
            Ok(ListedTimer {
                stored,
                definition,
                attached,
            })
        });
        counted.collect()
    }

    fn definition(&self, stored: TimerRow) -> Result<Definition> {
        let unreadable = |error: &dyn std::fmt::Display| {
            Error::invalid(
                format!("timer '{}'", stored.name),
                format!("it cannot be read: {error}; define it anew with 'runner timer set'"),
            )
        };
        let actions = self.list(
            "SELECT * FROM timer_action WHERE timer_id = ?1 ORDER BY position",
            [stored.id],
            action,
        )?;
        let actions = actions.into_iter().map(StoredAction::read);
        let actions = actions
            .collect::<Result<_, _>>()
            .map_err(|error| unreadable(&error))?;
        Ok(Definition {
            delta: stored.delta.parse().map_err(|error| unreadable(&error))?,
            name: stored.name,
            title: stored.title,
            reference: stored.reference,
            family: stored.family,
            while_state: self.list(
                "SELECT state FROM timer_state WHERE timer_id = ?1 ORDER BY position, state",
                [stored.id],
                |row| text(row, "state"),
            )?,
            actions,
        })
    }

    /// Writes a definition in place of what has its name; what is attached to it is to be computed anew.
    pub(crate) fn set_timer(&self, definition: &Definition) -> Result<()> {
        self.execute(
            "INSERT INTO timer (name, title, reference, delta, family) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (name) DO UPDATE
             SET title = excluded.title, reference = excluded.reference, delta = excluded.delta, family = excluded.family",
            params![
                definition.name,
                definition.title,
                definition.reference,
                definition.delta.to_string(),
                definition.family,
            ],
        )?;
        let id = self.timer_id(&definition.name)?;
        self.execute("DELETE FROM timer_state WHERE timer_id = ?1", [id])?;
        for (position, state) in definition.while_state.iter().enumerate() {
            let sql =
                "INSERT OR IGNORE INTO timer_state (timer_id, state, position) VALUES (?1, ?2, ?3)";
            self.execute(sql, params![id, state, position as i64])?;
        }
        self.execute("DELETE FROM timer_action WHERE timer_id = ?1", [id])?;
        for (position, action) in definition.actions.iter().enumerate() {
            self.insert_action(id, position, action)?;
        }
        self.execute(
            "UPDATE attachment SET needs_reschedule = 2 WHERE timer_id = ?1 AND needs_reschedule = 0",
            [id],
        )?;
        Ok(())
    }

    fn insert_action(&self, timer: i64, position: usize, action: &Action) -> Result<()> {
        self.execute(
            r#"INSERT INTO timer_action (timer_id, position, delay, iterations, "limit", state, mail, method, params)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"#,
            params![
                timer,
                i64::try_from(position).unwrap_or(i64::MAX),
                action.delay.to_string(),
                action.iterations,
                action.limit.map(|limit| limit.to_string()),
                action.state,
                serde_json::Value::from(action.mail.clone()).to_string(),
                action.method,
                action.params,
            ],
        )?;
        Ok(())
    }

    /// Whether a timer may be attached to a document, as it is now.
    pub(crate) fn admits(&self, timer: &Definition, document: i64) -> Result<bool> {
        if !timer.is_bound() {
            return Ok(true);
        }
        let found = self.family_and_state(document)?;
        Ok(found.is_none_or(|(family, state)| timer.admits(&family, &state)))
    }

    /// Removes a timer that is attached to nothing.
    pub(crate) fn delete_timer(&self, id: i64) -> Result<()> {
        self.execute("DELETE FROM timer WHERE id = ?1", [id])?;
        Ok(())
    }

    /// A timer that runs a method, if there is one.
    pub(crate) fn timer_of_method(&self, method: &str) -> Result<Option<String>> {
        self.find(
            "SELECT timer.name FROM timer JOIN timer_action ON timer_action.timer_id = timer.id
              WHERE timer_action.method = ?1 ORDER BY timer.name LIMIT 1",
            [method],
            |row| text(row, "name"),
        )
    }

    /// Whether there is a mail template of this name.
    pub(crate) fn has_template(&self, name: &str) -> Result<bool> {
        Ok(self
            .find("SELECT 1 FROM template WHERE name = ?1", [name], |_| Ok(()))?
            .is_some())
    }
}

fn stored(row: &Row<'_>) -> rusqlite::Result<TimerRow> {
    Ok(TimerRow {
        id: row.get("id")?,
        name: text(row, "name")?,
        title: text(row, "title")?,
        reference: text_or_null(row, "reference")?,
        delta: text(row, "delta")?,
        family: text_or_null(row, "family")?,
        paused: row.get("paused")?,
    })
}

/// An action with those of its columns that are still to be read.
struct StoredAction {
    action: Action,
    delay: String,
    limit: Option<String>,
    mail: Json,
}

impl StoredAction {
    fn read(self) -> Result<Action, String> {
        let mail = serde_json::from_str(self.mail.text());
        Ok(Action {
            delay: self.delay.parse()?,
            limit: self.limit.map(|limit| limit.parse()).transpose()?,
            mail: mail.map_err(|_| "its mails are no list of templates".to_owned())?,
            ..self.action
        })
    }
}

fn action(row: &Row<'_>) -> rusqlite::Result<StoredAction> {
    Ok(StoredAction {
        delay: text(row, "delay")?,
        limit: text_or_null(row, "limit")?,
        mail: row.get("mail")?,
        action: Action {
            iterations: row.get("iterations")?,
            state: text_or_null(row, "state")?,
            method: text_or_null(row, "method")?,
            params: row.get("params")?,
            ..Action::default()
        },
    })
}
