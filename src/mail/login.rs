//! Logging in, and keeping quiet about it.

use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS, Mechanism};
use lettre::transport::smtp::commands::Auth;
use lettre::transport::smtp::response::{Category, Code, Detail, Response, Severity};

use super::server::Login;
use super::wire::{Issue, Reply, Wire};

/// The first mechanism that both sides know, from what the server offers after EHLO.
pub(super) fn mechanism(offers: &[String]) -> Option<Mechanism> {
    let lists = offers.iter().filter(|line| line.starts_with("AUTH"));
    let offered: Vec<&str> = lists.flat_map(|line| line.split([' ', '='])).collect();
    let known = |mechanism: &Mechanism| offered.contains(&mechanism.to_string().as_str());
    DEFAULT_MECHANISMS.iter().copied().find(known)
}

/// Proves who we are. LOGIN asks for the user, then for the password; PLAIN asks nothing.
pub(super) fn authenticate(
    wire: &mut Wire,
    mechanism: Mechanism,
    login: &Login,
) -> Result<(), Issue> {
    let odd = |_| Issue::Garbled("an unknown question");
    let mut line = Auth::new(mechanism, credentials(login), None).map_err(odd)?;
    let questions = if mechanism == Mechanism::Login { 2 } else { 0 };
    for _ in 0..questions {
        let question = wire.ask(line.to_string().as_bytes(), 3)?;
        line = Auth::new_from_response(mechanism, credentials(login), &challenge(question))
            .map_err(odd)?;
    }
    wire.ask(line.to_string().as_bytes(), 2).map(drop)
}

/// The text without the password, plain or encoded: a server may repeat what it was told.
pub(super) fn without_password(text: &str, login: &Login) -> String {
    let hide = |text: String, secret: String| text.replace(&secret, "***");
    login_lines(login)
        .into_iter()
        .chain([login.password.clone()])
        .fold(text.to_owned(), hide)
}

fn credentials(login: &Login) -> Credentials {
    Credentials::new(login.user.clone(), login.password.clone())
}

/// The reply in the form that the library answers.
fn challenge(reply: Reply) -> Response {
    Response::new(
        Code::new(
            Severity::PositiveIntermediate,
            Category::Unspecified3,
            Detail::Four,
        ),
        reply.lines,
    )
}

/// The lines that carry the password, each as its last word: encoded, and so readable by anybody.
fn login_lines(login: &Login) -> Vec<String> {
    let plain = Auth::new(Mechanism::Plain, credentials(login), None);
    let password = challenge(Reply {
        code: 334,
        lines: vec!["UGFzc3dvcmQ6".to_owned()],
    });
    let asked = Auth::new_from_response(Mechanism::Login, credentials(login), &password);
    let last_word = |line: Auth| {
        line.to_string()
            .split_whitespace()
            .last()
            .map(str::to_owned)
    };
    [plain, asked]
        .into_iter()
        .flatten()
        .filter_map(last_word)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{login_lines, without_password};
    use crate::mail::server::Login;

    #[test]
    fn the_password_is_hidden_in_each_of_its_forms() {
        let login = Login {
            user: "ann".into(),
            password: "secret".into(),
        };
        assert_eq!(login_lines(&login), ["AGFubgBzZWNyZXQ=", "c2VjcmV0"]);
        let echo = "535 secret, c2VjcmV0, AGFubgBzZWNyZXQ= and ann";
        assert_eq!(without_password(echo, &login), "535 ***, ***, *** and ann");
    }
}
