//! SMTP: one connection for many mails, each of them within its deadline.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use lettre::transport::smtp::commands::{Quit, Starttls};
use rustls::ClientConfig;

use super::Outgoing;
use super::deadline::{Deadline, Timed};
use super::login::without_password;
use super::pinned::{is_unknown, sentence};
use super::sender::{Accepted, Failure, SendError};
use super::server::{Server, Tls};
use super::session::{Mishap, Session, doing, missing};
use super::tls::{Stream, trust};
use super::wire::{Issue, Wire};

/// How long a server may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// A client of one server. The connection is opened by the first mail, and again by the first after one was lost.
pub(super) struct Smtp {
    server: Server,
    connect_limit: Duration,
    trust: Option<Arc<ClientConfig>>,
    session: Option<Session>,
    /// The mail before this one met silence: another silence is the server's, not the mail's.
    met_silence: bool,
}

impl Smtp {
    pub(super) fn new(server: Server, connect_limit: Duration) -> Self {
        Self {
            server,
            connect_limit,
            trust: None,
            session: None,
            met_silence: false,
        }
    }

    /// Sends one mail to all its recipients or to none.
    pub(super) fn send(
        &mut self,
        mail: &Outgoing,
        message: &[u8],
        deadline: Deadline,
    ) -> Result<Accepted, SendError> {
        let mut session = self.begin(mail, deadline)?;
        let result = session.finish(mail, message);
        let again = result
            .as_ref()
            .err()
            .is_some_and(|Mishap(_, issue)| !issue.ends_connection());
        self.session = (result.is_ok() || again).then_some(session);
        match result {
            Ok(reply) => {
                self.met_silence = false;
                Ok(Accepted::new(&self.without_password(&reply.text())))
            }
            Err(mishap) => Err(self.failed_mail(&mishap)),
        }
    }

    pub(super) fn quit(&mut self) {
        if let Some(mut session) = self.session.take() {
            session
                .wire
                .stream()
                .socket()
                .set_deadline(Deadline::after(GOODBYE));
            // All mails are accepted or refused by now: its answer changes nothing.
            let _ = session.wire.ask(Quit.to_string().as_bytes(), 2);
        }
    }

    /// A session that has accepted the mail's sender. A connection that was kept and has gone stale shows here, while
    /// nothing of this mail is sent, so a new one can take its place.
    fn begin(&mut self, mail: &Outgoing, deadline: Deadline) -> Result<Session, SendError> {
        if let Some(mut kept) = self.session.take().and_then(|kept| kept.renew(deadline)) {
            match kept.begin(mail) {
                Ok(()) => return Ok(kept),
                Err(Mishap(_, issue)) if issue.ends_connection() && !issue.is_silence() => {}
                Err(mishap) => return Err(self.not_begun(kept, &mishap)),
            }
        }
        let connected = self.connect(deadline);
        let mut session = connected.map_err(|mishap| self.error(Failure::Unreachable, &mishap))?;
        match session.begin(mail) {
            Ok(()) => Ok(session),
            Err(mishap) => Err(self.not_begun(session, &mishap)),
        }
    }

    fn not_begun(&mut self, session: Session, mishap: &Mishap) -> SendError {
        self.session = (!mishap.1.ends_connection()).then_some(session);
        self.failed_mail(mishap)
    }

    fn failed_mail(&mut self, mishap: &Mishap) -> SendError {
        let before = std::mem::replace(&mut self.met_silence, mishap.1.is_silence());
        let kind = match &mishap.1 {
            Issue::Answered(reply) if reply.class() == 5 => Failure::Refused,
            Issue::Unfit(_) => Failure::Refused,
            issue if issue.is_silence() && before => Failure::Unreachable,
            _ => Failure::Transient,
        };
        self.error(kind, mishap)
    }

    fn error(&self, kind: Failure, Mishap(what, issue): &Mishap) -> SendError {
        let words = match issue {
            Issue::Answered(reply) => reply.text(),
            Issue::Garbled(how) => format!("the answer is {how}"),
            Issue::Unfit(why) => (*why).to_owned(),
            Issue::Lost(error) => match error.kind() {
                io::ErrorKind::TimedOut => "no answer in time".to_owned(),
                io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
                _ => error.to_string(),
            },
        };
        let (host, port) = (&self.server.host, self.server.port);
        SendError::new(
            kind,
            &self.without_password(&format!("mail server {host}:{port}, {what}: {words}")),
        )
    }

    fn without_password(&self, text: &str) -> String {
        let login = self.server.login.as_ref();
        login.map_or_else(|| text.to_owned(), |login| without_password(text, login))
    }

    fn connect(&mut self, deadline: Deadline) -> Result<Session, Mishap> {
        let Server {
            host, port, tls, ..
        } = &self.server;
        let (host, tls) = (host.clone(), *tls);
        let socket = Timed::connect(&host, *port, self.connect_limit, deadline);
        let socket = doing("connecting", socket.map_err(Issue::from))?;
        let stream = if tls == Tls::Implicit {
            self.encrypt(Stream::Plain(socket))?
        } else {
            Stream::Plain(socket)
        };
        let mut wire = Wire::new(stream);
        doing("greeting", wire.hear(2))?;
        let mut session = Session::greet(wire)?;
        if self.wants_starttls(&session)? {
            doing(
                "STARTTLS",
                session.wire.ask(Starttls.to_string().as_bytes(), 2),
            )?;
            let plain = doing("STARTTLS", session.wire.into_stream())?;
            session = Session::greet(Wire::new(self.encrypt(plain)?))?;
        }
        if let Some(login) = &self.server.login {
            session.log_in(login)?;
        }
        Ok(session)
    }

    fn wants_starttls(&self, session: &Session) -> Result<bool, Mishap> {
        let offered = session.offers("STARTTLS");
        match self.server.tls {
            Tls::Implicit | Tls::Never => Ok(false),
            Tls::Required if !offered => {
                doing("STARTTLS", Err(missing("the server does not offer it")))
            }
            Tls::Required | Tls::Offered => Ok(offered),
        }
    }

    /// A failure here is final: falling back to plain text is what an attacker between us would want.
    fn encrypt(&mut self, stream: Stream) -> Result<Stream, Mishap> {
        let Stream::Plain(socket) = stream else {
            return Ok(stream);
        };
        let read = || trust(self.server.ca.as_deref());
        let trust = doing(
            "TLS",
            self.trust
                .clone()
                .map_or_else(read, Ok)
                .map_err(Issue::from),
        )?;
        self.trust = Some(trust.clone());
        let encrypted = Stream::encrypt(socket, &self.server.host, trust);
        doing(
            "TLS",
            encrypted.map_err(|error| in_words(error, &self.server)),
        )
    }
}

/// What rustls finds wrong, as a sentence. Where it is an unknown authority, the transport has parameters for that.
fn in_words(error: io::Error, server: &Server) -> Issue {
    let found = error.get_ref().and_then(|inner| inner.downcast_ref());
    let Some(found) = found else {
        return Issue::Lost(error);
    };
    let advice = match (&server.ca, server.tls) {
        _ if !is_unknown(found) => "",
        (Some(_), _) => " (only the certificates of ca=FILE in mail.transport are)",
        (None, Tls::Implicit) => " (ca=FILE in mail.transport trusts another)",
        (None, _) => {
            " (ca=FILE in mail.transport trusts another; tls=none is for a server on this machine)"
        }
    };
    Issue::Lost(io::Error::other(sentence(found) + advice))
}
