//! Timers and documents: making them, and looking at what hangs on them.

use serde_json::Value;

use super::runner::Home;

impl Home {
    /// Defines a timer by its actions.
    pub fn timer(&self, name: &str, actions: &[&str]) {
        self.timer_with(name, &[], actions);
    }

    /// Defines a timer with these options of `timer set` and its actions.
    pub fn timer_with(&self, name: &str, options: &[&str], actions: &[&str]) {
        let mut arguments = vec!["timer", "set", name];
        arguments.extend(options);
        arguments.extend(actions.iter().flat_map(|action| ["--action", action]));
        self.ok(arguments);
    }

    /// Adds a document with a title, in the state `open`, with a date in its attribute `deadline`; its id.
    pub fn document(&self, title: &str, deadline: &str) -> String {
        let deadline = format!("deadline={deadline}");
        self.ok([
            "doc", "add", "--title", title, "--state", "open", "-a", &deadline,
        ])
    }

    /// All of a document.
    pub fn shown(&self, doc: &str) -> Value {
        self.json(["doc", "show", doc])
    }

    /// The state of a document.
    pub fn state(&self, doc: &str) -> String {
        self.shown(doc)["state"].as_str().unwrap().to_owned()
    }

    /// The first attachment of a document.
    pub fn attached(&self, doc: &str) -> Value {
        self.shown(doc)["timers"][0].clone()
    }

    /// When the first attachment of a document is due.
    pub fn due(&self, doc: &str) -> Value {
        self.attached(doc)["due_at"].clone()
    }

    /// The messages of a document's history, oldest first.
    pub fn messages(&self, doc: &str) -> Vec<String> {
        let history = self.json(["doc", "history", doc]);
        let entries = history.as_array().unwrap().iter();
        entries
            .map(|entry| entry["message"].as_str().unwrap().to_owned())
            .collect()
    }
}
