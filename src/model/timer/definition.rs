//! The definition of a timer: reference date, delta and a sequence of actions.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, one_line};
use crate::model::timer::{Action, Level, Sequence};
use crate::time::{Duration, Timestamp, Zone};

/// A timer as it is defined, and as JSON shows and takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a timer")]
pub(crate) struct Definition {
    /// What it is called.
    #[serde(default)]
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub title: String,
    /// The attribute of the document whose date it counts from; none counts from the attachment.
    pub reference: Option<String>,
    /// Added to the reference date.
    #[serde(default)]
    pub delta: Duration,
    /// With states: only documents of this family; none is any.
    #[serde(default)]
    pub family: Option<String>,
    /// The states that it is bound to: it is attached while a document is in one of them. Without any it is attached by hand.
    #[serde(default)]
    pub while_state: Vec<String>,
    /// What it does, in order.
    pub actions: Vec<Action>,
}

/// A definition as it is stored, without its actions: plain SQL may have put something there that is none.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TimerRow {
    #[serde(skip)]
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) reference: Option<String>,
    pub(crate) delta: String,
    pub(crate) family: Option<String>,
    pub(crate) paused: bool,
}

/// A timer and how many documents it is attached to.
#[derive(Debug)]
pub(crate) struct ListedTimer {
    /// What is stored, whether that can be read as a definition or not.
    pub(crate) stored: TimerRow,
    /// The definition, or why what is stored cannot be one.
    pub(crate) definition: Result<Definition>,
    /// How often it is attached.
    pub(crate) attached: i64,
}

/// A definition whose levels are laid out.
#[derive(Debug)]
pub(crate) struct Timer {
    /// The definition.
    pub definition: Definition,
    sequence: Sequence,
}

impl Definition {
    /// Whether it is bound to states, so that it comes and goes with them.
    pub(crate) fn is_bound(&self) -> bool {
        !self.while_state.is_empty()
    }

    /// The states that it is bound to, in words.
    pub(crate) fn own_states(&self) -> String {
        let family = self.family.as_ref();
        let family = family.map_or_else(String::new, |family| format!(" in the family '{family}'"));
        format!("the state {}{family}", self.while_state.join(" or "))
    }

    /// Whether it goes once a level has brought the document into this state, if into any.
    pub(crate) fn is_left_for(&self, state: Option<&str>) -> bool {
        let is_outside = |state| self.while_state.iter().all(|own| own != state);
        self.is_bound() && state.is_some_and(is_outside)
    }

    /// Whether it may be attached to a document of this family in this state.
    pub(crate) fn admits(&self, family: &str, state: &str) -> bool {
        let is_of_family = self.family.as_ref().is_none_or(|of| of == family);
        !self.is_bound() || is_of_family && self.while_state.iter().any(|of| of == state)
    }
}

impl Timer {
    /// Lays out the levels.
    pub(crate) fn new(definition: Definition) -> Result<Self> {
        let wrong = |reason: String| {
            Error::invalid(format!("timer '{}'", one_line(&definition.name)), reason)
        };
        check_name(&definition.name).map_err(wrong)?;
        if let Some(reference) = &definition.reference {
            check_attribute(reference).map_err(wrong)?;
        }
        if definition.family.is_some() && !definition.is_bound() {
            let reason = "a family needs states that the timer is bound to; give it --while-state";
            return Err(wrong(reason.to_owned()));
        }
        for (index, action) in definition.actions.iter().enumerate() {
            let wrong = |reason| wrong(format!("action {}: {reason}", index + 1));
            action.check().map_err(wrong)?;
        }
        let actions = definition.actions.iter();
        let sequence = Sequence::new(actions.map(|action| (action.delay, action.iterations)))
            .map_err(wrong)?;
        Ok(Self {
            definition,
            sequence,
        })
    }

    /// How many levels there are.
    pub(crate) fn levels(&self) -> u32 {
        self.sequence.levels()
    }

    /// A level with its action; none past the last.
    pub(crate) fn level(&self, number: u32) -> Option<(Level, &Action)> {
        let level = self.sequence.level(number)?;
        Some((level, self.definition.actions.get(level.action)?))
    }

    /// When a level is due that counts from this reference date, delta not added; none past the last.
    pub(crate) fn due_at(
        &self,
        zone: &Zone,
        counted_from: Timestamp,
        level: u32,
    ) -> Result<Option<Timestamp>, String> {
        self.sequence
            .due_at(zone, counted_from, &self.definition.delta, level)
    }
}

/// Refuses what cannot be an attribute's name: it is set and removed by a JSON path, in which SQLite cannot write every
/// name.
pub(crate) fn check_attribute(name: &str) -> Result<(), String> {
    match name {
        "" => Err("an attribute needs a name".to_owned()),
        _ if name.contains(['"', '\\']) || name.chars().any(char::is_control) => Err(format!(
            "the attribute '{}' cannot be looked for; take a name without quotes, backslashes and control characters",
            one_line(name)
        )),
        _ => Ok(()),
    }
}

fn check_name(name: &str) -> Result<(), String> {
    match name {
        "" => Err("a timer needs a name".to_owned()),
        _ if name.chars().any(char::is_control) => {
            Err("a name has no control characters".to_owned())
        }
        _ => Ok(()),
    }
}
