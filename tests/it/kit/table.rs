//! Tables of commands, as they are typed: words between spaces, and in single quotes what is empty or has spaces.

/// The lines of a table that are not empty.
pub fn lines(table: &str) -> impl Iterator<Item = &str> {
    table.lines().map(str::trim).filter(|line| !line.is_empty())
}

/// The rows of a table, each a command and what it is to answer, with `|` in between.
pub fn rows(table: &str) -> impl Iterator<Item = (Vec<String>, &str)> {
    lines(table).map(|line| {
        let (command, answer) = line.split_once('|').unwrap();
        (words(command), answer.trim())
    })
}

/// The words of a command.
pub fn words(command: &str) -> Vec<String> {
    let (mut words, mut rest) = (Vec::new(), command.trim());
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('\'') {
            Some(quoted) => quoted.split_once('\'').unwrap(),
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}
