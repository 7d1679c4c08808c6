//! The README is run as it is written: every command in it, in order, in one folder; and what it shows is what comes.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Output};

use crate::kit::programs::{Bin, is_installed};
use crate::kit::runner::Home;

const README: &str = include_str!("../../README.md");

/// Commands that run a program which not every machine has, and what is done there in their stead.
const NEEDING: [(&str, &str, &str); 5] = [
    ("runner task run 2 1", "python3", "runner task cancel 2"),
    ("runner task run 3 1", "php", "runner task cancel 3"),
    ("runner task run 4 1", "python3", "runner task cancel 4"),
    ("python3 add.py", "python3", "true"),
    ("php add.php", "php", "true"),
];

/// Building needs no second look here: the binary under test is what it makes.
const CARGO: &str = r#"[ "$1" = run ] || exit 0
while [ "$1" != -- ]; do shift; done
shift
exec runner "$@""#;

struct Reader {
    home: Home,
    bin: Bin,
}

impl Reader {
    fn new() -> Self {
        let home = Home::without_database();
        let bin = Bin::new(&home);
        bin.program("cargo", CARGO);
        bin.crontab("");
        Self { home, bin }
    }

    fn shell(&self, script: &str) -> Output {
        Command::new("sh")
            .args(["-e", "-c", script])
            .current_dir(self.home.folder())
            .env("PATH", self.bin.path())
            .env("TZ", "UTC")
            .env_remove("RUNNER_DB")
            .output()
            .unwrap()
    }

    /// A block of commands that must all succeed.
    fn follow(&self, script: &str) {
        let done = self.shell(script);
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success() && said.is_empty(), "{script}\n{said}");
    }

    /// A block that shows commands and what they answer.
    fn compare(&self, session: &str) {
        for part in format!("\n{session}").split("\n$ ").skip(1) {
            let (command, shown) = part.split_once('\n').unwrap_or((part, ""));
            let missing = NEEDING
                .iter()
                .find(|(needing, program, _)| command == *needing && !is_installed(program));
            if let Some((_, _, instead)) = missing {
                self.shell(instead);
                continue;
            }
            let answer = self.shell(&format!("{{ {command}\n}} 2>&1"));
            let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
            assert!(
                is_like(shown.trim_end(), answer.trim_end()),
                "$ {command}\n--- shown\n{shown}\n--- answered\n{answer}"
            );
        }
    }
}

/// Whether a text is as shown, where `…` stands for anything on a line and white space is white space.
fn is_like(shown: &str, text: &str) -> bool {
    let (shown, text): (Vec<_>, Vec<_>) = (shown.lines().collect(), text.lines().collect());
    shown.len() == text.len()
        && shown
            .iter()
            .zip(&text)
            .all(|(shown, line)| fits(shown, line))
}

fn fits(shown: &str, line: &str) -> bool {
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (shown, line) = (squeezed(shown), squeezed(line));
    let mut parts = shown.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in between {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The examples of the library are compiled where they stand in its documentation.
fn is_example_of_the_library(content: &str) -> bool {
    let documented: Vec<&str> = include_str!("../../src/functions.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("//!"))
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    documented.join("\n").contains(content)
}

/// The fenced blocks, with their language.
fn blocks() -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut lines = README.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let content: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push((language.to_owned(), content.join("\n")));
        }
    }
    blocks
}

#[test]
fn every_command_works_as_it_is_written_and_answers_what_is_shown() {
    let reader = Reader::new();
    for (language, content) in blocks() {
        match language.as_str() {
            "sh" => reader.follow(&content),
            "console" => reader.compare(&content),
            "rust" => assert!(is_example_of_the_library(&content), "{content}"),
            "sql" => reader.home.sql(&content),
            "json" => {}
            other => panic!("a block of '{other}' that nothing tests"),
        }
    }
}

#[test]
fn every_command_is_in_the_list() {
    let help = Home::without_database().ok(["--help"]);
    let commands = help.split("Commands:").nth(1).unwrap();
    let commands = commands.split("Options:").next().unwrap();
    for command in commands
        .lines()
        .filter_map(|line| line.split_whitespace().next())
    {
        let named =
            README.contains(&format!("`{command}`")) || README.contains(&format!("`{command} "));
        assert!(
            command == "help" || named,
            "'{command}' is not in the README"
        );
    }
}

#[test]
fn every_setting_is_in_the_table_with_its_default() {
    for (key, default) in runner::model::settings::ALL {
        let row = README
            .lines()
            .find(|line| line.starts_with(&format!("| `{key}` |")));
        let row = row.unwrap_or_else(|| panic!("no row of {key}"));
        assert!(
            default.is_empty() || row.contains(&format!("| `{default}` |")),
            "{row}"
        );
    }
}

#[test]
fn every_column_that_is_named_exists() {
    let home = Home::new();
    let (_, section) = README.split_once("## SQL interface\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let tables = [
        "task",
        "task_log",
        "task_file",
        "method",
        "document",
        "history",
        "timer",
        "timer_action",
        "attachment",
        "timer_next",
        "firing",
        "template",
        "mail",
        "setting",
        "worker",
    ];
    for table in tables {
        let query = format!("SELECT group_concat(name, ' ') FROM pragma_table_info('{table}')");
        let there: String = home.sql_value(&query);
        let there: BTreeSet<&str> = there.split(' ').collect();
        let rows = section.lines().filter(|line| {
            line.starts_with(&format!("| `{table}` |"))
                || line.starts_with(&format!("| `INSERT INTO {table}` |"))
        });
        let named: Vec<String> = rows.flat_map(columns).collect();
        assert!(!named.is_empty(), "{table} has no row");
        for column in named {
            assert!(there.contains(column.as_str()), "{table} has no {column}");
        }
    }
}

/// The names in the last cell of a row of a table, but for what stands in parentheses.
fn columns(row: &str) -> Vec<String> {
    let cell = row.trim_end_matches([' ', '|']).rsplit(" | ").next();
    let mut text = cell.unwrap_or_default().to_owned();
    while let (Some(open), Some(close)) = (text.find('('), text.find(')')) {
        text.replace_range(open..=close, "");
    }
    let names = text.split('`').skip(1).step_by(2);
    names.map(str::to_owned).collect()
}

#[test]
fn the_changelog_names_this_version() {
    let changelog = fs::read_to_string("CHANGELOG.md").unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert!(changelog.contains(&format!("## [{version}]")), "{version}");
}
