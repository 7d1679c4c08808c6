//! `runner mail`: the outbox.

use super::output::or_dash;
use super::template::print_mail;
use super::{Invocation, mail_send};
use crate::error::{Error, Result};
use crate::mail;
use crate::mail::outbox::Outbox;
use crate::model::email::{Content, EmailStatus};
use crate::store::Store;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the mails
    List {
        #[arg(long, value_name = "S", ignore_case = true)]
        status: Option<EmailStatus>,
        /// So many at most, the newest
        #[arg(long, value_name = "N", allow_hyphen_values = true)]
        limit: Option<u32>,
    },
    /// Show all of one
    Show { id: i64 },
    /// Queue one again that failed or was sent; the next tick sends it
    Retry { id: i64 },
    /// Queue one mail; the next tick sends it
    Send(Box<mail_send::Args>),
    /// Send a test mail now, and say what the server answered
    Test { address: String },
}

impl Command {
    pub(super) fn run(self, invocation: &Invocation) -> Result<()> {
        match self {
            Self::List { status, limit } => list(invocation, status, limit),
            Self::Show { id } => show(invocation, id),
            Self::Retry { id } => retry(&invocation.store()?, id),
            Self::Send(args) => args.run(invocation),
            Self::Test { address } => test(invocation, &address),
        }
    }
}

fn list(invocation: &Invocation, status: Option<EmailStatus>, limit: Option<u32>) -> Result<()> {
    let session = invocation.open_to_read()?;
    let mails = session.store.mails(status, limit)?;
    let headings = ["ID", "STATUS", "SINCE", "TO", "SUBJECT", "LAST ERROR"];
    invocation.out.list(&mails, headings, |mail| {
        let since = mail.sent_at.unwrap_or(mail.created_at);
        [
            mail.id.to_string(),
            mail.status.to_string(),
            session.zone.show(since),
            mail.recipients(),
            mail.content.subject.clone(),
            or_dash(mail.last_error.as_ref()),
        ]
    })
}

fn show(invocation: &Invocation, id: i64) -> Result<()> {
    let session = invocation.open_to_read()?;
    let mail = session.store.mail(id)?;
    print_mail(&invocation.out, &mail, &session.zone)
}

fn retry(store: &Store, id: i64) -> Result<()> {
    store.transact(|store| {
        let mail = store.mail(id)?;
        if store.retry_mail(id)? {
            return Ok(());
        }
        Err(mail.refuse("it is being sent"))
    })
}

fn test(invocation: &Invocation, address: &str) -> Result<()> {
    let session = invocation.open_to_run()?;
    let (store, settings) = (&session.store, &session.settings);
    let to = mail::parse(address).map_err(|reason| Error::invalid("mail test", reason))?;
    let database = store.files().beside("");
    let now = session.zone.show(session.now());
    let content = Content {
        from: mail::default_sender(settings)?,
        to: vec![to.to_string()],
        subject: "Test mail from runner".to_owned(),
        body: format!(
            "This is a test.\n\nDatabase: {}\nTime:     {now}\n",
            database.display()
        ),
        ..Content::default()
    };
    let transport = mail::transport(store, settings)?.shown().to_owned();
    let mut outbox = Outbox::new(store, &session.clock, settings);
    let sent = outbox.send_now(&content);
    outbox.close()?;
    let sent = sent.map_err(|why| Error::invalid(format!("mail to {address}"), why))?;
    let (out, answer) = (&invocation.out, sent.answer);
    if out.json {
        return out.json(&serde_json::json!({
            "id": sent.id, "transport": transport, "answer": answer,
        }));
    }
    if invocation.quiet {
        return Ok(());
    }
    out.line(format!("accepted by {transport}: {answer}"))
}
