//! How many faults are tried: a few with every run of the tests, all of them with `RUNNER_FAULTS=long`.

/// Whether all faults are tried.
pub fn is_long() -> bool {
    std::env::var("RUNNER_FAULTS").is_ok_and(|wanted| wanted == "long")
}

/// Of so many places for a fault one is tried; all of them in the long form.
pub fn stride(short: usize) -> usize {
    if is_long() { 1 } else { short }
}

/// Tells how many faults of a kind were tried, for who runs the long form with `--nocapture`. A test that gets here has
/// found nothing lost and nothing repeated.
#[allow(clippy::print_stdout)]
pub fn tell(kind: &str, tried: usize) {
    println!("faults tried: {tried:>5}  {kind}");
}
