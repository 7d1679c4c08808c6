//! A method: a named handler, the command that does the work of a task (seed 000, “method”).

use serde::Serialize;

use crate::error::Error;
use crate::functions::Functions;

/// What a name that stands for all methods of a service ends with.
const WHOLE_SERVICE: &str = ":*";

/// A registered handler.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Method {
    /// `Service:method`, or `Service:*` for all of a service's.
    pub name: String,
    /// The argv to start; no shell unless it names one.
    pub command: Vec<String>,
    /// The time limit of its tasks, unless they have their own: a duration.
    pub timeout: Option<String>,
    /// How often a task is tried again, unless it says so itself.
    pub retries: u32,
    /// Whether one process serves many tasks.
    pub resident: bool,
    /// How many tasks a resident process is given before it ends the first.
    pub pipeline: u32,
    /// Whether it is a function of this program, and not in the database.
    #[serde(skip)]
    pub native: bool,
}

impl Method {
    /// The argv for a task of this `method`: a whole service gets the part after the colon as its last argument.
    pub fn argv(&self, method: &str) -> Vec<String> {
        let mut argv = self.command.clone();
        let service = self.name.strip_suffix('*').unwrap_or(&self.name);
        if service != self.name {
            argv.extend(method.strip_prefix(service).map(str::to_owned));
        }
        argv
    }

    fn serves(&self, method: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(service) if self.name.ends_with(WHOLE_SERVICE) => {
                method.len() > service.len() && method.starts_with(service)
            }
            _ => self.name == method,
        }
    }
}

/// The methods that tasks can have.
#[derive(Debug, Default)]
pub struct Methods(Vec<Method>);

impl Methods {
    /// These methods.
    pub(crate) fn new(methods: Vec<Method>) -> Self {
        Self(methods)
    }

    /// These, and those that are functions of this program.
    #[must_use]
    pub(crate) fn with_natives(mut self, functions: &Functions) -> Self {
        self.0
            .retain(|known| functions.names().all(|name| name != known.name));
        self.0.extend(functions.names().map(|name| Method {
            name: name.to_owned(),
            command: Vec::new(),
            timeout: None,
            retries: 0,
            resident: false,
            pipeline: 1,
            native: true,
        }));
        self
    }

    /// The handler of a task of this `method`: the one of that name, else the service with the longest name.
    pub fn find(&self, method: &str) -> Option<&Method> {
        let whole = self.0.iter().find(|known| known.name == method);
        whole.or_else(|| {
            let services = self.0.iter().filter(|known| known.serves(method));
            services.max_by_key(|known| known.name.len())
        })
    }

    /// The same, or an error that gives the nearest names.
    ///
    /// # Errors
    /// When no handler is registered for it.
    pub fn get(&self, method: &str) -> Result<&Method, Error> {
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

    fn hint(&self, method: &str) -> String {
        match self.nearest(method).as_slice() {
            _ if self.0.is_empty() => {
                "none is registered yet; 'runner method set NAME -- COMMAND' does it".to_owned()
            }
            [] => "'runner method list' shows them".to_owned(),
            near => format!(
                "did you mean {}? 'runner method list' shows them",
                near.join(" or ")
            ),
        }
    }

    fn nearest(&self, method: &str) -> Vec<&str> {
        let wanted = method.to_lowercase();
        let mut near: Vec<(f64, &str)> = self
            .0
            .iter()
            .map(|known| {
                (
                    strsim::jaro_winkler(&wanted, &known.name.to_lowercase()),
                    known.name.as_str(),
                )
            })
            .filter(|(likeness, _)| *likeness > 0.75)
            .collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0));
        near.into_iter().take(3).map(|(_, name)| name).collect()
    }
}

/// Refuses a name that could not be called.
///
/// # Errors
/// When it is empty, has control characters, or a `*` elsewhere than in `Service:*`.
pub fn check_name(name: &str) -> Result<(), Error> {
    let stem = name.strip_suffix(WHOLE_SERVICE).unwrap_or(name);
    let reason = match stem {
        "" => "a method needs a name, such as Service:method",
        _ if stem.contains('*') => {
            "'*' stands at the end, after a colon, for all methods of a service"
        }
        _ if stem.chars().any(char::is_control) => "a name has no control characters",
        _ => return Ok(()),
    };
    Err(Error::invalid(
        format!("method '{}'", crate::error::one_line(name)),
        reason,
    ))
}
