use proptest::prelude::{any, prop_assert_eq, proptest};

use super::Duration;

fn parse(text: &str) -> Duration {
    text.parse().unwrap()
}

#[test]
fn every_unit_counts_as_its_calendar_or_exact_length() {
    for (text, months, days, seconds) in [
        ("0", 0, 0, 0),
        ("15d", 0, 15, 0),
        ("-5d", 0, -5, 0),
        ("- 5d", 0, -5, 0),
        ("+5d", 0, 5, 0),
        ("2h30m", 0, 0, 9000),
        ("1mo 3d", 1, 3, 0),
        ("3d1mo", 1, 3, 0),
        ("1y1mo1w1d1h1m1s", 13, 8, 3661),
        ("  2w\t 10s ", 0, 14, 10),
        ("-1y 2h", -12, 0, -7200),
        ("0d", 0, 0, 0),
        ("-0", 0, 0, 0),
        ("007d", 0, 7, 0),
    ] {
        assert_eq!(parse(text), Duration::new(months, days, seconds), "{text}");
    }
}

#[test]
fn a_text_that_is_no_duration_is_refused_with_what_is_wrong() {
    for (text, wrong) in [
        ("", "it is empty"),
        ("-", "it is empty"),
        ("  ", "it is empty"),
        ("15", "\"15\" has no unit directly after it"),
        ("5 d", "\"5\" has no unit directly after it"),
        ("2h30", "\"30\" has no unit directly after it"),
        ("0 3d", "\"0\" has no unit directly after it"),
        ("d", "\"d\" stands where a number should"),
        ("soon", "\"soon\" stands where a number should"),
        ("5x", "there is no unit \"x\""),
        ("5 5D", "\"5\" has no unit"),
        ("5D", "there is no unit \"D\""),
        ("5days", "there is no unit \"days\""),
        ("1d 2d", "the unit d stands there twice"),
        ("1.5d", "numbers must be whole"),
        ("1,5d", "numbers must be whole"),
        (".5d", "numbers must be whole"),
        ("1mo -3d", "the sign stands once, in front of the whole"),
        ("--3d", "the sign stands once, in front of the whole"),
        ("9223372036854775808s", "it is too long to count"),
        ("9223372036854775807h", "it is too long to count"),
        ("9223372036854775807d 1w", "it is too long to count"),
    ] {
        let sentence = text.parse::<Duration>().unwrap_err().to_string();
        let starts = format!("duration \"{text}\": {wrong}");
        assert!(sentence.starts_with(&starts), "{text:?}: {sentence}");
        assert!(
            sentence.ends_with("write it like 15d, -5d, 2h30m, 1mo 3d or 0"),
            "{sentence}"
        );
    }
}

#[test]
fn an_error_stays_on_one_short_line_whatever_the_text() {
    let text = format!("1d\n{}", "x".repeat(10_000));
    let sentence = text.parse::<Duration>().unwrap_err().to_string();
    assert!(
        !sentence.contains('\n') && sentence.len() < 400,
        "{sentence}"
    );
}

#[test]
fn each_length_has_one_canonical_form() {
    for (text, canonical) in [
        ("0s", "0"),
        ("14mo", "1y2mo"),
        ("1y", "1y"),
        ("2w 1d", "15d"),
        ("36h", "36h"),
        ("90s", "1m30s"),
        ("3d 1mo 150m", "1mo 3d 2h30m"),
        ("-1mo3d", "-1mo 3d"),
    ] {
        assert_eq!(parse(text).to_string(), canonical);
    }
    assert_eq!(Duration::new(1, -5, 0).to_string(), "+1mo -5d");
    assert_eq!(format!("[{:>5}]", parse("3d")), "[   3d]");
}

#[test]
fn json_has_it_as_text() {
    assert_eq!(
        serde_json::to_string(&parse("1mo3d")).unwrap(),
        r#""1mo 3d""#
    );
    assert_eq!(
        serde_json::from_str::<Duration>(r#""2h 30m""#).unwrap(),
        parse("2h30m")
    );
    let sentence = serde_json::from_str::<Duration>(r#""soon""#)
        .unwrap_err()
        .to_string();
    assert!(sentence.contains("duration \"soon\""), "{sentence}");
    assert!(serde_json::from_str::<Duration>("5").is_err());
}

#[test]
fn only_what_has_no_calendar_part_is_exact() {
    assert_eq!(parse("2h30m").exact_seconds(), Some(9000));
    assert_eq!(parse("-1s").exact_seconds(), Some(-1));
    assert_eq!(parse("1d").exact_seconds(), None);
    assert_eq!(parse("1mo").exact_seconds(), None);
}

#[test]
fn roughly_a_day_is_24_hours_and_a_month_30_days() {
    assert_eq!(parse("1d 1h").rough_seconds(), 25 * 3600);
    assert_eq!(parse("-2mo").rough_seconds(), -60 * 24 * 3600);
    assert_eq!(Duration::new(i64::MAX, 0, 0).rough_seconds(), i64::MAX);
    assert_eq!(Duration::new(i64::MIN, 0, 0).rough_seconds(), i64::MIN);
}

#[test]
fn the_sign_is_that_of_the_whole() {
    assert!(parse("-1s").is_negative() && !parse("0").is_negative() && !parse("1s").is_negative());
    assert!(Duration::new(-1, 29, 0).is_negative() && !Duration::new(-1, 31, 0).is_negative());
    assert!(parse("0").is_zero() && !Duration::new(1, -30, 0).is_zero());
}

#[test]
fn sums_that_overflow_are_none() {
    let most = Duration::new(0, i64::MAX, 0);
    assert_eq!(most.checked_add(&parse("1d")), None);
    assert_eq!(most.checked_mul(2), None);
    assert_eq!(most.negate().checked_add(&parse("-1d")), None);
    assert_eq!(
        parse("1mo 2d 3s").checked_mul(3),
        Some(Duration::new(3, 6, 9))
    );
    assert_eq!(
        parse("1mo").checked_add(&parse("-5d")),
        Some(Duration::new(1, -5, 0))
    );
}

proptest! {
    #[test]
    fn parsing_anything_never_panics(text in ".*") {
        let _ = text.parse::<Duration>();
    }

    #[test]
    fn parsing_what_is_nearly_right_never_panics(text in "[-+ 0-9.ymowdhms\u{a0}é]{0,24}") {
        let _ = text.parse::<Duration>();
    }

    #[test]
    fn what_is_shown_reads_back_the_same(
        months in 0..=i64::MAX, days in 0..=i64::MAX, seconds in 0..=i64::MAX, back in any::<bool>(),
    ) {
        let length = Duration::new(months, days, seconds);
        let length = if back { length.negate() } else { length };
        prop_assert_eq!(length.to_string().parse(), Ok(length));
    }

    #[test]
    fn a_sum_of_either_sign_is_not_read_back(months in 1..=i64::MAX, days in i64::MIN..0) {
        let text = Duration::new(months, days, 0).to_string();
        prop_assert_eq!(text.parse::<Duration>().is_err(), true);
    }

    #[test]
    fn negating_twice_changes_nothing(months: i64, days: i64, seconds: i64) {
        let length = Duration::new(months, days, seconds);
        prop_assert_eq!(length.negate().negate(), length);
        prop_assert_eq!(length.checked_add(&length.negate()), Some(Duration::ZERO));
    }
}
