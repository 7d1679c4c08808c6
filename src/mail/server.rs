//! The address of an SMTP server: host, port, encryption and login.

use std::path::PathBuf;
use std::time::Duration;

use super::Invalid;
use super::transport::{Limits, wrong};

/// An SMTP server, and how to speak with it.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Tls,
    pub(super) login: Option<Login>,
    pub(super) ca: Option<PathBuf>,
}

/// When the connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tls {
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
    pub(super) user: String,
    pub(super) password: String,
}

impl Server {
    /// Reads what follows `smtp://` or `smtps://`.
    pub(super) fn read(scheme: &str, rest: &str, limits: &mut Limits) -> Result<Self, Invalid> {
        let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        Self::read_parts(scheme, place, parameters, limits).map_err(|error| {
            // What was meant for the password may have been taken for a parameter.
            match parameters.contains('@') {
                true => Invalid::new(format!(
                    "{error}; in a login, a ? is written %3F and a @ %40"
                )),
                false => error,
            }
        })
    }

    fn read_parts(
        scheme: &str,
        place: &str,
        parameters: &str,
        limits: &mut Limits,
    ) -> Result<Self, Invalid> {
        let (login, place) = match place.rsplit_once('@') {
            None => (None, place),
            Some((login, place)) => (Some(read_login(login)?), place),
        };
        let tls = if scheme == "smtps" {
            Tls::Implicit
        } else {
            Tls::Offered
        };
        let default_port = match (tls, &login) {
            (Tls::Implicit, _) => 465,
            (_, Some(_)) => 587,
            (_, None) => 25,
        };
        let (host, port) = read_place(place.strip_suffix('/').unwrap_or(place), default_port)?;
        let mut server = Server {
            host,
            port,
            tls,
            login,
            ca: None,
        };
        for parameter in parameters
            .split('&')
            .filter(|parameter| !parameter.is_empty())
        {
            read_parameter(parameter, &mut server, limits)?;
        }
        Ok(server)
    }
}

fn read_login(text: &str) -> Result<Login, Invalid> {
    let (user, password) = text
        .split_once(':')
        .ok_or_else(|| wrong("a login is user:password"))?;
    let (user, password) = (decode(user)?, decode(password)?);
    if user.is_empty() || password.is_empty() {
        return Err(wrong("a login is user:password, neither of them empty"));
    }
    if format!("{user}{password}").contains(char::is_control) {
        return Err(wrong("the login holds a control character"));
    }
    Ok(Login { user, password })
}

/// Reads `host`, `host:port`, `[::1]` or `[::1]:port`.
fn read_place(text: &str, default_port: u16) -> Result<(String, u16), Invalid> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').unwrap_or_default())),
        None => text
            .split_once(':')
            .map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let known = |letter: char| letter.is_alphanumeric() || "-._:".contains(letter);
    if host.is_empty() || !host.chars().all(known) {
        return Err(wrong(
            "the host is not a name or an address ([…] around one of IPv6)",
        ));
    }
    let port = port.map_or(Some(default_port), |port| {
        port.parse().ok().filter(|port| *port != 0)
    });
    Ok((
        host.to_owned(),
        port.ok_or_else(|| wrong("the port is not a number from 1 to 65535"))?,
    ))
}

fn read_parameter(text: &str, server: &mut Server, limits: &mut Limits) -> Result<(), Invalid> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    match (name, value) {
        ("tls", "required") if server.tls != Tls::Implicit => server.tls = Tls::Required,
        ("tls", "none") if server.tls != Tls::Implicit => server.tls = Tls::Never,
        ("ca", file) if !file.is_empty() => server.ca = Some(PathBuf::from(decode(file)?)),
        ("timeout", seconds) => {
            let seconds = seconds
                .parse()
                .ok()
                .filter(|seconds| (1..=3600).contains(seconds));
            limits.send = Duration::from_secs(
                seconds.ok_or_else(|| wrong("timeout is a number of seconds"))?,
            );
        }
        _ => {
            return Err(wrong(
                "the parameters are tls=required, tls=none (of smtp://), ca=FILE and timeout=SECONDS",
            ));
        }
    }
    Ok(())
}

/// Undoes percent-encoding.
fn decode(text: &str) -> Result<String, Invalid> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => hex(rest.next())
                .zip(hex(rest.next()))
                .map(|(high, low)| high * 16 + low),
            byte => Some(byte),
        });
    }
    let bytes: Option<Vec<u8>> = bytes.into_iter().collect();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| wrong("after a % come two hex digits that make UTF-8; a % itself is %25"))
}

fn hex(digit: Option<u8>) -> Option<u8> {
    char::from(digit?)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::{Server, Tls};
    use crate::mail::Transport;
    use crate::mail::transport::Way;

    fn server(text: &str) -> Server {
        match Transport::parse(text).unwrap().way {
            Way::Smtp(server) => server,
            _ => panic!("no server"),
        }
    }

    #[test]
    fn a_server_has_the_port_of_its_kind_unless_told() {
        for (text, host, port, tls) in [
            (
                "smtp://mail.example.org",
                "mail.example.org",
                25,
                Tls::Offered,
            ),
            (
                "smtp://mail.example.org:2525/",
                "mail.example.org",
                2525,
                Tls::Offered,
            ),
            (
                "smtp://u:p@mail.example.org",
                "mail.example.org",
                587,
                Tls::Offered,
            ),
            (
                "smtps://u:p@mail.example.org",
                "mail.example.org",
                465,
                Tls::Implicit,
            ),
            ("smtp://[::1]:25?tls=required", "::1", 25, Tls::Required),
            ("smtp://localhost?tls=none", "localhost", 25, Tls::Never),
        ] {
            let server = server(text);
            assert_eq!(
                (server.host.as_str(), server.port, server.tls),
                (host, port, tls),
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
        let open = server("smtp://mail.example.org:25?ca=/x@y.pem");
        assert!(open.host == "mail.example.org" && open.login.is_none());
        for text in [
            "smtp://u:p?w@mail.example.org",
            "smtp://u:1?2@mail.example.org",
        ] {
            let refusal = Transport::parse(text).unwrap_err().to_string();
            assert!(refusal.contains("%3F"), "{refusal}");
        }
    }

    #[test]
    fn login_and_parameters_are_percent_decoded() {
        let server = server(
            "smtp://ann%40example.org:a%3Ab%2F%25%C3%A9@mail.example.org?ca=/etc/my%20ca.pem",
        );
        let login = server.login.unwrap();
        assert_eq!(
            (login.user.as_str(), login.password.as_str()),
            ("ann@example.org", "a:b/%é")
        );
        assert_eq!(server.ca.as_deref(), Some(Path::new("/etc/my ca.pem")));
        let limits = Transport::parse("smtp://localhost?timeout=7")
            .unwrap()
            .limits;
        assert_eq!(
            (limits.connect, limits.send),
            (Duration::from_secs(5), Duration::from_secs(7))
        );
    }
}
