//! Defining timers (`docs/timers.md`, "Changing a definition").

use super::attach::detach;
use super::reschedule::cancel_pending;
use super::{BATCH, in_batches, record};
use crate::context::Context;
use crate::error::{OrNotFound, Result};
use crate::model::attachment::Attachment;
use crate::model::method::Methods;
use crate::model::task::Severity;
use crate::model::timer::{Action, Definition, Step, Timer};
use crate::store::Store;
use crate::time::Timestamp;

/// Writes a definition in place of what has its name, inside the caller's transaction. Of a level that is begun, what
/// is done stays done as far as the new definition says the same; from the first step that differs it is done anew,
/// and what is pending for such a step is cancelled. It is detached from documents that it is not for any more.
///
/// With `existing` it is attached to the documents that are in its states already; to how many.
pub(crate) fn define(
    ctx: Context<'_>,
    store: &Store,
    new: &Timer,
    existing: bool,
) -> Result<Option<u64>> {
    let (name, now) = (&new.definition.name, ctx.clock.now());
    check_names(
        store,
        &new.definition,
        &ctx.functions.and_registered(store)?,
    )?;
    let mut old = None;
    if let Some(id) = store.find_timer(name)? {
        old = match store.timer(id) {
            Ok(old) => Some(old),
            Err(error) if store.is_fatal(&error) => return Err(error),
            // What a definition that cannot be read has begun is not known.
            Err(_) => None,
        };
        if let Some(old) = &old {
            go_back_all(store, id, (old, new), now)?;
        }
        let old = old.as_ref().map(|old| &old.definition);
        detach_all_others(store, id, (old, &new.definition), now)?;
    }
    store.set_timer(&new.definition)?;
    let old = old.as_ref().map(|old| &old.definition);
    let attach = || store.attach_to_existing(name, old, now);
    existing.then(attach).transpose()
}

/// Detaches a timer from the documents that it was for, and is not for any more. One whose own level has taken it out of
/// the old states stays for that level.
fn detach_all_others(
    store: &Store,
    id: i64,
    (old, new): (Option<&Definition>, &Definition),
    now: Timestamp,
) -> Result<()> {
    let is_same =
        |old: &Definition| (&old.family, &old.while_state) == (&new.family, &new.while_state);
    if !new.is_bound() || old.is_some_and(is_same) {
        return Ok(());
    }
    let attached = |after| store.attachments_of_timer(id, after, BATCH);
    in_batches(attached, |row| {
        let was_for = match old {
            Some(old) => store.admits(old, row.document)?,
            None => true,
        };
        if !was_for || store.admits(new, row.document)? {
            return Ok(());
        }
        let why = "it is bound to other states now";
        detach(store, row, Some(why), now)
    })?;
    Ok(())
}

/// What an action names must be there.
fn check_names(store: &Store, definition: &Definition, methods: &Methods) -> Result<()> {
    for action in &definition.actions {
        if let Some(method) = &action.method {
            methods.get(method)?;
        }
        for template in &action.mail {
            let found = store.has_template(template)?.then_some(());
            found.or_not_found("template", format!("'{template}'"))?;
        }
    }
    Ok(())
}

fn go_back_all(store: &Store, id: i64, (old, new): (&Timer, &Timer), now: Timestamp) -> Result<()> {
    if old.definition.actions == new.definition.actions {
        return Ok(());
    }
    let begun = |after| store.begun_attachments(id, after, BATCH);
    in_batches(begun, |row| {
        // A level that there is no more ends with its attachment, once that is computed anew.
        match (old.level(row.level), new.level(row.level)) {
            (Some((_, old)), Some((_, new))) => match old.first_difference(new) {
                Some(step) if step <= row.step => go_back(store, row, step, new, now),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    })?;
    Ok(())
}

fn go_back(
    store: &Store,
    row: &Attachment,
    step: Step,
    action: &Action,
    now: Timestamp,
) -> Result<()> {
    cancel_pending(store, row, "its timer was defined anew", now)?;
    let left = action.describe(step.., None);
    let left = if left.is_empty() { "nothing" } else { &left };
    let message = format!("the timer was defined anew; left of this level: {left}");
    record(store, row, now, Severity::Info, &message)?;
    store.update_attachment(&row.at_step(step))
}

#[cfg(test)]
mod tests {
    use super::{Store, check_names};
    use crate::functions::Functions;
    use crate::json::read_object;

    #[test]
    fn a_timer_may_name_a_function_of_the_program() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = Store::create(&folder.path().join("runner.db")).unwrap();
        let definition = read_object(r#"{"actions":[{"method":"Own:run"}]}"#).unwrap();
        let mut functions = Functions::default();
        let check = |functions: &Functions| {
            check_names(&store, &definition, &functions.and_registered(&store)?)
        };
        assert!(check(&functions).is_err());
        functions.add("Own:run", |_| Ok::<_, String>(serde_json::Value::Null));
        check(&functions).unwrap();
    }
}
