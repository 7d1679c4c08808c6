use super::{MAX_LEVELS, Sequence};
use crate::time::{Duration, Zone};

fn length(text: &str) -> Duration {
    text.parse().unwrap()
}

fn paris() -> Zone {
    Zone::parse("Europe/Paris").unwrap()
}

fn sequence(actions: &[(&str, u32)]) -> Result<Sequence, String> {
    Sequence::new(
        actions
            .iter()
            .map(|(delay, iterations)| (length(delay), *iterations)),
    )
}

/// The local dates of all levels.
fn dates(zone: &Zone, reference: &str, delta: &str, sequence: &Sequence) -> Vec<String> {
    let reference = zone.parse_time(reference).unwrap();
    let due = |level| {
        sequence
            .due_at(zone, reference, &length(delta), level)
            .unwrap()
    };
    (0..).map_while(due).map(|due| zone.show(due)).collect()
}

#[test]
fn levels_fall_one_delay_after_the_other() {
    for (story, reference, delta, actions, expected) in [
        (
            "reminded five days before the deadline, by the delta",
            "2026-04-25",
            "-5d",
            &[("0", 1), ("5d", 1)][..],
            &["2026-04-20 00:00:00", "2026-04-25 00:00:00"][..],
        ),
        (
            "reminded five days before the deadline, by a negative delay",
            "2026-04-25",
            "0",
            &[("-5d", 1), ("0", 1)],
            &["2026-04-20 00:00:00", "2026-04-25 00:00:00"],
        ),
        (
            "attached at 16:21 with a delta of three hours",
            "2014-10-15 16:21",
            "3h",
            &[("1d", 1)],
            &["2014-10-16 19:21:00"],
        ),
        (
            "a date given, and the same timer",
            "2014-12-25 12:00",
            "3h",
            &[("1d", 1)],
            &["2014-12-26 15:00:00"],
        ),
        (
            "iterations add up, and the next action goes on from the last",
            "2026-04-01 08:00",
            "0",
            &[("1d", 3), ("1w", 2), ("0", 1)],
            &[
                "2026-04-02 08:00:00",
                "2026-04-03 08:00:00",
                "2026-04-04 08:00:00",
                "2026-04-11 08:00:00",
                "2026-04-18 08:00:00",
                "2026-04-18 08:00:00",
            ],
        ),
        (
            "a negative delay between others counts from the reference, delta added, and shifts nothing",
            "2026-04-10",
            "1d",
            &[("2d", 1), ("-3d", 1), ("2d", 1)],
            &[
                "2026-04-13 00:00:00",
                "2026-04-08 00:00:00",
                "2026-04-15 00:00:00",
            ],
        ),
        (
            "months do not drift at their ends",
            "2026-01-31 09:00",
            "0",
            &[("1mo", 3)],
            &[
                "2026-02-28 09:00:00",
                "2026-03-31 09:00:00",
                "2026-04-30 09:00:00",
            ],
        ),
        (
            "a leap day comes back every four years",
            "2028-02-29",
            "0",
            &[("1y", 4)],
            &[
                "2029-02-28 00:00:00",
                "2030-02-28 00:00:00",
                "2031-02-28 00:00:00",
                "2032-02-29 00:00:00",
            ],
        ),
        (
            "a delta and a delay that cancel out leave the reference as it is",
            "2026-03-31",
            "-1mo",
            &[("1mo", 1)],
            &["2026-03-31 00:00:00"],
        ),
        (
            "one day's skipped hour does not shift the next day",
            "2026-03-27 02:30",
            "0",
            &[("1d", 3)],
            &[
                "2026-03-28 02:30:00",
                "2026-03-29 03:30:00",
                "2026-03-30 02:30:00",
            ],
        ),
        (
            "exact delays go through a repeated hour",
            "2026-10-25 01:30",
            "0",
            &[("1h", 3)],
            &[
                "2026-10-25 02:30:00",
                "2026-10-25 02:30:00",
                "2026-10-25 03:30:00",
            ],
        ),
    ] {
        let sequence = sequence(actions).unwrap();
        assert_eq!(sequence.levels() as usize, expected.len(), "{story}");
        assert_eq!(
            dates(&paris(), reference, delta, &sequence),
            expected,
            "{story}"
        );
    }
}

#[test]
fn a_level_tells_its_action_and_iteration() {
    let sequence = sequence(&[("1d", 2), ("-5d", 1), ("1mo", 2)]).unwrap();
    let levels: Vec<_> = (0..6)
        .map(|n| {
            sequence
                .level(n)
                .map(|level| (level.action, level.iteration, level.offset.to_string()))
        })
        .collect();
    let level = |action, iteration, offset: &str| Some((action, iteration, offset.to_owned()));
    assert_eq!(
        levels,
        [
            level(0, 0, "1d"),
            level(0, 1, "2d"),
            level(1, 0, "-5d"),
            level(2, 0, "1mo 2d"),
            level(2, 1, "2mo 2d"),
            None
        ]
    );
    assert_eq!(sequence.level(u32::MAX), None);
}

#[test]
fn actions_that_make_no_sequence_are_refused_with_a_sentence() {
    for (actions, sentence) in [
        (&[][..], "a timer needs at least one action"),
        (
            &[("1d", MAX_LEVELS + 1)],
            "action 1: the iterations of all actions come to more than 1000000",
        ),
        (
            &[("1d", MAX_LEVELS), ("0", 1)],
            "action 2: the iterations of all actions come to more than 1000000",
        ),
        (
            &[("1d", MAX_LEVELS), ("0", u32::MAX)],
            "action 2: the iterations of all actions come to more than",
        ),
    ] {
        let refused = sequence(actions).unwrap_err();
        assert!(refused.starts_with(sentence), "{refused}");
    }
}

#[test]
fn a_date_that_cannot_be_written_is_an_error_and_a_level_past_the_last_is_none() {
    let sequence = sequence(&[("1d", 1), ("200y", 40), ("200y", MAX_LEVELS - 41)]).unwrap();
    let reference = paris().parse_time("2026-04-10").unwrap();
    let due = |delta, level| sequence.due_at(&paris(), reference, &length(delta), level);
    assert!(due("0", 0).is_ok_and(|due| due.is_some()));
    for (delta, level) in [("0", 40), ("200y", 39), ("0", MAX_LEVELS - 1)] {
        let message = due(delta, level).unwrap_err();
        let outside = format!("level {level} would fall outside the years 0000 to 9999");
        assert!(message.starts_with(&outside), "{message}");
    }
    assert_eq!(due("0", MAX_LEVELS), Ok(None));
}
