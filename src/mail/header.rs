//! Headers as they go out: in ASCII, and in lines that are short enough.

use std::fmt::{self, Write};

use email_encoding::headers::writer::EmailWriter;
use email_encoding::headers::{quoted_string, rfc2047};
use lettre::message::header::{HeaderName, HeaderValue};

use super::{Address, Invalid};

/// What begins an encoded word. A text that holds it must be encoded as a whole, or it would decode into something else.
const ENCODED_WORD: &str = "=?";

/// A header that is a text.
///
/// # Errors
///
/// When the text cannot be encoded.
pub(super) fn text_header(name: &'static str, text: &str) -> Result<HeaderValue, Invalid> {
    let header = HeaderName::new_from_ascii_str(name);
    if !text.contains(ENCODED_WORD) {
        return Ok(HeaderValue::new(header, text.to_owned()));
    }
    let mut encoded = String::new();
    let mut line = EmailWriter::new(&mut encoded, begin(name), 0, false);
    rfc2047::encode(text, &mut line).map_err(|error| unfit(name, error))?;
    drop(line);
    Ok(HeaderValue::dangerous_new_pre_encoded(
        header,
        text.to_owned(),
        encoded,
    ))
}

/// A header that is a list of addresses, each of them on a line of its own.
///
/// # Errors
///
/// When one of them cannot be encoded.
pub(super) fn address_header(name: &'static str, list: &[Address]) -> Result<HeaderValue, Invalid> {
    let mut encoded = String::new();
    for address in list {
        let begin = match encoded.is_empty() {
            true => begin(name),
            false => {
                encoded.push_str(",\r\n ");
                1
            }
        };
        encode_address(address, EmailWriter::new(&mut encoded, begin, 0, false))
            .map_err(|error| unfit(name, error))?;
    }
    // The library reads the plain form of one header alone, to see that there is a sender.
    let plain = list.iter().map(|address| address.bare().to_string());
    let plain = plain.collect::<Vec<_>>().join(", ");
    let header = HeaderName::new_from_ascii_str(name);
    Ok(HeaderValue::dangerous_new_pre_encoded(
        header, plain, encoded,
    ))
}

fn encode_address(address: &Address, mut line: EmailWriter<'_>) -> fmt::Result {
    let mail = address.bare();
    let Some(name) = address.name() else {
        return line.write_str(mail.as_ref());
    };
    match name.contains(ENCODED_WORD) {
        true => rfc2047::encode(name, &mut line)?,
        false => quoted_string::encode(name, &mut line)?,
    }
    line.space();
    write!(line, "<{mail}>")
}

/// Where on its line the value of a header begins.
fn begin(name: &str) -> usize {
    name.len() + ": ".len()
}

fn unfit(name: &str, _: fmt::Error) -> Invalid {
    Invalid::new(format!("its {name} cannot be encoded"))
}
