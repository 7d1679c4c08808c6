//! The URL of an SMTP server, and how to speak with it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use lettre::transport::smtp::authentication::Credentials;
use percent_encoding::percent_decode_str;
use url::{Host, ParseError, Url};

use super::delivery::TIMEOUT;

const PORT: &str = "the port, after the host and a colon, is a number from 1 to 65535";

/// An SMTP server, and how to speak with it.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) encryption: Encryption,
    pub(super) login: Option<Login>,
    /// A PEM file; the certificates in it are trusted, and no others.
    pub(super) ca: Option<PathBuf>,
    /// For one mail as a whole.
    pub(super) timeout: Duration,
}

/// When the connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encryption {
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
pub(super) struct Login {
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
            let hint = if text.contains('@') {
                "; in a login, / ? # @ and % are written %2F %3F %23 %40 and %25"
            } else {
                ""
            };
            format!("mail transport: {reason}{hint}")
        })
    }

    fn read(text: &str, folder: &Path) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| match error {
            ParseError::InvalidPort => PORT,
            _ => "it must look like smtp://host, smtp://host:port or smtps://user:password@host",
        })?;
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
            return Err(PORT.to_owned());
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

    /// The text without the password, as it is or as it was sent: a server may repeat what it was sent.
    pub(super) fn hide_password(&self, text: &str) -> String {
        let Some(Login { user, password }) = &self.login else {
            return text.to_owned();
        };
        let mut text = text.replace(password, "***");
        for secret in [&format!("\0{user}\0{password}"), password] {
            text = text.replace(BASE64.encode(secret).trim_end_matches('='), "***");
        }
        text
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
    let is_hex = |rest: &str| {
        let digits = rest.bytes().take_while(u8::is_ascii_hexdigit);
        digits.count() >= 2
    };
    if !text.split('%').skip(1).all(is_hex) {
        return Err("two digits from 0 to F follow each %, and % itself is written %25".to_owned());
    }
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(String::from)
        .map_err(|_| "the bytes that are written with % make no UTF-8".to_owned())
}

impl Login {
    pub(super) fn credentials(&self) -> Credentials {
        Credentials::new(self.user.clone(), self.password.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::{Encryption, Server};

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
}
