//! A crontab, as cron reads it (`docs/schedules.md`, "From crontab to runner").

use crate::time::{CronExpression, Zone};

/// Variables that say something to cron, and nothing to a command.
const FOR_CRON: [&str; 6] = [
    "MAILTO",
    "MAILFROM",
    "CONTENT_TYPE",
    "CONTENT_TRANSFER_ENCODING",
    "RANDOM_DELAY",
    "START_HOURS_RANGE",
];
const DEFAULT_SHELL: &str = "/bin/sh";

/// What is in a crontab.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Crontab {
    pub jobs: Vec<Job>,
    /// The variables that mean nothing here, with the numbers of their lines.
    pub left_out: Vec<(usize, String)>,
}

/// A line that runs a command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Job {
    /// The number of its line.
    pub line: usize,
    /// What its command is called by, from its own words.
    pub name: String,
    pub cron: String,
    pub zone: Option<String>,
    /// Whom it runs as, in a system's crontab.
    pub user: Option<String>,
    /// The command as the crontab has it.
    pub text: String,
    /// The program and its arguments.
    pub command: Vec<String>,
}

/// The variables that hold from a line on.
#[derive(Default)]
struct Environment {
    variables: Vec<(String, String)>,
    shell: Option<String>,
    zone: Option<String>,
}

impl Crontab {
    /// Reads a crontab; one of the system names a user in each line. What is wrong is told with the number of its line.
    pub(crate) fn parse(text: &str, has_users: bool) -> Result<Self, String> {
        let (mut crontab, mut environment) = (Self::default(), Environment::default());
        for (line, text) in (1..).zip(text.lines().map(str::trim)) {
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let wrong = |reason: String| format!("line {line}: {reason}");
            match variable(text) {
                Some((name, _)) if FOR_CRON.contains(&name) => {
                    crontab.left_out.push((line, name.to_owned()));
                }
                Some((name, value)) => environment.set(name, value).map_err(wrong)?,
                None => {
                    let job = environment.job(text, has_users).map_err(wrong)?;
                    crontab.jobs.push(Job { line, ..job });
                }
            }
        }
        crontab.number_names();
        Ok(crontab)
    }

    /// Tells jobs of the same name apart.
    fn number_names(&mut self) {
        for place in 0..self.jobs.len() {
            let (before, rest) = self.jobs.split_at_mut(place);
            let stem = rest[0].name.clone();
            let mut number = 1;
            while before.iter().any(|job| job.name == rest[0].name) {
                number += 1;
                rest[0].name = format!("{stem}-{number}");
            }
        }
    }
}

impl Environment {
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "SHELL" => self.shell = Some(value.to_owned()),
            "CRON_TZ" => self.zone = Some(Zone::parse(value).map(|_| value.to_owned())?),
            _ => {
                self.variables.retain(|(known, _)| known != name);
                self.variables.push((name.to_owned(), value.to_owned()));
            }
        }
        Ok(())
    }

    fn job(&self, text: &str, has_user: bool) -> Result<Job, String> {
        let (cron, mut rest) = take_words(text, if text.starts_with('@') { 1 } else { 5 });
        let cron = match cron.as_str() {
            "@reboot" => return Err("@reboot is no date that a schedule could have".to_owned()),
            "@annually" => "@yearly".to_owned(),
            _ => cron,
        };
        CronExpression::parse(&cron)?;
        let mut user = None;
        if has_user {
            let (name, command) = take_words(rest, 1);
            (user, rest) = (Some(name), command);
        }
        if rest.is_empty() {
            return Err("there is no command in it".to_owned());
        }
        let (command, input) = split_input(rest);
        Ok(Job {
            line: 0,
            text: rest.to_owned(),
            name: name_of(&command),
            cron,
            zone: self.zone.clone(),
            user,
            command: self.argv(&command, input),
        })
    }

    /// Cron starts commands in the home folder of their user, by the shell that the crontab names.
    fn argv(&self, command: &str, input: Option<String>) -> Vec<String> {
        let mut argv = Vec::new();
        if !self.variables.is_empty() {
            argv.push("env".to_owned());
            let set = self.variables.iter();
            argv.extend(set.map(|(name, value)| format!("{name}={value}")));
        }
        let shell = self.shell.as_deref().unwrap_or(DEFAULT_SHELL).to_owned();
        let script = format!("cd; {command}");
        match input {
            None => argv.extend([shell, "-c".to_owned(), script]),
            Some(input) => {
                let pipe = "printf '%s\\n' \"$3\" | \"$1\" -c \"$2\"";
                let shells = [DEFAULT_SHELL, "-c", pipe, "cron"].map(str::to_owned);
                argv.extend(shells.into_iter().chain([shell, script, input]));
            }
        }
        argv
    }
}

/// The name and the value of a line that sets a variable.
fn variable(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once('=')?;
    let name = unquoted(name.trim());
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then(|| (name, unquoted(value.trim())))
}

fn unquoted(text: &str) -> &str {
    let within = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    within('"').or_else(|| within('\'')).unwrap_or(text)
}

/// The first words of a text, with one blank between them, and what comes after.
fn take_words(text: &str, count: usize) -> (String, &str) {
    let (mut words, mut rest) = (Vec::new(), text);
    for _ in 0..count {
        let (word, after) = rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len()));
        words.push(word);
        rest = after.trim_start();
    }
    (words.join(" ").trim_end().to_owned(), rest)
}

/// What is after the first `%` is standard input, and each later one ends a line of it; `\%` is a percent sign.
fn split_input(command: &str) -> (String, Option<String>) {
    let mut parts = vec![String::new()];
    let mut letters = command.chars().peekable();
    while let Some(letter) = letters.next() {
        let part = parts.last_mut().expect("there is one from the beginning");
        match letter {
            '\\' if letters.next_if_eq(&'%').is_some() => part.push('%'),
            '%' => parts.push(String::new()),
            _ => part.push(letter),
        }
    }
    let input = parts.split_off(1);
    let has_input = !input.is_empty();
    (parts.remove(0), has_input.then(|| input.join("\n")))
}

/// What a command is called by: the last part of the first path in it, else its first word.
fn name_of(command: &str) -> String {
    let words = || command.split_whitespace();
    let last_part = |word: &str| {
        let part = word.rsplit('/').next().unwrap_or_default();
        let is_part = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let named: String = part.chars().filter(|c| is_part(*c)).collect();
        let named = named.trim_start_matches(['-', '.']);
        (!named.is_empty()).then(|| named.to_owned())
    };
    // Devices and signs of the system's state are no programs.
    let is_program = |word: &&str| {
        word.starts_with('/') && !word.starts_with("/dev/") && !word.starts_with("/run/")
    };
    let mut paths = words().filter(is_program);
    let path = paths.find_map(last_part);
    let name = path.or_else(|| words().find_map(last_part));
    name.unwrap_or_else(|| "job".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jobs(text: &str) -> Vec<(String, String, Vec<String>)> {
        let crontab = Crontab::parse(text, false).unwrap();
        let jobs = crontab.jobs.into_iter();
        jobs.map(|job| (job.name, job.cron, job.command)).collect()
    }

    fn job(name: &str, cron: &str, command: &[&str]) -> (String, String, Vec<String>) {
        let command = command.iter().map(|word| (*word).to_owned());
        (name.to_owned(), cron.to_owned(), command.collect())
    }

    #[test]
    fn lines_are_read_as_cron_reads_them() {
        let text =
            "# nightly\n\n 5  2\t* * mon-fri   /opt/app/bin/backup --all\n@midnight report 2>&1\n";
        assert_eq!(
            jobs(text),
            [
                job(
                    "backup",
                    "5 2 * * mon-fri",
                    &["/bin/sh", "-c", "cd; /opt/app/bin/backup --all"]
                ),
                job("report", "@midnight", &["/bin/sh", "-c", "cd; report 2>&1"]),
            ]
        );
    }

    #[test]
    fn variables_hold_for_the_commands_after_them() {
        let text = "@daily a\nA = 1\nB=\" two \"\nSHELL=/bin/bash\n@daily b\nA=3\n@daily c";
        let commands = jobs(text)
            .into_iter()
            .map(|(_, _, command)| command.join("|"));
        assert_eq!(
            commands.collect::<Vec<_>>(),
            [
                "/bin/sh|-c|cd; a",
                "env|A=1|B= two |/bin/bash|-c|cd; b",
                "env|B= two |A=3|/bin/bash|-c|cd; c",
            ]
        );
    }

    #[test]
    fn what_is_after_a_percent_sign_is_standard_input() {
        let cases = [
            ("date +\\%d", "date +%d", None),
            ("cat%one%two", "cat", Some("one\ntwo")),
            ("cat%50\\%", "cat", Some("50%")),
            ("echo \\a", "echo \\a", None),
        ];
        for (text, command, input) in cases {
            let expected = (command.to_owned(), input.map(str::to_owned));
            assert_eq!(split_input(text), expected, "{text}");
        }
    }

    #[test]
    fn names_come_from_the_command_and_are_told_apart() {
        let text = "@daily cd / && run-parts --report /etc/cron.hourly\n@daily [ -d /run/app ] && /usr/lib/app\n@weekly /usr/lib/app; true\n@daily ; ;";
        let names = jobs(text).into_iter().map(|(name, _, _)| name);
        assert_eq!(
            names.collect::<Vec<_>>(),
            ["cron.hourly", "app", "app-2", "job"]
        );
    }

    #[test]
    fn a_line_that_cannot_be_taken_is_named() {
        for (text, expected) in [
            ("\n@reboot x", "line 2: @reboot"),
            ("61 * * * * x", "line 1: cron expression"),
            ("* * * * *", "line 1: there is no command"),
            ("hello", "line 1: cron expression"),
            ("CRON_TZ=Mars\n", "line 1: time zone"),
        ] {
            let reason = Crontab::parse(text, false).unwrap_err();
            assert!(reason.starts_with(expected), "{reason}");
        }
    }

    #[test]
    fn a_system_s_crontab_names_users_and_what_is_for_cron_alone_is_left_out() {
        let text = "MAILTO=root\nCRON_TZ=Europe/Paris\n17 * * * * root  /bin/x y\n";
        let crontab = Crontab::parse(text, true).unwrap();
        assert_eq!(crontab.left_out, [(1, "MAILTO".to_owned())]);
        assert_eq!(crontab.jobs[0].user.as_deref(), Some("root"));
        assert_eq!(crontab.jobs[0].zone.as_deref(), Some("Europe/Paris"));
        assert_eq!(crontab.jobs[0].command[2], "cd; /bin/x y");
    }
}
