//! A method: a named handler, the command that does the work of a task.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use crate::error::{Error, one_line};

/// What a name that stands for all methods of a service ends with.
const WHOLE_SERVICE: &str = ":*";

/// A registered handler.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Method {
    /// `Service:method`, or `Service:*` for all of a service's.
    pub name: String,
    /// The argv to start; no shell unless it names one.
    pub command: Vec<String>,
    /// The time limit of its tasks, unless they have their own: a duration.
    pub timeout: Option<String>,
    /// How often a task is tried again, unless it has its own number.
    pub retries: u32,
    /// Whether one process serves many tasks.
    pub resident: bool,
    /// How many tasks a resident process is given before it ends the first.
    pub pipeline: u32,
    /// Whether its tasks are not started.
    pub paused: bool,
    /// How many of its tasks run at once, over all ticks.
    pub max_running: Option<u32>,
    /// Whether of its tasks of one signature one runs at a time.
    pub serial: bool,
    /// Whether it is a function of this program, and not in the database.
    #[serde(skip)]
    pub is_function: bool,
}

impl Method {
    /// A method that starts this command, with the defaults of the rest.
    pub(crate) fn new(name: impl Into<String>, command: Vec<String>) -> Self {
        Self {
            name: name.into(),
            command,
            timeout: None,
            retries: 0,
            resident: false,
            pipeline: 1,
            paused: false,
            max_running: None,
            serial: false,
            is_function: false,
        }
    }

    /// A method that is a function of this program.
    fn function(name: &str) -> Self {
        Self {
            is_function: true,
            ..Self::new(name, Vec::new())
        }
    }

    /// The argv for a task of this `method`: a whole service gets the part after the colon as its last argument.
    pub(crate) fn argv(&self, method: &str) -> Vec<String> {
        let mut argv = self.command.clone();
        if let Some(service) = self.name.strip_suffix('*') {
            argv.extend(method.strip_prefix(service).map(str::to_owned));
        }
        argv
    }
}

/// The methods that tasks can have.
#[derive(Debug, Default)]
pub(crate) struct Methods(BTreeMap<String, Method>);

impl Methods {
    /// Those that are registered, and those that are functions of this program, which go before them.
    pub(crate) fn new<'a>(
        registered: Vec<Method>,
        functions: impl Iterator<Item = &'a str>,
    ) -> Self {
        let all = registered
            .into_iter()
            .chain(functions.map(Method::function));
        Self(all.map(|method| (method.name.clone(), method)).collect())
    }

    /// The handler of a task of this `method`: the one of that name, else the service with the longest name.
    pub(crate) fn find(&self, method: &str) -> Option<&Method> {
        self.0.get(method).or_else(|| {
            let services = method.rmatch_indices(':').map(|(colon, _)| colon);
            let mut services = services.filter(|colon| colon + 1 < method.len());
            services.find_map(|colon| self.0.get(&format!("{}{WHOLE_SERVICE}", &method[..colon])))
        })
    }

    /// The same, or an error that gives the nearest names.
    pub(crate) fn get(&self, method: &str) -> Result<&Method, Error> {
        if method.ends_with(WHOLE_SERVICE) {
            let reason = "this stands for all methods of a service; name one of them";
            return Err(Error::invalid(format!("method '{method}'"), reason));
        }
        self.find(method).ok_or_else(|| Error::NotFound {
            what: "method",
            name: format!("'{method}'"),
            hint: self.hint(method),
        })
    }

    /// The handler of a task: its own command if it has one, else its method.
    pub(crate) fn of_task(
        &self,
        method: &str,
        command: Option<&[String]>,
    ) -> Result<Cow<'_, Method>, Error> {
        match command {
            Some(command) => Ok(Cow::Owned(Method::new("", command.to_vec()))),
            None => self.get(method).map(Cow::Borrowed),
        }
    }

    fn hint(&self, method: &str) -> String {
        let near = self.nearest(method);
        if self.0.is_empty() {
            "none is registered yet; 'runner method set NAME -- COMMAND' does it".to_owned()
        } else if near.is_empty() {
            "'runner method list' shows them".to_owned()
        } else {
            let near = near.join(" or ");
            format!("did you mean {near}? 'runner method list' shows them")
        }
    }

    fn nearest(&self, method: &str) -> Vec<&str> {
        let wanted = method.to_lowercase();
        let names = self.0.keys().map(|name| {
            let likeness = strsim::jaro_winkler(&wanted, &name.to_lowercase());
            (likeness, name.as_str())
        });
        let mut near: Vec<_> = names.filter(|(likeness, _)| *likeness > 0.75).collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0));
        near.into_iter().take(3).map(|(_, name)| name).collect()
    }
}

/// Refuses a name that could not be called: an empty one, one with control characters, or one with a `*` elsewhere than
/// in `Service:*`.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let stem = name.strip_suffix(WHOLE_SERVICE).unwrap_or(name);
    let reason = if stem.is_empty() {
        "a method needs a name, such as Service:method"
    } else if stem.contains('*') {
        "'*' stands at the end, after a colon, for all methods of a service"
    } else if stem.chars().any(char::is_control) {
        "a name has no control characters"
    } else {
        return Ok(());
    };
    Err(Error::invalid(
        format!("method '{}'", one_line(name)),
        reason,
    ))
}
