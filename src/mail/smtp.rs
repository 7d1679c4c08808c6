//! SMTP, by lettre's connection: kept for many mails, each of which has a limit in time.

use std::error::Error as _;
use std::fs;
use std::mem;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
use lettre::transport::smtp::response::Response;

use super::delivery::{Delivery, DeliveryError, Failure, Refusal, presentable, reasons, within};
use super::message::Message;
use super::smtp_url::{Encryption, Server};

/// How long one address of the server may take to accept the connection, and to greet.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a server may take to say goodbye.
const QUIT_TIMEOUT: Duration = Duration::from_secs(1);

/// The code of a server that closes the connection.
const CLOSING: u16 = 421;

/// A certificate that was made with `openssl req -x509`, and is shown by a server.
const IS_AUTHORITY: &str =
    "the server's certificate is that of an authority, made for signing others";

const NOT_TRUSTED: &str = "the server's certificate is signed by no authority that is trusted";

/// Plain words for those of the libraries that mean nothing to a user.
const PLAIN_WORDS: [(&str, &str); 8] = [
    ("temporarily unavailable", "no answer in time"),
    ("timed out", "no answer in time"),
    ("incomplete response", "the server closed the connection"),
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
        let (server, mut connection) = (self.server.clone(), self.connection.take());
        let is_connected = Arc::new(AtomicBool::new(connection.is_some()));
        let connected = Arc::clone(&is_connected);
        let done = within(self.server.timeout, move || {
            let sent = server.converse(&mut connection, &message, &connected);
            (sent, connection)
        });
        let was_silent = mem::replace(&mut self.met_silence, done.is_none());
        if let Some((sent, connection)) = done {
            self.connection = connection;
            return sent;
        }
        let (kind, step) = if !is_connected.load(Ordering::Relaxed) {
            (Failure::Unreachable, "connecting")
        } else if was_silent {
            (Failure::Unreachable, "sending")
        } else {
            (Failure::Transient, "sending")
        };
        let reason = format!("{step}: no answer in time");
        Err(self.server.error(kind, &reason))
    }

    /// Connects and logs in, and sends nothing.
    pub(super) fn check(&self) -> Result<(), String> {
        let server = self.server.clone();
        let done = within(self.server.timeout, move || {
            let mut connection = server.connect()?;
            // Its answer changes nothing.
            let _ = connection.quit();
            Ok(())
        });
        let silent = || Err("connecting: no answer in time".to_owned());
        done.unwrap_or_else(silent)
            .map_err(|reason| self.server.error(Failure::Unreachable, &reason).reason)
    }

    /// Says goodbye. All mails are accepted or refused by now: the answer changes nothing.
    pub(super) fn quit(self) {
        if let Some(mut connection) = self.connection {
            within(QUIT_TIMEOUT, move || connection.quit().is_ok());
        }
    }
}

/// Why a server did not take a mail.
struct Failed {
    error: DeliveryError,
    /// Whether the connection can serve another mail.
    keeps_connection: bool,
}

impl Server {
    /// Sends a mail over the connection that was kept, or a new one; it is kept if it can serve another mail.
    fn converse(
        &self,
        kept: &mut Option<SmtpConnection>,
        message: &Message,
        is_connected: &AtomicBool,
    ) -> Result<Delivery, DeliveryError> {
        // It may have been closed since, or have served as many mails as the server allows.
        let reused = kept.take().and_then(|mut connection| {
            connection.command(Rset).ok()?;
            let begun = self.name_sender(&mut connection, message);
            keeps(&begun).then_some((connection, begun))
        });
        let (mut connection, begun) = match reused {
            Some(reused) => reused,
            None => {
                let connected = self.connect();
                let mut connection =
                    connected.map_err(|reason| self.error(Failure::Unreachable, &reason))?;
                is_connected.store(true, Ordering::Relaxed);
                let begun = self.name_sender(&mut connection, message);
                (connection, begun)
            }
        };
        let sent = begun.and_then(|()| self.transfer(&mut connection, message));
        *kept = keeps(&sent).then_some(connection);
        sent.map_err(|failed| failed.error)
    }

    fn name_sender(
        &self,
        connection: &mut SmtpConnection,
        message: &Message,
    ) -> Result<(), Failed> {
        let from = message.envelope.from().cloned();
        let sender = from.as_ref().map(ToString::to_string).unwrap_or_default();
        let parameters = self.mail_parameters(connection, message)?;
        connection
            .command(Mail::new(from, parameters))
            .map(drop)
            .map_err(|error| self.failed(&format!("MAIL FROM:<{sender}>"), &error))
    }

    /// Addresses beyond ASCII need a server that takes them; texts beyond ASCII are encoded anyway.
    fn mail_parameters(
        &self,
        connection: &SmtpConnection,
        message: &Message,
    ) -> Result<Vec<MailParameter>, Failed> {
        let mut all = message.envelope.to().iter().chain(message.envelope.from());
        let Some(address) = all.find(|address| !address.to_string().is_ascii()) else {
            return Ok(Vec::new());
        };
        let server = connection.server_info();
        if server.supports_feature(Extension::SmtpUtfEight) {
            let body = MailParameter::Body(MailBodyParameter::EightBitMime);
            return Ok(vec![MailParameter::SmtpUtfEight, body]);
        }
        let reason = format!(
            "address <{address}>: the server offers no SMTPUTF8, and so takes no addresses beyond ASCII"
        );
        Err(Failed {
            error: self.error(Failure::Refused, &reason),
            keeps_connection: true,
        })
    }

    fn transfer(
        &self,
        connection: &mut SmtpConnection,
        message: &Message,
    ) -> Result<Delivery, Failed> {
        let refused = self.name_recipients(connection, message)?;
        connection
            .command(Data)
            .map_err(|error| self.failed("DATA", &error))?;
        // lettre ends the last line itself.
        let bytes = message.bytes.strip_suffix(b"\r\n");
        let answer = connection
            .message(bytes.unwrap_or(&message.bytes))
            .map_err(|error| self.failed("end of the message", &error))?;
        Ok(Delivery {
            refused,
            ..Delivery::to_all(&self.in_words(&answer))
        })
    }

    /// Names the recipients one by one; those that the server refuses, when it takes the mail for the others.
    fn name_recipients(
        &self,
        connection: &mut SmtpConnection,
        message: &Message,
    ) -> Result<Vec<Refusal>, Failed> {
        let recipients = message.envelope.to();
        let (mut refused, mut is_any_put_off) = (Vec::new(), false);
        for address in recipients {
            let Err(error) = connection.command(Rcpt::new(address.clone(), Vec::new())) else {
                continue;
            };
            let failed = self.failed(&format!("RCPT TO:<{address}>"), &error);
            if !failed.keeps_connection {
                return Err(failed);
            }
            is_any_put_off |= failed.error.kind == Failure::Transient;
            refused.push(Refusal {
                address: address.to_string(),
                reason: presentable(&format!("RCPT TO:<{address}>: {}", self.explain(&error))),
            });
        }
        if refused.len() < recipients.len() && !(is_any_put_off && message.waits_for_all) {
            return Ok(refused);
        }
        let kind = if is_any_put_off {
            Failure::Transient
        } else {
            Failure::Refused
        };
        Err(Failed {
            error: self.error(kind, &reasons(&refused)),
            keeps_connection: true,
        })
    }

    /// Opens a connection to a server whose certificate can be trusted, if it has one. What `openssl req -x509` makes calls
    /// itself an authority's, which no server's certificate may be, but for one that is in `ca=FILE` byte for byte.
    fn connect(&self) -> Result<SmtpConnection, String> {
        let place = (self.host.as_str(), self.port);
        let addresses: Vec<SocketAddr> = place
            .to_socket_addrs()
            .map_err(|error| format!("connecting: {error}"))?
            .collect();
        let mut connection = match self.open(&addresses, false) {
            Err(refused) if refused.contains(IS_AUTHORITY) && self.ca.is_some() => {
                let connection = self.open(&addresses, true)?;
                if !holds_certificate(
                    &self.read_ca()?,
                    &self.at("TLS", connection.peer_certificate())?,
                ) {
                    return Err(refused);
                }
                connection
            }
            opened => opened?,
        };
        // Whoever waits for the mail gives up before; the thread that is left behind then ends by this.
        connection
            .set_timeout(Some(self.timeout * 2))
            .map_err(|error| format!("connecting: {error}"))?;
        self.log_in(&mut connection, &addresses)?;
        Ok(connection)
    }

    fn log_in(
        &self,
        connection: &mut SmtpConnection,
        addresses: &[SocketAddr],
    ) -> Result<(), String> {
        let Some(login) = &self.login else {
            return Ok(());
        };
        let mut ips = addresses.iter().map(|address| address.ip().to_canonical());
        if !connection.is_encrypted() && !ips.all(|ip| ip.is_loopback()) {
            let reason =
                "login: the server offers no TLS, and a login is not sent without it".to_owned();
            return Err(reason);
        }
        let done = connection.auth(DEFAULT_MECHANISMS, &login.credentials());
        self.at("login", done).map(drop)
    }

    fn open(&self, addresses: &[SocketAddr], accept_any: bool) -> Result<SmtpConnection, String> {
        let each = self.timeout / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
        let timeout = Some(each.min(CONNECT_TIMEOUT));
        let hello = ClientId::default();
        let tls = match self.encryption {
            Encryption::Implicit => Some(self.tls(accept_any)?),
            _ => None,
        };
        let connection = SmtpConnection::connect(addresses, timeout, &hello, tls.as_ref(), None);
        let mut connection = connection.map_err(|error| {
            // Whoever answers is connected: it refuses to greet us.
            let step = error.status().map_or("connecting", |_| "greeting");
            format!("{step}: {}", self.explain(&error))
        })?;
        match self.encryption {
            Encryption::Required if !connection.can_starttls() => {
                return Err("STARTTLS: the server does not offer it".to_owned());
            }
            // A failure here is final: falling back to plain text is what an attacker between us would want.
            Encryption::Required | Encryption::Offered if connection.can_starttls() => {
                let started = connection.starttls(&self.tls(accept_any)?, &hello);
                self.at("STARTTLS", started)?;
            }
            _ => {}
        }
        Ok(connection)
    }

    /// Which certificates are trusted: those of the file, or else the system's (`SSL_CERT_FILE` counts).
    fn tls(&self, accept_any: bool) -> Result<TlsParameters, String> {
        let mut builder =
            TlsParameters::builder(self.host.clone()).dangerous_accept_invalid_certs(accept_any);
        if self.ca.is_some() {
            let certificate = Certificate::from_pem(self.read_ca()?.as_bytes());
            builder = builder
                .certificate_store(CertificateStore::None)
                .add_root_certificate(self.at("TLS", certificate)?);
        }
        self.at("TLS", builder.build())
    }

    fn read_ca(&self) -> Result<String, String> {
        let file = self.ca.as_deref().unwrap_or("".as_ref());
        let text = fs::read(file).map_err(|error| format!("TLS: {}: {error}", file.display()))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Names the step that has failed.
    fn at<T>(&self, step: &str, done: Result<T, Error>) -> Result<T, String> {
        done.map_err(|error| format!("{step}: {}", self.explain(&error)))
    }

    fn failed(&self, step: &str, error: &Error) -> Failed {
        let kind = if error.is_permanent() {
            Failure::Refused
        } else {
            Failure::Transient
        };
        let has_answered = |code| u16::from(code) != CLOSING;
        Failed {
            error: self.error(kind, &format!("{step}: {}", self.explain(error))),
            keeps_connection: error.status().is_some_and(has_answered),
        }
    }

    fn error(&self, kind: Failure, reason: &str) -> DeliveryError {
        let (host, port) = (&self.host, self.port);
        DeliveryError::new(kind, &format!("mail server {host}:{port}, {reason}"))
    }

    fn in_words(&self, answer: &Response) -> String {
        let words: Vec<_> = answer.message().collect();
        self.hide_password(&format!("{} {}", answer.code(), words.join(" ")))
    }

    /// What went wrong, in words for a person. Where it is the certificate, the transport has parameters for that.
    fn explain(&self, error: &Error) -> String {
        let source = error.source().map(ToString::to_string);
        let words = self.hide_password(&source.unwrap_or_else(|| error.to_string()));
        if let Some(code) = error.status() {
            return format!("{code} {words}");
        }
        let found = PLAIN_WORDS.iter().find(|(known, _)| words.contains(known));
        let Some((_, plain)) = found else {
            return words;
        };
        if ![IS_AUTHORITY, NOT_TRUSTED].contains(plain) {
            return (*plain).to_owned();
        }
        let advice = match (&self.ca, self.encryption) {
            (Some(_), _) => "only the certificates of ca=FILE in mail.transport are",
            (None, Encryption::Implicit) => "ca=FILE in mail.transport trusts another",
            (None, _) => {
                "ca=FILE in mail.transport trusts another; tls=none is for a server on this machine"
            }
        };
        format!("{plain} ({advice})")
    }
}

/// Whether the connection can serve another mail.
fn keeps<T>(done: &Result<T, Failed>) -> bool {
    done.as_ref()
        .err()
        .is_none_or(|failed| failed.keeps_connection)
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
