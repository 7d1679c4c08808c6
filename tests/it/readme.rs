//! The documentation is run as it is written: every command of a page, in order, in a folder of the page's own; and what
//! a page shows is what comes. Each page is a test.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::kit::programs::{Bin, is_installed};
use crate::kit::runner::Home;

/// Names each page and makes a test of it.
macro_rules! pages {
    ($($test:ident: $file:literal,)*) => {
        const PAGES: &[(&str, &str)] =
            &[$(($file, include_str!(concat!("../../", $file)))),*];

        mod works_as_written {
            $(#[test]
            fn $test() {
                super::Reader::new().follow(include_str!(concat!("../../", $file)));
            })*
        }
    };
}

pages! {
    readme: "README.md",
    handlers: "docs/handlers.md",
    timers: "docs/timers.md",
    schedules: "docs/schedules.md",
    mail: "docs/mail.md",
    sql: "docs/sql.md",
    administration: "docs/administration.md",
    guarantees: "docs/guarantees.md",
    speed: "docs/speed.md",
}

/// Building needs no second look here: the binary under test is what it makes.
const CARGO: &str = r#"[ "$1" = run ] || exit 0
while [ "$1" != -- ]; do shift; done
shift
exec runner "$@""#;

/// Somebody who types what a page says.
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

    fn follow(&self, page: &'static str) {
        for block in blocks(page) {
            match block.language {
                "sh" => self.run(&block),
                "console" => self.compare(&block),
                "sql" => self.home.sql(&block.content),
                "rust" => assert!(is_in_the_library(&block.content), "{}", block.content),
                "json" | "text" => {}
                other => panic!("a block of '{other}' that nothing tests"),
            }
        }
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
    fn run(&self, block: &Block) {
        let done = self.shell(&block.content);
        let stderr = String::from_utf8_lossy(&done.stderr);
        let succeeded = done.status.success() && stderr.is_empty();
        assert!(succeeded || !block.can_run(), "{}\n{stderr}", block.content);
    }

    /// A block that shows commands and what they print.
    fn compare(&self, block: &Block) {
        for part in format!("\n{}", block.content).split("\n$ ").skip(1) {
            let (command, shown) = part.split_once('\n').unwrap_or((part, ""));
            let done = self.shell(&format!("{{ {command}\n}} 2>&1"));
            let printed = String::from_utf8_lossy(&done.stdout);
            assert!(
                is_like(shown.trim_end(), printed.trim_end()) || !block.can_run(),
                "$ {command}\n--- shown\n{shown}\n--- printed\n{printed}"
            );
        }
    }
}

/// A fenced block.
struct Block {
    language: &'static str,
    /// The program that it needs, which not every machine has: it is named after the language.
    needs: Option<&'static str>,
    content: String,
}

impl Block {
    fn can_run(&self) -> bool {
        self.needs.is_none_or(is_installed)
    }
}

fn blocks(page: &'static str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let (language, needs) = match info.split_once(' ') {
                Some((language, program)) => (language, Some(program)),
                None => (info, None),
            };
            let content: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(Block {
                language,
                needs,
                content: content.join("\n"),
            });
        }
    }
    blocks
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

/// Whether an example stands in the library's own documentation, where it is compiled.
fn is_in_the_library(example: &str) -> bool {
    let comments = comments(Path::new("src"));
    comments.iter().any(|(_, text)| text.contains(example))
}

/// The comments of each file in a folder.
fn comments(folder: &Path) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let comments = paths.flat_map(|path| {
        if path.is_dir() {
            return comments(&path);
        }
        let source = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = source.lines().filter_map(comment).collect();
        vec![(path, lines.join("\n"))]
    });
    comments.collect()
}

fn comment(line: &str) -> Option<&str> {
    let text = line.trim_start().strip_prefix("//")?;
    let text = text.trim_start_matches(['/', '!']);
    Some(text.strip_prefix(' ').unwrap_or(text))
}

fn page(file: &str) -> &'static str {
    let found = PAGES.iter().find(|(name, _)| *name == file);
    found.unwrap_or_else(|| panic!("there is no page {file}")).1
}

#[test]
fn every_page_is_run_and_linked_from_the_readme() {
    for entry in fs::read_dir("docs").unwrap() {
        let file = entry.unwrap().path().display().to_string();
        assert!(PAGES.iter().any(|(name, _)| *name == file), "{file}");
        assert!(page("README.md").contains(&format!("]({file})")), "{file}");
    }
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    for (name, text) in PAGES {
        let folder = Path::new(name).parent().unwrap();
        let links = text.split("](").skip(1).map(|rest| rest.split(')').next());
        for link in links.flatten().filter(|link| !link.starts_with("http")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let path = match file {
                "" => Path::new(name).to_owned(),
                file => folder.join(file),
            };
            let target = fs::read_to_string(&path).unwrap_or_else(|_| panic!("{name}: {link}"));
            assert!(
                heading.is_empty()
                    || target
                        .lines()
                        .any(|line| anchor(line) == Some(heading.into())),
                "{name}: {link}"
            );
        }
    }
}

/// Comments point to the manual like this: `docs/timers.md`, "Levels".
#[test]
fn every_heading_that_the_code_points_to_is_there() {
    for (path, comments) in ["src", "tests", "benches"]
        .map(|folder| comments(Path::new(folder)))
        .concat()
    {
        let comments = comments.replace('\n', " ");
        for reference in comments.split("`docs/").skip(1) {
            let (file, rest) = reference.split_once('`').unwrap();
            let page = page(&format!("docs/{file}"));
            let Some(heading) = rest.strip_prefix(", ") else {
                continue;
            };
            let heading = heading.split(['"', '“', '”']).nth(1).unwrap();
            let is_there = |line: &str| line.trim_start_matches('#') == format!(" {heading}");
            assert!(
                page.lines().any(is_there),
                "{}: docs/{file}, {heading}",
                path.display()
            );
        }
    }
}

/// What a link to a heading says.
fn anchor(line: &str) -> Option<String> {
    let heading = line.strip_prefix('#')?.trim_start_matches('#').trim();
    Some(heading.to_lowercase().replace(' ', "-"))
}

#[test]
fn every_command_is_documented() {
    let home = Home::without_database();
    let documented = |command: &str| {
        let text = page("docs/administration.md");
        assert!(
            text.contains(&format!("`{command}`")) || text.contains(&format!("`{command} ")),
            "'{command}' is not in docs/administration.md"
        );
    };
    for command in subcommands(&home, &[]) {
        let below = subcommands(&home, &[&command]);
        if below.is_empty() {
            documented(&command);
        }
        for subcommand in below {
            documented(&format!("{command} {subcommand}"));
        }
    }
}

fn subcommands(home: &Home, command: &[&str]) -> Vec<String> {
    let help = home.ok([command, &["--help"]].concat());
    let Some((_, listed)) = help.split_once("\nCommands:\n") else {
        return Vec::new();
    };
    let names = listed
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next());
    names
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_setting_is_documented_with_its_default() {
    let settings = Home::new().json(["config", "list"]);
    for setting in settings.as_array().unwrap() {
        let (key, default) = (&setting["key"], setting["default"].as_str().unwrap());
        let start = format!("| `{}` |", key.as_str().unwrap());
        let mut lines = page("docs/administration.md").lines();
        let row = lines.find(|line| line.starts_with(&start));
        let row = row.unwrap_or_else(|| panic!("no row of {key}"));
        assert!(
            default.is_empty() || row.contains(&format!("| `{default}` |")),
            "{row}"
        );
    }
}

#[test]
fn every_table_is_documented_and_every_column_that_is_named_exists() {
    let home = Home::new();
    let tables: String = home.sql_value(
        "SELECT group_concat(name, ' ') FROM sqlite_schema \
          WHERE type IN ('table', 'view') AND name NOT GLOB 'sqlite_*'",
    );
    for table in tables.split(' ') {
        let query = format!("SELECT group_concat(name, ' ') FROM pragma_table_info('{table}')");
        let columns: String = home.sql_value(&query);
        let columns: BTreeSet<&str> = columns.split(' ').collect();
        let named = named_columns(table);
        assert!(!named.is_empty(), "{table} has no row");
        for column in named {
            assert!(columns.contains(column.as_str()), "{table} has no {column}");
        }
    }
}

/// The columns that the rows of a table name, but for what stands in parentheses.
fn named_columns(table: &str) -> Vec<String> {
    let starts = ["", "INSERT INTO ", "UPDATE "].map(|verb| format!("| `{verb}{table}` |"));
    let rows = page("docs/sql.md")
        .lines()
        .filter(|line| starts.iter().any(|start| line.starts_with(start)));
    rows.flat_map(|row| {
        let cell = row.trim_end_matches([' ', '|']).rsplit(" | ").next();
        let mut text = cell.unwrap_or_default().to_owned();
        while let (Some(open), Some(close)) = (text.find('('), text.find(')')) {
            text.replace_range(open..=close, "");
        }
        let names = text.split('`').skip(1).step_by(2);
        names.map(str::to_owned).collect::<Vec<_>>()
    })
    .collect()
}

#[test]
fn the_changelog_names_this_version() {
    let changelog = fs::read_to_string("CHANGELOG.md").unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert!(changelog.contains(&format!("## [{version}]")), "{version}");
}
