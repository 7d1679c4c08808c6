//! What a template may hold, looked at before it is parsed: the parser takes some nestings as deep as they come, and a
//! stack that overflows ends the whole run.

use minijinja::machinery::{Token, tokenize};
use minijinja::syntax::SyntaxConfig;

use super::Invalid;

/// Longest part of a template, in bytes.
const PART_LIMIT: usize = 1024 * 1024;

/// Longest text between one pair of braces, in bytes.
const TAG_LIMIT: usize = 4096;

/// How many words and signs may stand between one pair of braces: each can be an operator that the rest hangs on.
const TAG_WORDS: usize = 500;

/// How many words and signs of the template language one part may have in all.
const PART_WORDS: usize = 100_000;

/// How many it may have when it sets variables: one can be put into itself each time, and a value that deep overflows the
/// stack when it is let go.
const PART_WORDS_WITH_SET: usize = 10_000;

/// How many `elif` one part may have: each is an `if` within the one before it.
const ELIF_LIMIT: usize = 200;

/// Refuses a part that could nest too deep. What is no template at all is left to the parser, which says where.
///
/// # Errors
/// When one of the limits is passed.
pub(super) fn check_bounds(part: &str, source: &str) -> Result<(), Invalid> {
    within_bounds(source).map_err(|reason| reason.about(part))
}

fn within_bounds(source: &str) -> Result<(), Invalid> {
    if source.len() > PART_LIMIT {
        return Err(too_much(&format!("{PART_LIMIT} bytes")));
    }
    let (mut words, mut elifs, mut most) = (0, 0, PART_WORDS);
    let (mut began, mut in_tag) = (0, 0);
    let mut is_first = false;
    for (token, place) in tokenize(source, false, SyntaxConfig::default()).map_while(Result::ok) {
        match token {
            Token::TemplateData(_) | Token::VariableEnd | Token::BlockEnd => continue,
            Token::VariableStart | Token::BlockStart => {
                (began, in_tag) = (place.start_offset, 0);
                is_first = true;
                continue;
            }
            Token::Ident("elif") if is_first => elifs += 1,
            Token::Ident("set") if is_first => most = PART_WORDS_WITH_SET,
            _ => {}
        }
        is_first = false;
        in_tag += 1;
        words += 1;
        let length = place.end_offset.saturating_sub(began) as usize;
        if in_tag > TAG_WORDS || length > TAG_LIMIT {
            return Err(Invalid::new(format!(
                "one of its {{{{…}}}} or {{%…%}} has more than {TAG_WORDS} words and signs, or {TAG_LIMIT} bytes; make several of it"
            )));
        }
        if elifs > ELIF_LIMIT {
            return Err(too_much(&format!("{ELIF_LIMIT} elif")));
        }
        if words > most {
            return Err(too_much(&format!("{most} words and signs between braces")));
        }
    }
    Ok(())
}

fn too_much(limit: &str) -> Invalid {
    Invalid::new(format!("it has more than {limit}; make it shorter"))
}
