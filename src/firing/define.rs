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

/// Writes a definition in place of what has its name, inside the caller's transaction. With `existing` it is attached to
/// the documents that are in its states already; to how many.
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
            Err(error) if store.is_fatal(&error) => return Err(error),
            // What a definition that cannot be read has begun, or was for, is not known.
            timer => timer.ok(),
        };
        let attached = |after| store.attachments_of_timer(id, after, BATCH);
        in_batches(attached, |row| adapt(store, row, (old.as_ref(), new), now))?;
    }
    store.set_timer(&new.definition)?;
    let old = old.as_ref().map(|old| &old.definition);
    let attach = || store.attach_to_existing(name, old, now);
    existing.then(attach).transpose()
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

/// Detaches a timer from a document that it is not for any more. Of a level that is begun, what is done stays done as far
/// as the new definition has the same; from the first step that differs it is done anew.
fn adapt(
    store: &Store,
    row: &Attachment,
    (old, new): (Option<&Timer>, &Timer),
    now: Timestamp,
) -> Result<()> {
    let action = new.level(row.level).map(|(_, action)| action);
    let before = old.and_then(|old| old.level(row.level));
    let differing = match (before, action) {
        (Some((_, before)), Some(action)) if row.is_begun() => before.first_difference(action),
        // A level that there is no more ends with its attachment, once that is computed anew.
        _ => None,
    };
    let differing = differing.filter(|step| *step <= row.step);
    if !store.admits(&new.definition, row.document)? {
        let was_for = match old {
            Some(old) => store.admits(&old.definition, row.document)?,
            None => true,
        };
        // A level that has itself taken the document out of the old states comes to its end, unless it would be done anew.
        if was_for || differing.is_some() {
            return detach(store, row, Some("it is bound to other states now"), now);
        }
    }
    match (differing, action) {
        (Some(step), Some(action)) => go_back(store, row, step, action, now),
        _ => Ok(()),
    }
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
