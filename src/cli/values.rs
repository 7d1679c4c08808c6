//! Values as they are given: `key=text`, `key:=json`, `JSON`, `@FILE` and `-`.

use std::fs;
use std::io::{self, Read};
use std::str::FromStr;

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::json::Json;

/// A text body: itself, a file's content (`@FILE`), or standard input (`-`).
pub(super) fn body(given: &str) -> Result<String> {
    if given == "-" {
        let mut text = String::new();
        return match io::stdin().read_to_string(&mut text) {
            Ok(_) => Ok(text),
            Err(source) => Err(Error::Io {
                thing: "standard input".to_owned(),
                source,
            }),
        };
    }
    match given.strip_prefix('@') {
        Some(path) => fs::read_to_string(path).map_err(|source| Error::io(path.as_ref(), source)),
        None => Ok(given.to_owned()),
    }
}

/// A JSON body, given as [`body`] is.
pub(super) fn json(option: &str, given: &str) -> Result<Json> {
    let text = body(given)?;
    Json::parse(text.trim())
        .map_err(|error| Error::invalid(option, format!("this is not JSON: {error}")))
}

/// One of the words that an option or argument takes.
pub(super) fn word<T: FromStr<Err = Error>>(option: &str, given: &str) -> Result<T> {
    given.parse().map_err(|error| match error {
        Error::Invalid { reason, .. } => Error::usage(option, reason),
        other => other,
    })
}

/// Puts `key=text` and `key:=json` pairs into an object.
pub(super) fn add_pairs(
    option: &str,
    object: &mut Map<String, Value>,
    pairs: &[String],
) -> Result<()> {
    for pair in pairs {
        let (key, value) = read_pair(option, pair)?;
        object.insert(key, value);
    }
    Ok(())
}

fn read_pair(option: &str, pair: &str) -> Result<(String, Value)> {
    let wrong = |reason: String| Error::invalid(format!("{option} {pair}"), reason);
    let (key, value) = pair
        .split_once('=')
        .ok_or_else(|| Error::usage(format!("{option} {pair}"), "write key=text or key:=json"))?;
    let (key, value) = match key.strip_suffix(':') {
        Some(key) => {
            let text = body(value)?;
            let value = serde_json::from_str(&text)
                .map_err(|error| wrong(format!("this is not JSON: {error}")))?;
            (key, value)
        }
        None => (key, Value::from(value)),
    };
    match key {
        "" => Err(wrong("the name before '=' is missing".to_owned())),
        key => Ok((key.to_owned(), value)),
    }
}

/// A JSON object of a body and of pairs, the pairs after it.
pub(super) fn object(
    body_option: &str,
    body: Option<&str>,
    pair_option: &str,
    pairs: &[String],
) -> Result<Option<Json>> {
    let given = body.map(|given| json(body_option, given)).transpose()?;
    if pairs.is_empty() {
        return Ok(given);
    }
    let mut value = given.map_or_else(|| Value::Object(Map::new()), |given| given.value());
    let Value::Object(object) = &mut value else {
        let reason =
            format!("with {pair_option} it must be a JSON object, such as {{\"source\": \"web\"}}");
        return Err(Error::invalid(body_option, reason));
    };
    add_pairs(pair_option, object, pairs)?;
    Ok(Some(Json::from(&value)))
}
