//! Mail addresses and lists of them, in the plain part of RFC 5322's grammar.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Invalid;

/// Longest display name, in characters: beyond it a header line could pass the 998 bytes that SMTP allows.
const NAME_LIMIT: usize = 200;

/// What a display name holds only between quotes, since it means something in a list of addresses.
pub(super) const SPECIALS: &[char] = &['(', ')', '<', '>', '[', ']', ':', ';', '@', '\\', ',', '"'];

/// One address, with or without a display name: `ann@example.org`, `Ann <ann@example.org>`, `"Doe, Ann" <…>`.
///
/// Reading one refuses control characters anywhere, more than one address, comments and quoted local parts, and a
/// local part that starts with `-`, which a mail program would take for an option. As JSON it is that text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    name: Option<String>,
    mail: lettre::Address,
}

impl Address {
    /// The bare address: `ann@example.org`.
    #[must_use]
    pub fn mail(&self) -> &str {
        self.mail.as_ref()
    }

    /// The display name without its quotes, if there is one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The address as the envelope and the headers take it: beside a local part in ASCII, a domain beyond it has its
    /// ASCII form, which any server takes.
    pub(super) fn bare(&self) -> lettre::Address {
        let (user, domain) = (self.mail.user(), self.mail.domain());
        if !user.is_ascii() || domain.is_ascii() {
            return self.mail.clone();
        }
        idna::domain_to_ascii(domain)
            .ok()
            .and_then(|domain| lettre::Address::new(user, domain).ok())
            .unwrap_or_else(|| self.mail.clone())
    }
}

impl FromStr for Address {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let text = text.trim_matches(' ');
        let read = || {
            refuse_controls(text)?;
            let named = text.strip_suffix('>').map(|rest| rest.rsplit_once('<'));
            let (name, mail) = match named {
                Some(split) => split.ok_or_else(|| Invalid::new("a “<” is missing"))?,
                None => ("", text),
            };
            Ok(Self {
                name: read_name(name)?,
                mail: read_mail(mail)?,
            })
        };
        read().map_err(|reason: Invalid| reason.about(&format!("address {text:?}")))
    }
}

pub(super) fn refuse_controls(text: &str) -> Result<(), Invalid> {
    if text.contains(char::is_control) {
        return Err(Invalid::new("it holds a control character"));
    }
    Ok(())
}

/// Reads words and quoted strings up to the `<`; `None` when there is nothing.
fn read_name(text: &str) -> Result<Option<String>, Invalid> {
    let mut name = String::new();
    let mut quoting = Quoting::default();
    for letter in text.chars() {
        match quoting.step(letter) {
            Role::Mark => {}
            Role::Plain if SPECIALS.contains(&letter) => {
                return Err(Invalid::new(format!(
                    "a name with {letter:?} needs quotes around it"
                )));
            }
            Role::Plain | Role::Quoted => name.push(letter),
        }
    }
    quoting.closed()?;
    let name = name.trim();
    if name.chars().count() > NAME_LIMIT {
        return Err(Invalid::new(format!(
            "its name is longer than {NAME_LIMIT} characters"
        )));
    }
    Ok(Some(name.to_owned()).filter(|name| !name.is_empty()))
}

fn read_mail(text: &str) -> Result<lettre::Address, Invalid> {
    if text.starts_with('-') {
        return Err(Invalid::new(
            "it starts with “-”, as an option of a mail program does",
        ));
    }
    if text.contains(|letter: char| letter.is_whitespace() || letter == '"') {
        return Err(Invalid::new(
            "it must be one address, like ann@example.org or Ann <ann@example.org>",
        ));
    }
    text.parse()
        .map_err(|_| Invalid::new("it must look like ann@example.org or Ann <ann@example.org>"))
}

impl Display for Address {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self.name() {
            None => out.write_str(self.mail()),
            Some(name) if name.contains(SPECIALS) => {
                write!(out, "\"{}\" <{}>", escape(name), self.mail())
            }
            Some(name) => write!(out, "{name} <{}>", self.mail()),
        }
    }
}

/// The text as it stands inside a quoted string.
pub(super) fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

impl TryFrom<String> for Address {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

/// Where a reader stands with regard to quoted strings.
#[derive(Debug, Default)]
pub(super) struct Quoting {
    pub(super) inside: bool,
    escaped: bool,
}

/// What a letter is for: structure, text of a quoted string, or text outside of one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Role {
    Mark,
    Quoted,
    Plain,
}

impl Quoting {
    pub(super) fn step(&mut self, letter: char) -> Role {
        if std::mem::take(&mut self.escaped) {
            return Role::Quoted;
        }
        match letter {
            '"' => self.inside = !self.inside,
            '\\' if self.inside => self.escaped = true,
            _ if self.inside => return Role::Quoted,
            _ => return Role::Plain,
        }
        Role::Mark
    }

    fn closed(&self) -> Result<(), Invalid> {
        if self.inside {
            return Err(Invalid::new("a closing quote is missing"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Address;

    fn read(text: &str) -> (Option<String>, String) {
        let address: Address = text.parse().unwrap();
        (address.name().map(str::to_owned), address.mail().to_owned())
    }

    #[test]
    fn an_address_may_have_a_name() {
        for (text, name, mail) in [
            ("ann@example.org", None, "ann@example.org"),
            (" <ann@example.org> ", None, "ann@example.org"),
            ("Ann <ann@example.org>", Some("Ann"), "ann@example.org"),
            (
                "Élodie Durand <e@example.org>",
                Some("Élodie Durand"),
                "e@example.org",
            ),
            (
                r#""Doe, \"J\" <x@y>" <j@example.org>"#,
                Some(r#"Doe, "J" <x@y>"#),
                "j@example.org",
            ),
            ("root@localhost", None, "root@localhost"),
            ("élodie@exemple.fr", None, "élodie@exemple.fr"),
        ] {
            assert_eq!(
                read(text),
                (name.map(str::to_owned), mail.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_single_safe_address_is_refused_with_a_sentence() {
        for text in [
            "",
            "ann",
            "@example.org",
            "ann@",
            "a@b@c.org",
            "-oQ@example.org",
            "-oQ@x",
            "Ann <-f@example.org>",
            "a@example.org, b@example.org",
            "a@example.org b@example.org",
            "a@example.org;b@example.org",
            "a@example.org <b@example.org>",
            "a@example.org, Ann <b@example.org>",
            "Ann <a@example.org",
            "Ann a@example.org>",
            "\"Ann <a@example.org>",
            "<a@example.org><b@example.org>",
            "\"a b\"@example.org",
            "a@example.org\r\nBcc: b@example.org",
            "Ann\n<a@example.org>",
            "a\0@example.org",
            "a\t@example.org",
            "a\u{85}@example.org",
            "a@exam ple.org",
        ] {
            let refusal = text.parse::<Address>().unwrap_err().to_string();
            assert!(
                refusal.contains(": ") && !refusal.contains('\n'),
                "{text:?}: {refusal}"
            );
        }
    }

    #[test]
    fn an_address_is_a_text_in_json() {
        let address: Address = serde_json::from_str(r#""\"Doe, J\" <j@example.org>""#).unwrap();
        assert_eq!(
            serde_json::to_string(&address).unwrap(),
            r#""\"Doe, J\" <j@example.org>""#
        );
        assert!(serde_json::from_str::<Address>(r#""j""#).is_err());
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back_the_same(name in "\\PC{0,30}", user in "[a-z0-9é.!#$&'*+/=?^_`{|}~]{1,20}") {
            let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
            if let Ok(address) = format!("\"{quoted}\" <{user}@example.org>").parse::<Address>() {
                prop_assert_eq!(address.to_string().parse::<Address>().unwrap(), address.clone());
            }
        }
    }
}
