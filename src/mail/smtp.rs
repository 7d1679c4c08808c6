//! SMTP, by lettre's connection: kept for many mails, each of which has a limit in time.

use std::error::Error as _;
use std::fs;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{
    Certificate, CertificateStore, SmtpConnection, TlsParameters,
};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::response::{Response, Severity};
use percent_encoding::percent_decode_str;
use url::{Host, Url};

use super::message::Message;
use super::transport::{Delivery, DeliveryError, Failure, Refusal, TIMEOUT, presentable, within};

/// How long one address of the server may take to accept the connection, and to greet.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a server may take to say goodbye.
const QUIT_TIMEOUT: Duration = Duration::from_secs(1);

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

/// An SMTP server, and how to speak with it.
#[derive(Clone)]
pub(super) struct Server {
    host: String,
    port: u16,
    encryption: Encryption,
    login: Option<Login>,
    /// A PEM file; the certificates in it are trusted, and no others.
    ca: Option<PathBuf>,
    timeout: Duration,
}

/// When the connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encryption {
    /// From the first byte.
    Implicit,
    /// By STARTTLS when it is offered.
    Offered,
    /// By STARTTLS, or not at all.
    Required,
    Never,
}

/// It has no `Debug`, so that it can't be shown by mistake.
#[derive(Clone)]
struct Login {
    user: String,
    password: String,
}

impl Server {
    /// Reads `smtp://[user:password@]host[:port]`, by default port 25, or 587 with a login, where STARTTLS is used when the
    /// server offers it; or `smtps://…`, TLS from the first byte, port 465. User, password and parameters are
    /// percent-decoded. Parameters, after a `?` and with `&` between them:
    ///
    /// - `tls=required`: no mail without STARTTLS; `tls=none`: never STARTTLS (a local server with a certificate of its
    ///   own making). Whatever they say, a certificate that does not fit ends the attempt, and **a login is sent in the
    ///   clear to a loopback address alone**.
    /// - `ca=FILE`: trust the certificates in this PEM file, and not the system's.
    /// - `timeout=SECONDS`: for one mail as a whole, 30 when not given.
    pub(super) fn parse(text: &str, folder: &Path) -> Result<Self, String> {
        Self::read(text, folder).map_err(|reason| {
            // Part of what was meant for the login may have been taken for something else.
            let hint = match text.contains('@') {
                true => "; in a login, / ? # @ and % are written %2F %3F %23 %40 and %25",
                false => "",
            };
            format!("mail transport: {reason}{hint}")
        })
    }

    fn read(text: &str, folder: &Path) -> Result<Self, String> {
        let url = Url::parse(text).map_err(
            |_| "it must look like smtp://host, smtp://host:port or smtps://user:password@host",
        )?;
        let host = match url.host() {
            Some(Host::Domain(name)) if !name.is_empty() => decode(name)?,
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            _ => return Err("it names no host".to_owned()),
        };
        if !["", "/"].contains(&url.path()) || url.fragment().is_some() {
            return Err("after host and port come parameters alone".to_owned());
        }
        let login = read_login(&url)?;
        let (encryption, port) = match (url.scheme(), &login) {
            ("smtps", _) => (Encryption::Implicit, 465),
            (_, Some(_)) => (Encryption::Offered, 587),
            (_, None) => (Encryption::Offered, 25),
        };
        let port = url.port().unwrap_or(port);
        if port == 0 {
            return Err("the port is a number from 1 to 65535".to_owned());
        }
        let mut server = Self {
            host,
            port,
            encryption,
            login,
            ca: None,
            timeout: TIMEOUT,
        };
        let parameters = url.query().unwrap_or_default().split('&');
        for parameter in parameters.filter(|parameter| !parameter.is_empty()) {
            server.read_parameter(parameter, folder)?;
        }
        Ok(server)
    }

    fn read_parameter(&mut self, text: &str, folder: &Path) -> Result<(), String> {
        let is_smtp = self.encryption != Encryption::Implicit;
        match text.split_once('=').unwrap_or((text, "")) {
            ("tls", "required") if is_smtp => self.encryption = Encryption::Required,
            ("tls", "none") if is_smtp => self.encryption = Encryption::Never,
            ("ca", file) if !file.is_empty() => self.ca = Some(folder.join(decode(file)?)),
            ("timeout", seconds) => {
                let seconds = seconds
                    .parse()
                    .ok()
                    .filter(|seconds| (1..=3600).contains(seconds));
                let seconds = seconds.ok_or("timeout is a number of seconds")?;
                self.timeout = Duration::from_secs(seconds);
            }
            _ => {
                return Err("the parameters are tls=required, tls=none (of smtp://), ca=FILE and timeout=SECONDS".to_owned());
            }
        }
        Ok(())
    }
}

fn read_login(url: &Url) -> Result<Option<Login>, String> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let user = decode(url.username())?;
    let password = decode(url.password().unwrap_or_default())?;
    if user.is_empty() || password.is_empty() {
        return Err("a login is user:password, neither of them empty".to_owned());
    }
    if user.contains(char::is_control) || password.contains(char::is_control) {
        return Err("the login holds a control character".to_owned());
    }
    Ok(Some(Login { user, password }))
}

fn decode(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(String::from)
        .map_err(|_| "the bytes that are written with % make no UTF-8".to_owned())
}

impl Login {
    fn credentials(&self) -> Credentials {
        Credentials::new(self.user.clone(), self.password.clone())
    }

    /// The text without the password, as it is or encoded: a server may repeat what it was told.
    fn hide_in(&self, text: &str) -> String {
        let decoded = percent_decode_str(text).decode_utf8_lossy();
        let text = match decoded.contains(&self.password) {
            true => decoded.replace(&self.password, "***"),
            false => text.to_owned(),
        };
        let both = format!("\0{}\0{}", self.user, self.password);
        [&both, &self.password]
            .into_iter()
            .fold(text, |text, secret| {
                text.replace(BASE64.encode(secret).trim_end_matches('='), "***")
            })
    }
}

/// A client of one server. The connection is opened by the first mail, and again by the first after one was lost.
pub(super) struct Smtp {
    server: Server,
    connection: Option<SmtpConnection>,
    /// The mail before this one met silence: another silence is the server's, not the mail's.
    met_silence: bool,
}

/// How far a conversation has come, for whoever waits for it.
struct Progress {
    step: String,
    is_connected: bool,
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
        let progress = Arc::new(Mutex::new(Progress {
            step: "RSET".to_owned(),
            is_connected: self.connection.is_some(),
        }));
        let mut conversation = Conversation {
            server: self.server.clone(),
            connection: self.connection.take(),
            progress: Arc::clone(&progress),
        };
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
                let progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
                let kind = match progress.is_connected && !was_silent {
                    true => Failure::Transient,
                    false => Failure::Unreachable,
                };
                Err(Failed::new(kind, &progress.step, "no answer in time"))
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
    progress: Arc<Mutex<Progress>>,
}

impl Conversation {
    fn send(&mut self, message: &Message) -> Result<Delivery, Failed> {
        if let Some(mut kept) = self.connection.take()
            && kept.command(Rset).is_ok()
        {
            match self.transfer(kept, message) {
                // It has gone stale, or has served as many mails as the server allows.
                Err(failed) if !failed.keeps_connection && self.is_at_sender() => {}
                done => return done,
            }
        }
        self.lock_progress().is_connected = false;
        let connection = self.connect().map_err(|failed| Failed {
            kind: Failure::Unreachable,
            ..failed
        })?;
        self.lock_progress().is_connected = true;
        self.transfer(connection, message)
    }

    /// Whether nothing of the mail is sent but who sends it.
    fn is_at_sender(&self) -> bool {
        self.lock_progress().step.starts_with(MAIL_FROM)
    }

    fn lock_progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does a step, and names it where it fails.
    fn step<T>(&self, name: &str, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Failed> {
        name.clone_into(&mut self.lock_progress().step);
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
        "connecting".clone_into(&mut self.lock_progress().step);
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
            step.clone_into(&mut self.lock_progress().step);
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::{Encryption, Login, Server};

    fn server(text: &str) -> Server {
        Server::parse(text, Path::new("/srv")).unwrap_or_else(|reason| panic!("{text}: {reason}"))
    }

    #[test]
    fn a_server_has_the_port_of_its_kind_unless_told() {
        use Encryption::{Implicit, Never, Offered, Required};
        for (text, host, port, encryption) in [
            ("smtp://mail.example.org", "mail.example.org", 25, Offered),
            (
                "smtp://mail.example.org:2525/",
                "mail.example.org",
                2525,
                Offered,
            ),
            (
                "smtp://u:p@mail.example.org",
                "mail.example.org",
                587,
                Offered,
            ),
            (
                "smtps://u:p@mail.example.org",
                "mail.example.org",
                465,
                Implicit,
            ),
            ("smtp://[::1]:25?tls=required", "::1", 25, Required),
            ("smtp://localhost?tls=none", "localhost", 25, Never),
        ] {
            let server = server(text);
            assert_eq!(
                (server.host.as_str(), server.port, server.encryption),
                (host, port, encryption),
                "{text}"
            );
        }
    }

    #[test]
    fn a_sign_of_a_login_in_a_parameter_does_not_change_the_host() {
        for text in [
            "smtp://u:pw@mail.example.org?ca=/x@y.pem",
            "smtp://u:p@w@mail.example.org?tls=required&ca=/x@y.pem",
        ] {
            let server = server(text);
            assert_eq!(server.host, "mail.example.org", "{text}");
            assert_eq!(server.ca.as_deref(), Some(Path::new("/x@y.pem")), "{text}");
        }
        let open = server("smtp://mail.example.org:25?ca=x@y.pem");
        assert!(open.host == "mail.example.org" && open.login.is_none());
        assert_eq!(open.ca.as_deref(), Some(Path::new("/srv/x@y.pem")));
        for text in [
            "smtp://u:p?w@mail.example.org",
            "smtp://u:1?2@mail.example.org",
            "smtp://u:1#2@mail.example.org",
            "smtp://u:1/2@mail.example.org",
        ] {
            let refusal = Server::parse(text, Path::new("")).err().unwrap();
            assert!(refusal.contains("%3F"), "{refusal}");
        }
    }

    #[test]
    fn login_and_parameters_are_percent_decoded() {
        let text = "smtp://ann%40example.org:a%3Ab%2F%25%C3%A9@mail.example.org?ca=/etc/my%20ca.pem&timeout=7";
        let server = server(text);
        let login = server.login.unwrap();
        assert_eq!(
            (login.user.as_str(), login.password.as_str()),
            ("ann@example.org", "a:b/%é")
        );
        assert_eq!(server.ca.as_deref(), Some(Path::new("/etc/my ca.pem")));
        assert_eq!(server.timeout, Duration::from_secs(7));
    }

    #[test]
    fn the_password_is_hidden_in_each_of_its_forms() {
        let login = Login {
            user: "ann".into(),
            password: "s3cret/é".into(),
        };
        for echo in [
            "s3cret/é",
            "s3cret%2F%C3%A9",
            "s3cret%2f%c3%a9",
            "%73%33cret/%C3%A9",
            "czNjcmV0L8Op",
            "AGFubgBzM2NyZXQvw6k=",
            "AGFubgBzM2NyZXQvw6k",
        ] {
            let shown = login.hide_in(&format!("535 {echo} of ann"));
            let shown = shown.replace("***=", "***");
            assert_eq!(shown, "535 *** of ann", "{echo}");
        }
    }
}
