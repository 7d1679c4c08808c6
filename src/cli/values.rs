//! Values as they are given: `key=text`, `key:=json`, `JSON`, `@FILE` and `-`.

use std::fs;
use std::io::{self, Read};

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::json::Json;
use crate::model::document::AttributeValue;
use crate::time::When;

/// A text body: itself, a file's content (`@FILE`), or standard input (`-`).
pub(super) fn body(given: &str) -> Result<String> {
    match (given, given.strip_prefix('@')) {
        ("-", _) => {
            let mut text = String::new();
            match io::stdin().read_to_string(&mut text) {
                Ok(_) => Ok(text),
                Err(source) => Err(Error::io("standard input".as_ref(), source)),
            }
        }
        (_, Some(path)) => {
            fs::read_to_string(path).map_err(|source| Error::io(path.as_ref(), source))
        }
        _ => Ok(given.to_owned()),
    }
}

/// A JSON body, given as [`body`] is.
pub(super) fn json(option: &str, given: &str) -> Result<Json> {
    Json::parse(body(given)?.trim()).map_err(|error| not_json(option, error))
}

fn not_json(thing: &str, error: serde_json::Error) -> Error {
    Error::invalid(thing, format!("this is not JSON: {error}"))
}

/// `key=text` and `key:=json` pairs, in order.
pub(super) fn pairs(option: &str, given: &[String]) -> Result<Vec<(String, Value)>> {
    let read = given.iter().map(|pair| {
        let (key, value) = read_pair(option, pair, None)?;
        Ok((key, value.into()))
    });
    read.collect()
}

/// `key=text`, `key:=json` and `key@=time` pairs, in order.
pub(super) fn attributes(
    option: &str,
    given: &[String],
    when: When,
) -> Result<Vec<(String, AttributeValue)>> {
    let read = given.iter().map(|pair| read_pair(option, pair, Some(when)));
    read.collect()
}

/// A pair; with `when`, its value may be a time.
fn read_pair(option: &str, pair: &str, when: Option<When>) -> Result<(String, AttributeValue)> {
    let thing = format!("{option} {pair}");
    let Some((key, text)) = pair.split_once('=') else {
        return Err(Error::usage(thing, "write key=text or key:=json"));
    };
    let (key, value) = if let Some(key) = key.strip_suffix(':') {
        let value = serde_json::from_str(&body(text)?);
        let value =
            value.map_err(|error| Error::usage(&thing, format!("this is not JSON: {error}")))?;
        (key, AttributeValue::Json(value))
    } else if let (Some(key), Some(When { zone, now })) = (key.strip_suffix('@'), when) {
        let time = match text {
            "" => Ok(String::new()),
            text => zone.write_words(text, now),
        };
        let time = time.map_err(|error| Error::usage(&thing, error))?;
        (key, AttributeValue::Text(time))
    } else {
        (key, AttributeValue::Text(text.to_owned()))
    };
    if key.is_empty() {
        return Err(Error::usage(thing, "the name before '=' is missing"));
    }
    Ok((key.to_owned(), value))
}

/// The JSON object of a body that pairs are added to; an empty one without a body.
pub(super) fn object(
    body_option: &str,
    body: Option<&str>,
    pair_option: &str,
) -> Result<Map<String, Value>> {
    let Some(body) = body else {
        return Ok(Map::new());
    };
    match json(body_option, body)?.value() {
        Value::Object(object) => Ok(object),
        _ => Err(Error::invalid(
            body_option,
            format!("with {pair_option} it must be a JSON object, such as {{\"source\": \"web\"}}"),
        )),
    }
}
