//! The mail templates.

use rusqlite::{Row, ToSql, named_params};

use crate::error::{OrNotFound, Result};
use crate::model::email::Template;
use crate::store::Store;
use crate::store::text::{text, text_or_null};
use crate::time::Timestamp;

impl Store<'_> {
    /// All templates, by name.
    pub(crate) fn templates(&self) -> Result<Vec<Template>> {
        self.list("SELECT * FROM template ORDER BY name", [], template)
    }

    /// A template by its name.
    pub(crate) fn template(&self, name: &str) -> Result<Template> {
        self.find("SELECT * FROM template WHERE name = ?1", [name], template)?
            .or_not_found("template", format!("'{name}'"))
    }

    /// Keeps a template, in place of what has its name; the caller has checked it.
    pub(crate) fn set_template(&self, template: &Template) -> Result<()> {
        self.execute(
            r#"INSERT INTO template (name, "from", "to", cc, bcc, subject, body, html)
               VALUES (:name, :from, :to, :cc, :bcc, :subject, :body, :html)
               ON CONFLICT (name) DO UPDATE
               SET "from" = excluded."from", "to" = excluded."to", cc = excluded.cc, bcc = excluded.bcc,
                   subject = excluded.subject, body = excluded.body, html = excluded.html"#,
            named_params! {
                ":name": template.name,
                ":from": template.from,
                ":to": template.to,
                ":cc": template.cc,
                ":bcc": template.bcc,
                ":subject": template.subject,
                ":body": template.body,
                ":html": template.html,
            },
        )
    }

    /// Removes a template.
    pub(crate) fn delete_template(&self, name: &str) -> Result<()> {
        self.changes("DELETE FROM template WHERE name = ?1", [name])?
            .then_some(())
            .or_not_found("template", format!("'{name}'"))
    }

    /// The names of the timers that send a template.
    pub(crate) fn timers_of_template(&self, name: &str) -> Result<Vec<String>> {
        self.list(
            "SELECT name FROM timer
              WHERE EXISTS (SELECT 1 FROM timer_action, json_each(timer_action.mail) AS mail
                             WHERE timer_action.timer_id = timer.id AND mail.value = ?1)
              ORDER BY name",
            [name],
            |row| text(row, "name"),
        )
    }

    /// The timer that sends a template and comes next on a document: its name, level and due date.
    pub(crate) fn occasion_of(
        &self,
        document: i64,
        template: &str,
    ) -> Result<Option<(String, u32, Option<Timestamp>)>> {
        self.find(
            "SELECT timer.name, attachment.level, attachment.due_at
               FROM attachment JOIN timer ON timer.id = attachment.timer_id
              WHERE attachment.document_id = ?1
                AND EXISTS (SELECT 1 FROM timer_action, json_each(timer_action.mail) AS mail
                             WHERE timer_action.timer_id = timer.id AND mail.value = ?2)
              ORDER BY attachment.due_at IS NULL, attachment.due_at, timer.name LIMIT 1",
            [&document as &dyn ToSql, &template],
            |row| Ok((text(row, "name")?, row.get("level")?, row.get("due_at")?)),
        )
    }
}

fn template(row: &Row<'_>) -> rusqlite::Result<Template> {
    Ok(Template {
        name: text(row, "name")?,
        from: text_or_null(row, "from")?,
        to: text(row, "to")?,
        cc: text(row, "cc")?,
        bcc: text(row, "bcc")?,
        subject: text(row, "subject")?,
        body: text(row, "body")?,
        html: text_or_null(row, "html")?,
    })
}
