use proptest::collection::vec;
use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, proptest};

use super::Sequence;
use crate::time::{Duration, Timestamp, Zone};

fn forward() -> impl Strategy<Value = Duration> {
    (0..40i64, 0..70i64, 0..200_000i64)
        .prop_map(|(months, days, seconds)| Duration::new(months, days, seconds))
}

fn either_way() -> impl Strategy<Value = Duration> {
    (-40..40i64, -70..70i64, -200_000..200_000i64)
        .prop_map(|(months, days, seconds)| Duration::new(months, days, seconds))
}

fn actions() -> impl Strategy<Value = Vec<(Duration, u32)>> {
    vec((forward(), 1..5u32), 1..6)
}

fn any_zone() -> impl Strategy<Value = Zone> {
    proptest::sample::select(&chrono_tz::TZ_VARIANTS[..]).prop_map(Zone::Named)
}

fn modern_moment() -> impl Strategy<Value = Timestamp> {
    (-3_000_000_000..5_000_000_000i64).prop_map(|unix| Timestamp::from_unix(unix).unwrap())
}

proptest! {
    #[test]
    fn levels_of_non_negative_delays_never_go_back(
        zone in any_zone(), reference in modern_moment(), delta in either_way(), actions in actions(),
    ) {
        let sequence = Sequence::new(actions).unwrap();
        let mut before = zone.add(reference, &delta).unwrap();
        for level in 0..sequence.levels() {
            let due = sequence.due_at(&zone, reference, &delta, level).unwrap().unwrap();
            prop_assert!(due >= before, "level {level} is due {due}, before {before}");
            before = due;
        }
    }

    #[test]
    fn iterations_fall_as_so_many_single_actions_would(
        zone in any_zone(), reference in modern_moment(), delta in either_way(), actions in actions(),
    ) {
        let single = actions.iter().flat_map(|(delay, iterations)| (0..*iterations).map(move |_| (*delay, 1)));
        let (single, folded) = (Sequence::new(single).unwrap(), Sequence::new(actions.clone()).unwrap());
        prop_assert_eq!(single.levels(), folded.levels());
        for level in 0..=folded.levels() {
            prop_assert_eq!(
                single.due_at(&zone, reference, &delta, level),
                folded.due_at(&zone, reference, &delta, level)
            );
        }
    }

    #[test]
    fn delta_and_first_delay_are_one_sum(
        zone in any_zone(), reference in modern_moment(), a in forward(), b in forward(), delay in forward(),
    ) {
        let due = |delta: &Duration, first: Duration, level| {
            Sequence::new([(first, 1), (delay, 2)]).unwrap().due_at(&zone, reference, delta, level)
        };
        let sum = a + b;
        for level in 0..3 {
            prop_assert_eq!(due(&a, b, level), due(&b, a, level));
            prop_assert_eq!(due(&a, b, level), due(&Duration::ZERO, sum, level));
        }
    }

    #[test]
    fn a_negative_delay_leaves_all_other_levels_where_they_are(
        zone in any_zone(), reference in modern_moment(), back in forward(), mut actions in actions(), at: usize,
    ) {
        let back = -(back + Duration::new(0, 0, 1));
        let without = Sequence::new(actions.clone()).unwrap();
        actions.insert(at % (actions.len() + 1), (back, 1));
        let with = Sequence::new(actions).unwrap();
        let due = |sequence: &Sequence| -> Vec<_> {
            let levels = (0..sequence.levels()).filter(|n| !sequence.level(*n).unwrap().offset.is_negative());
            levels.map(|n| sequence.due_at(&zone, reference, &Duration::ZERO, n)).collect()
        };
        prop_assert_eq!(with.levels(), without.levels() + 1);
        prop_assert_eq!(due(&with), due(&without));
    }
}
