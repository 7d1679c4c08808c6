//! Lists of addresses, and what a value may bring into one.

use super::address::{Quoting, Role, SPECIALS, escape, refuse_controls};
use super::{Address, Invalid};

/// Reads addresses with commas between them; none at all is an empty list.
///
/// # Errors
///
/// When one of them is no [`Address`]; the sentence names it.
pub fn parse_list(text: &str) -> Result<Vec<Address>, Invalid> {
    gather([Piece::Written(text)])
}

/// A stretch of a filled list of addresses.
#[derive(Debug, Clone, Copy)]
pub(super) enum Piece<'a> {
    /// By the template's author, whose commas and quotes are the list's structure.
    Written(&'a str),
    /// By a value of the document.
    Filled(&'a str),
}

/// Reads the list that the pieces make. A value that stands alone between the author's commas may be a whole list;
/// beside anything else it is part of the one address there: escaped inside the author's quotes, refused outside of
/// them when it holds what would end that part. So a value brings recipients only where the author left it the place.
pub(super) fn gather<'a>(
    pieces: impl IntoIterator<Item = Piece<'a>>,
) -> Result<Vec<Address>, Invalid> {
    let mut list = Vec::new();
    let mut item = Item::default();
    for piece in pieces {
        match piece {
            Piece::Filled(value) => item.fill(value),
            Piece::Written(text) => {
                for letter in text.chars() {
                    if item.write(letter) {
                        list.extend(std::mem::take(&mut item).read()?);
                    }
                }
            }
        }
    }
    list.extend(item.read()?);
    Ok(list)
}

/// What stands between two commas.
#[derive(Default)]
struct Item<'a> {
    text: String,
    quoting: Quoting,
    written: bool,
    loose: Vec<&'a str>,
}

impl<'a> Item<'a> {
    /// Takes one letter of the author's; true when it was the comma that ends the item.
    fn write(&mut self, letter: char) -> bool {
        if self.quoting.step(letter) == Role::Plain && letter == ',' {
            return true;
        }
        self.written |= letter != ' ';
        self.text.push(letter);
        false
    }

    fn fill(&mut self, value: &'a str) {
        if self.quoting.inside {
            self.text.push_str(&escape(value));
        } else {
            self.loose.push(value);
            self.text.push_str(value);
        }
    }

    fn read(self) -> Result<Vec<Address>, Invalid> {
        match self.loose.as_slice() {
            [] if !self.written => return Ok(Vec::new()),
            [list] if !self.written => return read_value(list),
            _ => {}
        }
        let split =
            |value: &&&str| value.contains(|letter| letter != '@' && SPECIALS.contains(&letter));
        if let Some(value) = self.loose.iter().find(split) {
            return Err(Invalid::new(format!(
                "the value {value:?} can't be part of an address; quotes may help"
            )));
        }
        Ok(vec![self.text.parse()?])
    }
}

/// A value that stands alone. Its own commas are structure: nobody else could have meant them.
fn read_value(value: &str) -> Result<Vec<Address>, Invalid> {
    refuse_controls(value).map_err(|reason| reason.about(&format!("the value {value:?}")))?;
    parse_list(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Piece, gather, parse_list};
    use crate::mail::Address;

    fn mails(list: &[Address]) -> Vec<&str> {
        list.iter().map(Address::mail).collect()
    }

    #[test]
    fn a_list_has_commas_between_its_addresses() {
        let list =
            parse_list(r#"ann@example.org, "Doe, J" <j@example.org>,, Bob <b@example.org>,"#)
                .unwrap();
        assert_eq!(
            mails(&list),
            ["ann@example.org", "j@example.org", "b@example.org"]
        );
        assert_eq!(parse_list("  ").unwrap(), []);
        assert!(
            parse_list("ann@example.org, nobody")
                .unwrap_err()
                .to_string()
                .contains("nobody")
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_reading_panic(text in "\\PC*") {
            let _ = parse_list(&text);
        }

        #[test]
        fn a_value_inside_an_address_never_adds_one(
            value in "[a@.,;<>\"\\\\ :()]{0,12}|(\"[,<>@a. ]*\" <a@b>(, )?){0,3}",
            frame in 0..5usize,
        ) {
            let (before, after) = [
                ("", " <bob@x.org>"), ("\"", "\" <bob@x.org>"), ("\"Doe, ", ", J\" <bob@x.org>"),
                ("Bob <", ">"), ("", "@x.org"),
            ][frame];
            let pieces = [Piece::Written(before), Piece::Filled(&value), Piece::Written(after)];
            if let Ok(list) = gather(pieces) {
                prop_assert_eq!(list.len(), 1);
            }
        }

        #[test]
        fn between_the_authors_quotes_any_printable_value_is_only_a_name(value in "\\PC{1,40}") {
            let pieces = [Piece::Written("\""), Piece::Filled(&value), Piece::Written("\" <bob@x.org>, c@x.org")];
            let list = gather(pieces).unwrap();
            prop_assert_eq!(mails(&list), ["bob@x.org", "c@x.org"]);
        }
    }
}
