//! `runner mail`: the outbox.

use super::output::or_dash;
use super::template::print_content;
use super::{Exit, Invocation, values};
use crate::error::{Error, Result};
use crate::mail;
use crate::mail::outbox::Outbox;
use crate::model::email::{Content, Email, EmailStatus};
use crate::store::Store;
use crate::time::Zone;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the mails
    List {
        /// queued, sending, sent or failed
        #[arg(long, value_name = "S")]
        status: Option<String>,
        /// So many at most, the newest
        #[arg(long, value_name = "N")]
        limit: Option<u32>,
    },
    /// Show all of one
    Show { id: i64 },
    /// Queue one again that failed; the next tick sends it
    Retry { id: i64 },
    /// Send a test mail now, and say what the server answered
    Test { address: String },
}

impl Command {
    pub(super) fn run(self, invocation: &Invocation) -> Result<Exit> {
        match self {
            Self::List { status, limit } => {
                let status = status.map(|given| values::word("--status", &given));
                let status = status.transpose()?;
                list(invocation, status, limit)?;
            }
            Self::Show { id } => show(invocation, id)?,
            Self::Retry { id } => retry(&invocation.store()?, id)?,
            Self::Test { address } => test(invocation, &address)?,
        }
        Ok(Exit::Done)
    }
}

fn list(invocation: &Invocation, status: Option<EmailStatus>, limit: Option<u32>) -> Result<()> {
    let store = invocation.store_to_read()?;
    let mails = store.mails(status, limit)?;
    if invocation.out.json {
        return invocation.out.json(&mails);
    }
    let zone = store.settings()?.zone()?;
    let rows = mails.into_iter().map(|mail| {
        [
            mail.id.to_string(),
            mail.status.to_string(),
            zone.show(mail.sent_at.unwrap_or(mail.created_at)),
            mail.recipients(),
            mail.content.subject,
            or_dash(mail.last_error),
        ]
    });
    invocation.out.table(
        ["ID", "STATUS", "SINCE", "TO", "SUBJECT", "LAST ERROR"],
        rows,
    )
}

fn show(invocation: &Invocation, id: i64) -> Result<()> {
    let store = invocation.store_to_read()?;
    let mail = store.mail(id)?;
    if invocation.out.json {
        return invocation.out.json(&mail);
    }
    let zone = store.settings()?.zone()?;
    for (name, value) in circumstances(&mail, &zone) {
        invocation.out.line(format!("{name:<11} {value}"))?;
    }
    invocation.out.line("")?;
    print_content(invocation, &mail.content)
}

fn circumstances(mail: &Email, zone: &Zone) -> Vec<(&'static str, String)> {
    let level = mail.timer.as_ref().zip(mail.timer_level);
    let all = [
        ("id", Some(mail.id.to_string())),
        ("status", Some(mail.status.to_string())),
        ("template", mail.template.clone()),
        ("document", mail.document.map(|id| id.to_string())),
        (
            "timer",
            level.map(|(timer, level)| format!("{timer}, level {level}")),
        ),
        ("attempts", Some(mail.attempts.to_string())),
        ("last error", mail.last_error.clone()),
        ("not before", mail.run_at.map(|at| zone.show(at))),
        ("created at", Some(zone.show(mail.created_at))),
        ("sent at", mail.sent_at.map(|at| zone.show(at))),
        ("message id", Some(mail.message_id.clone())),
    ];
    all.into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

fn retry(store: &Store, id: i64) -> Result<()> {
    store.transact(|store| {
        let mail = store.mail(id)?;
        match store.retry_mail(id)? {
            true => Ok(()),
            false => Err(mail.refuse(match mail.status {
                EmailStatus::Sending => "it is being sent",
                _ => "it is sent already",
            })),
        }
    })
}

fn test(invocation: &Invocation, address: &str) -> Result<()> {
    let store = invocation.store_to_run()?;
    let (settings, zone, clock) = invocation.times(&store)?;
    let to = mail::parse(address).map_err(|reason| Error::invalid("mail test", reason))?;
    let (database, now) = (store.files().beside(""), zone.show(clock.now()));
    let content = Content {
        from: mail::default_sender(&settings)?,
        to: vec![to.to_string()],
        subject: "Test mail from runner".to_owned(),
        body: format!(
            "This is a test.\n\nDatabase: {}\nTime:     {now}\n",
            database.display()
        ),
        ..Content::default()
    };
    let transport = mail::transport(&store, &settings)?.shown().to_owned();
    let mut outbox = Outbox::new(&store, &clock, &settings);
    let sent = outbox.send_now(&content)?;
    outbox.close()?;
    let (id, delivery) = sent.map_err(|why| Error::invalid(format!("mail to {address}"), why))?;
    let out = &invocation.out;
    match out.json {
        true => out.json(&serde_json::json!({
            "id": id, "transport": transport, "answer": delivery.answer,
        })),
        false if invocation.quiet => Ok(()),
        false => out.line(format!("accepted by {transport}: {}", delivery.answer)),
    }
}
