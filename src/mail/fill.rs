//! Fills the parts of a template, and holds values to their places.

use std::ops::Range;

use minijinja::machinery::{Instruction, get_compiled_template};
use minijinja::value::{Value, ValueKind};
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, OutputSpanKind, State, Template,
    UndefinedBehavior,
};

use super::bounds::check_bounds;
use super::list::{Piece, gather};
use super::{Address, Invalid};

/// Steps that one part of a template may take, so that no loop in it can hold a tick.
const FUEL: u64 = 1_000_000;

/// The parts that are lists of addresses.
const ADDRESS_PARTS: [&str; 4] = ["from", "to", "cc", "bcc"];

pub(super) fn environment() -> Environment<'static> {
    let mut models = Environment::new();
    models.set_undefined_behavior(UndefinedBehavior::Strict);
    models.set_fuel(Some(FUEL));
    models.set_auto_escape_callback(|part| {
        if part == "html" {
            AutoEscape::Html
        } else {
            AutoEscape::None
        }
    });
    models.set_formatter(write_value);
    // The one thing that a loop could nest without end: to free such a value takes as much of the stack.
    models.remove_global("namespace");
    models
}

fn write_value(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::None => Ok(()),
        ValueKind::Seq if ADDRESS_PARTS.contains(&state.name()) => {
            Ok(out.write_str(&join(value)?)?)
        }
        _ => minijinja::escape_formatter(out, state, value),
    }
}

/// An array in a list of addresses: each element must be one address, so that none can pass for two.
fn join(array: &Value) -> Result<String, Error> {
    let read = |element: Value| {
        let text = element
            .as_str()
            .ok_or_else(|| Invalid::new(format!("{element} is no address")))?;
        text.parse::<Address>()
    };
    let addresses: Result<Vec<_>, _> = array
        .try_iter()?
        .map(|element| read(element).map(String::from))
        .collect();
    let addresses =
        addresses.map_err(|reason| Error::new(ErrorKind::InvalidOperation, reason.to_string()))?;
    Ok(addresses.join(", "))
}

pub(super) fn fill(part: &str, source: &str, values: &Value) -> Result<String, Invalid> {
    check_bounds(part, source)?;
    environment()
        .render_named_str(part, source, values)
        .map_err(|error| explain(part, source, &error))
}

/// Fills a part that goes into the head of the mail: whose stretches are known to be the author's or a value's.
fn fill_header(
    part: &str,
    source: &str,
    values: &Value,
) -> Result<Vec<(OutputSpanKind, String)>, Invalid> {
    check_bounds(part, source)?;
    let models = environment();
    let filled = models
        .template_from_named_str(part, source)
        .and_then(|model| model.render_with_spans(values));
    let (text, spans) = filled.map_err(|error| explain(part, source, &error))?;
    let stretch = |range: Range<usize>| text.get(range).unwrap_or_default().to_owned();
    spans
        .into_iter()
        .map(|span| one_line(span.kind(), stretch(span.output_range())))
        .collect::<Result<_, _>>()
        .map_err(|reason: Invalid| reason.about(part))
}

fn one_line(kind: OutputSpanKind, text: String) -> Result<(OutputSpanKind, String), Invalid> {
    if kind == OutputSpanKind::Raw {
        return Ok((kind, text.replace(['\r', '\n', '\t'], " ")));
    }
    if text.contains(char::is_control) {
        return Err(Invalid::new(format!(
            "the value {text:?} holds a control character"
        )));
    }
    Ok((kind, text))
}

pub(super) fn fill_subject(source: &str, values: &Value) -> Result<String, Invalid> {
    let stretches = fill_header("subject", source, values)?;
    let subject: String = stretches.into_iter().map(|(_, text)| text).collect();
    Ok(subject.trim().to_owned())
}

pub(super) fn fill_addresses(
    part: &str,
    source: &str,
    values: &Value,
) -> Result<Vec<Address>, Invalid> {
    let stretches = fill_header(part, source, values)?;
    let pieces = stretches.iter().map(|(kind, text)| match kind {
        OutputSpanKind::Raw => Piece::Written(text),
        _ => Piece::Filled(text),
    });
    gather(pieces).map_err(|reason| reason.about(part))
}

/// Refuses a filter, a test or a function that there is not: else that would show when a mail is due, and no sooner.
pub(super) fn check_names(
    part: &str,
    models: &Environment<'_>,
    model: &Template<'_, '_>,
) -> Result<(), Invalid> {
    let compiled = get_compiled_template(model);
    let steps = (0..).map_while(|at| compiled.instructions.get(at));
    for step in steps {
        let (kind, name, is_known) = match step {
            Instruction::ApplyFilter(name, ..) => {
                ("filter", name, answers(models, "name is filter", name))
            }
            Instruction::PerformTest(name, ..) => {
                ("test", name, answers(models, "name is test", name))
            }
            Instruction::CallFunction(name, ..) => ("function", name, is_function(models, name)),
            _ => continue,
        };
        if !is_known {
            return Err(Invalid::new(format!("{part}: there is no {kind} “{name}”")));
        }
    }
    Ok(())
}

fn answers(models: &Environment<'_>, question: &str, name: &str) -> bool {
    let asked = models.compile_expression(question);
    let answer = asked.and_then(|question| question.eval(minijinja::context! { name }));
    answer.is_ok_and(|answer| answer.is_true())
}

/// A recursive loop calls itself.
fn is_function(models: &Environment<'_>, name: &str) -> bool {
    name == "loop" || models.globals().any(|(known, _)| known == name)
}

/// The sentence of the template library, with the part and the expression that it is about.
pub(super) fn explain(part: &str, source: &str, error: &Error) -> Invalid {
    let place = error
        .range()
        .and_then(|range| source.get(range))
        .map(|place| format!(" at “{place}”"));
    let detail = error
        .detail()
        .map_or_else(|| error.kind().to_string(), str::to_owned);
    Invalid::new(format!(
        "{part}{}: {}",
        place.unwrap_or_default(),
        detail.replace('\n', " ")
    ))
}
