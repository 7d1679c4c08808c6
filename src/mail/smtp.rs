//! SMTP, by lettre's connection: kept for many mails, each of which has a limit in time.

use std::error::Error as _;
use std::fs;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::DEFAULT_MECHANISMS;
use lettre::transport::smtp::client::{
    Certificate, CertificateStore, SmtpConnection, TlsParameters,
};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::response::{Response, Severity};

use super::message::Message;
use super::server::{Encryption, Server};
use super::transport::{Delivery, DeliveryError, Failure, Refusal, presentable, within};

/// How long one address of the server may take to accept the connection, and to greet.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a server may take to say goodbye.
const QUIT_TIMEOUT: Duration = Duration::from_secs(1);

/// The steps that open a connection.
const CONNECTING: [&str; 4] = ["connecting", "STARTTLS", "TLS", "login"];

/// How the step begins that names the sender, the first one of a mail.
const MAIL_FROM: &str = "MAIL FROM:<";

/// The server's goodbye.
const CLOSING: u16 = 421;

/// A certificate that was made with `openssl req -x509`, and is shown by a server.
const IS_AUTHORITY: &str =
    "the server's certificate is that of an authority, made for signing others";

const NOT_TRUSTED: &str = "the server's certificate is signed by no authority that is trusted";

/// What to say for words of rustls that tell a user nothing.
const TLS_WORDS: [(&str, &str); 5] = [
    ("CaUsedAsEndEntity", IS_AUTHORITY),
    ("UnknownIssuer", NOT_TRUSTED),
    // It is signed by another authority of the same name.
    ("BadSignature", NOT_TRUSTED),
    (
        "certificate expired",
        "the server's certificate has expired",
    ),
    ("corrupt message", "the server does not speak TLS here"),
];

/// A client of one server. The connection is opened by the first mail, and again by the first after one was lost.
pub(super) struct Smtp {
    server: Server,
    connection: Option<SmtpConnection>,
    /// The mail before this one met silence: another silence is the server's, not the mail's.
    met_silence: bool,
}

impl Smtp {
    pub(super) fn new(server: Server) -> Self {
        Self {
            server,
            connection: None,
            met_silence: false,
        }
    }

    /// Sends one mail to all recipients that the server takes. The conversation is held in a thread of its own, so that a
    /// server that sends a byte now and then can't stretch it.
    pub(super) fn send(&mut self, message: Message) -> Result<Delivery, DeliveryError> {
        let mut conversation = Conversation {
            server: self.server.clone(),
            connection: self.connection.take(),
            step: Arc::default(),
        };
        let step = Arc::clone(&conversation.step);
        let done = within(self.server.timeout, move || {
            let result = conversation.send(&message);
            (result, conversation.connection)
        });
        let was_silent = std::mem::replace(&mut self.met_silence, done.is_none());
        let result = match done {
            Some((result, connection)) => {
                self.connection = connection;
                result
            }
            None => {
                let step = step.lock().unwrap_or_else(PoisonError::into_inner);
                let kind = match was_silent || CONNECTING.contains(&step.as_str()) {
                    true => Failure::Unreachable,
                    false => Failure::Transient,
                };
                Err(Failed::new(kind, &step, "no answer in time"))
            }
        };
        self.without_password(result)
    }

    fn without_password(
        &self,
        result: Result<Delivery, Failed>,
    ) -> Result<Delivery, DeliveryError> {
        let hide = |text: &str| match &self.server.login {
            Some(login) => presentable(&login.hide_in(text)),
            None => presentable(text),
        };
        match result {
            Ok(mut delivery) => {
                delivery.answer = hide(&delivery.answer);
                for refusal in &mut delivery.refused {
                    refusal.reason = hide(&refusal.reason);
                }
                Ok(delivery)
            }
            Err(Failed { kind, reason, .. }) => {
                let (host, port) = (&self.server.host, self.server.port);
                let reason = hide(&format!("mail server {host}:{port}, {reason}"));
                Err(DeliveryError { kind, reason })
            }
        }
    }

    /// Says goodbye. All mails are accepted or refused by now: the answer changes nothing.
    pub(super) fn quit(self) {
        if let Some(mut connection) = self.connection {
            within(QUIT_TIMEOUT, move || connection.quit().is_ok());
        }
    }
}

/// Why a conversation came to nothing: what was being done, and what the server said.
struct Failed {
    kind: Failure,
    reason: String,
    /// Whether the connection can serve another mail.
    keeps_connection: bool,
}

impl Failed {
    fn new(kind: Failure, step: &str, reason: &str) -> Self {
        Self {
            kind,
            reason: format!("{step}: {reason}"),
            keeps_connection: false,
        }
    }
}

/// A server, or this machine, is not in a state to send any mail.
fn unable(step: &str, reason: impl ToString) -> Failed {
    Failed::new(Failure::Unreachable, step, &reason.to_string())
}

/// What is said to the server for one mail.
struct Conversation {
    server: Server,
    connection: Option<SmtpConnection>,
    /// What is being done, for whoever waits for it.
    step: Arc<Mutex<String>>,
}

impl Conversation {
    fn send(&mut self, message: &Message) -> Result<Delivery, Failed> {
        if let Some(mut kept) = self.connection.take()
            && self.step("RSET", || kept.command(Rset)).is_ok()
        {
            match self.transfer(kept, message) {
                // It has gone stale, or has served as many mails as the server allows.
                Err(failed) if !failed.keeps_connection && failed.reason.starts_with(MAIL_FROM) => {
                }
                done => return done,
            }
        }
        let connection = self.connect().map_err(|failed| Failed {
            kind: Failure::Unreachable,
            ..failed
        })?;
        self.transfer(connection, message)
    }

    fn begin(&self, step: &str) {
        let mut current = self.step.lock().unwrap_or_else(PoisonError::into_inner);
        step.clone_into(&mut current);
    }

    /// Does a step, and names it where it fails.
    fn step<T>(&self, name: &str, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Failed> {
        self.begin(name);
        work().map_err(|error| self.failed(name, &error))
    }

    fn failed(&self, step: &str, error: &Error) -> Failed {
        let kind = match error.is_permanent() {
            true => Failure::Refused,
            false => Failure::Transient,
        };
        Failed {
            keeps_connection: is_answer(error),
            ..Failed::new(kind, step, &explain(error, &self.server))
        }
    }

    fn connect(&self) -> Result<SmtpConnection, Failed> {
        self.begin("connecting");
        let place = (self.server.host.as_str(), self.server.port);
        let addresses = place.to_socket_addrs().map(Iterator::collect);
        let addresses: Vec<SocketAddr> = addresses.map_err(|error| unable("connecting", error))?;
        let mut connection = self.open_trusted(&addresses)?;
        let timeout = Some(self.server.timeout);
        connection
            .set_timeout(timeout)
            .map_err(|error| unable("connecting", error))?;
        if let Some(login) = &self.server.login {
            let is_local = addresses
                .iter()
                .all(|address| address.ip().to_canonical().is_loopback());
            if !connection.is_encrypted() && !is_local {
                return Err(unable(
                    "login",
                    "the server offers no TLS, and a login is not sent without it",
                ));
            }
            self.step("login", || {
                connection.auth(DEFAULT_MECHANISMS, &login.credentials())
            })?;
        }
        Ok(connection)
    }

    /// Opens a connection to a server whose certificate can be trusted, if it has one. What `openssl req -x509` makes calls
    /// itself an authority's, which no server's certificate may be, but for one that is in `ca=FILE` byte for byte.
    fn open_trusted(&self, addresses: &[SocketAddr]) -> Result<SmtpConnection, Failed> {
        let refused = match self.open(addresses, false) {
            Err(failed) if failed.reason.contains(IS_AUTHORITY) => failed,
            opened => return opened,
        };
        let Some(ca) = &self.server.ca else {
            return Err(refused);
        };
        let connection = self.open(addresses, true)?;
        let shown = self.step("TLS", || connection.peer_certificate())?;
        let file = fs::read_to_string(ca).map_err(|error| unreadable(ca, &error))?;
        match holds_certificate(&file, &shown) {
            true => Ok(connection),
            false => Err(refused),
        }
    }

    fn open(&self, addresses: &[SocketAddr], accept_any: bool) -> Result<SmtpConnection, Failed> {
        let each = self.server.timeout / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
        let timeout = Some(each.min(CONNECT_TIMEOUT));
        let hello = ClientId::default();
        if self.server.encryption == Encryption::Implicit {
            let tls = self.tls(accept_any)?;
            return self.step("connecting", || {
                SmtpConnection::connect(addresses, timeout, &hello, Some(&tls), None)
            });
        }
        let mut connection = self.step("connecting", || {
            SmtpConnection::connect(addresses, timeout, &hello, None, None)
        })?;
        match self.server.encryption {
            Encryption::Required if !connection.can_starttls() => {
                return Err(unable("STARTTLS", "the server does not offer it"));
            }
            // A failure here is final: falling back to plain text is what an attacker between us would want.
            Encryption::Required | Encryption::Offered if connection.can_starttls() => {
                let tls = self.tls(accept_any)?;
                self.step("STARTTLS", || connection.starttls(&tls, &hello))?;
            }
            _ => {}
        }
        Ok(connection)
    }

    /// Which certificates are trusted: those of the file, or else the system's (`SSL_CERT_FILE` counts).
    fn tls(&self, accept_any: bool) -> Result<TlsParameters, Failed> {
        let mut builder = TlsParameters::builder(self.server.host.clone())
            .dangerous_accept_invalid_certs(accept_any);
        if let Some(ca) = &self.server.ca {
            let pem = fs::read(ca).map_err(|error| unreadable(ca, &error))?;
            let certificate = self.step("TLS", || Certificate::from_pem(&pem))?;
            builder = builder
                .certificate_store(CertificateStore::None)
                .add_root_certificate(certificate);
        }
        self.step("TLS", || builder.build())
    }

    /// Sends the mail, and keeps the connection for the next if it can serve that.
    fn transfer(
        &mut self,
        mut connection: SmtpConnection,
        message: &Message,
    ) -> Result<Delivery, Failed> {
        let sent = self.speak(&mut connection, message);
        let keeps = match &sent {
            Ok(_) => true,
            Err(failed) => failed.keeps_connection,
        };
        self.connection = keeps.then_some(connection);
        sent
    }

    fn speak(
        &self,
        connection: &mut SmtpConnection,
        message: &Message,
    ) -> Result<Delivery, Failed> {
        let from = message.envelope.from().cloned();
        let parameters = mail_parameters(connection, message)?;
        let sender = from.as_ref().map(ToString::to_string).unwrap_or_default();
        self.step(&format!("{MAIL_FROM}{sender}>"), || {
            connection.command(Mail::new(from, parameters))
        })?;
        let refused = self.name_recipients(connection, message)?;
        let answer = self.step("DATA", || connection.command(Data))?;
        if answer.code().severity != Severity::PositiveIntermediate {
            return Err(Failed::new(Failure::Transient, "DATA", &in_words(&answer)));
        }
        let answer = self.step("end of the message", || {
            send_data(connection, &message.bytes)
        })?;
        Ok(Delivery {
            answer: in_words(&answer),
            refused,
        })
    }

    /// Names the recipients one by one; those that the server refuses, unless it refuses them all.
    fn name_recipients(
        &self,
        connection: &mut SmtpConnection,
        message: &Message,
    ) -> Result<Vec<Refusal>, Failed> {
        let mut refused = Vec::new();
        let mut kind = Failure::Refused;
        for address in message.envelope.to() {
            let step = format!("RCPT TO:<{address}>");
            self.begin(&step);
            match connection.command(Rcpt::new(address.clone(), Vec::new())) {
                Ok(_) => {}
                Err(error) if is_answer(&error) => {
                    let failed = self.failed(&step, &error);
                    if failed.kind == Failure::Transient {
                        kind = Failure::Transient;
                    }
                    refused.push(Refusal {
                        address: address.to_string(),
                        reason: failed.reason,
                    });
                }
                Err(error) => return Err(self.failed(&step, &error)),
            }
        }
        if refused.len() < message.envelope.to().len() {
            return Ok(refused);
        }
        let reasons: Vec<_> = refused.into_iter().map(|refusal| refusal.reason).collect();
        Err(Failed {
            kind,
            reason: reasons.join("; "),
            keeps_connection: true,
        })
    }
}

/// Addresses beyond ASCII need a server that takes them; texts beyond ASCII are encoded anyway.
fn mail_parameters(
    connection: &SmtpConnection,
    message: &Message,
) -> Result<Vec<MailParameter>, Failed> {
    let mut all = message.envelope.to().iter().chain(message.envelope.from());
    let Some(address) = all.find(|address| !address.to_string().is_ascii()) else {
        return Ok(Vec::new());
    };
    if connection
        .server_info()
        .supports_feature(Extension::SmtpUtfEight)
    {
        let body = MailParameter::Body(MailBodyParameter::EightBitMime);
        return Ok(vec![MailParameter::SmtpUtfEight, body]);
    }
    let reason = "the server offers no SMTPUTF8, and so takes no addresses beyond ASCII";
    Err(Failed {
        keeps_connection: true,
        ..Failed::new(Failure::Refused, &format!("address <{address}>"), reason)
    })
}

/// Sends the message. A server that takes no more of it may have said why before it hung up.
fn send_data(connection: &mut SmtpConnection, message: &[u8]) -> Result<Response, Error> {
    // lettre ends the last line itself.
    let message = message.strip_suffix(b"\r\n").unwrap_or(message);
    connection.message(message).map_err(|error| {
        let last = io_error(&error).and_then(|_| connection.read_response().err());
        last.filter(|last| last.status().is_some()).unwrap_or(error)
    })
}

/// Whether the server has answered, and goes on listening.
fn is_answer(error: &Error) -> bool {
    error
        .status()
        .is_some_and(|code| u16::from(code) != CLOSING)
}

fn io_error(error: &Error) -> Option<&io::Error> {
    error.source()?.downcast_ref()
}

fn in_words(answer: &Response) -> String {
    let words: Vec<_> = answer.message().collect();
    format!("{} {}", answer.code(), words.join(" "))
}

/// What went wrong, in words for a person. Where it is the certificate, the transport has parameters for that.
fn explain(error: &Error, server: &Server) -> String {
    let words = match error.source() {
        Some(source) => source.to_string(),
        None => error.to_string(),
    };
    if let Some(code) = error.status() {
        return format!("{code} {words}");
    }
    let kind = io_error(error).map(io::Error::kind);
    match kind {
        Some(io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            return "no answer in time".to_owned();
        }
        None if words == "incomplete response" => {
            return "the server closed the connection".to_owned();
        }
        _ => {}
    }
    let known = TLS_WORDS.iter().find(|(known, _)| words.contains(known));
    match known {
        Some((_, words)) if [IS_AUTHORITY, NOT_TRUSTED].contains(words) => {
            format!("{words} ({})", advice(server))
        }
        Some((_, words)) => (*words).to_owned(),
        None => words,
    }
}

fn advice(server: &Server) -> &'static str {
    match (&server.ca, server.encryption) {
        (Some(_), _) => "only the certificates of ca=FILE in mail.transport are",
        (None, Encryption::Implicit) => "ca=FILE in mail.transport trusts another",
        (None, _) => {
            "ca=FILE in mail.transport trusts another; tls=none is for a server on this machine"
        }
    }
}

fn unreadable(file: &Path, error: &io::Error) -> Failed {
    unable("TLS", format!("{}: {error}", file.display()))
}

/// Whether a certificate is one of a PEM file.
fn holds_certificate(pem: &str, certificate: &[u8]) -> bool {
    let wanted = BASE64.encode(certificate);
    pem.split("-----BEGIN CERTIFICATE-----")
        .skip(1)
        .any(|block| {
            let (base64, _) = block.split_once("-----END").unwrap_or((block, ""));
            base64.split_whitespace().collect::<String>() == wanted
        })
}
