use std::process::Command;

use chrono::{NaiveDateTime, TimeDelta};

use super::Zone;
use crate::time::{Duration, Timestamp};

fn zone(name: &str) -> Zone {
    Zone::parse(name).unwrap()
}

fn wall(text: &str) -> NaiveDateTime {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").unwrap()
}

/// The rows of a table, without its remarks.
fn rows<const N: usize>(table: &str) -> impl Iterator<Item = [&str; N]> {
    let lines = table.lines().map(str::trim);
    let rows = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        cells.try_into().unwrap()
    })
}

#[test]
fn a_skipped_time_moves_forward_by_the_gap_and_a_repeated_one_is_the_first() {
    for [name, local, utc] in rows(
        "
        Europe/Paris        | 2026-03-29 01:59:59 | 2026-03-29 00:59:59
        Europe/Paris        | 2026-03-29 02:00:00 | 2026-03-29 01:00:00
        Europe/Paris        | 2026-03-29 02:30:00 | 2026-03-29 01:30:00
        Europe/Paris        | 2026-03-29 03:00:00 | 2026-03-29 01:00:00
        Europe/Paris        | 2026-10-25 01:59:59 | 2026-10-24 23:59:59
        Europe/Paris        | 2026-10-25 02:00:00 | 2026-10-25 00:00:00
        Europe/Paris        | 2026-10-25 02:30:00 | 2026-10-25 00:30:00
        Europe/Paris        | 2026-10-25 03:00:00 | 2026-10-25 02:00:00
        America/New_York    | 2026-03-08 02:30:00 | 2026-03-08 07:30:00
        America/New_York    | 2026-11-01 01:30:00 | 2026-11-01 05:30:00
        # Lord Howe moves its clocks by half an hour.
        Australia/Lord_Howe | 2026-10-04 02:15:00 | 2026-10-03 15:45:00
        Australia/Lord_Howe | 2026-04-05 01:45:00 | 2026-04-04 14:45:00
        Asia/Kathmandu      | 2026-04-10 00:00:00 | 2026-04-09 18:15:00
        # Apia left out the 30th of December 2011.
        Pacific/Apia        | 2011-12-29 12:00:00 | 2011-12-29 22:00:00
        Pacific/Apia        | 2011-12-30 12:00:00 | 2011-12-30 22:00:00
        Pacific/Apia        | 2011-12-31 12:00:00 | 2011-12-30 22:00:00
        # Clocks that go forward at midnight: the day begins at one.
        America/Sao_Paulo   | 2018-11-04 00:00:00 | 2018-11-04 03:00:00
        UTC                 | 2026-04-10 07:00:00 | 2026-04-10 07:00:00
        ",
    ) {
        let found = zone(name)
            .resolve(wall(local))
            .map(|moment| moment.to_sql());
        assert_eq!(found.as_deref(), Some(utc), "{local} in {name}");
    }
}

#[test]
fn adding_goes_by_the_local_calendar_and_then_by_exact_seconds() {
    for [name, from, length, to] in rows(
        "
        Europe/Paris        | 2026-01-31 09:00:00 | 1mo    | 2026-02-28 09:00:00
        Europe/Paris        | 2026-01-31 09:00:00 | 2mo    | 2026-03-31 09:00:00
        Europe/Paris        | 2026-03-31 09:00:00 | -1mo   | 2026-02-28 09:00:00
        Europe/Paris        | 2028-02-29 09:00:00 | 1y     | 2029-02-28 09:00:00
        Europe/Paris        | 2028-02-29 09:00:00 | 4y     | 2032-02-29 09:00:00
        Europe/Paris        | 2028-02-28 09:00:00 | 1d     | 2028-02-29 09:00:00
        Europe/Paris        | 2100-02-28 09:00:00 | 1d     | 2100-03-01 09:00:00
        # Months before days: 31 January and a month is the 28th, and a day later the 1st.
        Europe/Paris        | 2026-01-31 09:00:00 | 1mo 1d | 2026-03-01 09:00:00
        # A calendar day keeps the wall time over a change of clocks; 24 hours do not.
        Europe/Paris        | 2026-03-28 09:00:00 | 1d     | 2026-03-29 09:00:00
        Europe/Paris        | 2026-03-28 09:00:00 | 24h    | 2026-03-29 10:00:00
        Europe/Paris        | 2026-10-24 09:00:00 | 24h    | 2026-10-25 08:00:00
        Europe/Paris        | 2026-03-28 02:30:00 | 1d     | 2026-03-29 03:30:00
        Europe/Paris        | 2026-03-28 02:30:00 | 2d     | 2026-03-30 02:30:00
        America/New_York    | 2026-03-07 02:30:00 | 1d     | 2026-03-08 03:30:00
        Australia/Lord_Howe | 2026-10-03 02:15:00 | 1d     | 2026-10-04 02:45:00
        Pacific/Apia        | 2011-12-29 12:00:00 | 1d     | 2011-12-31 12:00:00
        Pacific/Apia        | 2011-12-29 12:00:00 | 2d     | 2011-12-31 12:00:00
        Pacific/Apia        | 2011-12-29 12:00:00 | 24h    | 2011-12-31 12:00:00
        Asia/Kathmandu      | 2026-04-10 00:00:00 | -1d 1h | 2026-04-08 23:00:00
        ",
    ) {
        let zone = zone(name);
        let start = zone.resolve(wall(from)).unwrap();
        let end = zone.add(start, &length.parse().unwrap()).unwrap();
        assert_eq!(zone.show(end), to, "{from} in {name} and {length}");
    }
}

#[test]
fn exact_time_runs_through_a_repeated_hour() {
    let paris = zone("Europe/Paris");
    let start = Timestamp::from_sql("2026-10-25 00:30:00").unwrap(); // 02:30, the first time
    let hour = "1h".parse().unwrap();
    let second = paris.add(start, &hour).unwrap();
    assert_eq!(second.seconds_since(start), 3600);
    assert_eq!(paris.show(second), "2026-10-25 02:30:00");
    assert_eq!(paris.add(second, &Duration::ZERO), Some(second));
    assert_eq!(
        paris.add(second, &hour).unwrap().seconds_since(second),
        3600
    );
    assert_eq!(
        paris.show(paris.add(second, &"1d".parse().unwrap()).unwrap()),
        "2026-10-26 02:30:00"
    );
}

#[test]
fn a_time_is_read_as_local_unless_it_says_otherwise() {
    for (text, utc) in [
        ("2026-04-10", "2026-04-09 22:00:00"),
        (" 2026-04-10\n", "2026-04-09 22:00:00"),
        ("2026-04-10T09:00", "2026-04-10 07:00:00"),
        ("2026-04-10 09:00", "2026-04-10 07:00:00"),
        ("2026-04-10T09:00:30", "2026-04-10 07:00:30"),
        ("2026-04-10T09:00:30.999", "2026-04-10 07:00:30"),
        ("2026-04-10T09:00:30.999999999999Z", "2026-04-10 09:00:30"),
        ("2026-04-10T09:00Z", "2026-04-10 09:00:00"),
        ("2026-04-10t09:00:00z", "2026-04-10 09:00:00"),
        ("2026-04-10T09:00:00+05:45", "2026-04-10 03:15:00"),
        ("2026-04-10T09:00:00-05:00", "2026-04-10 14:00:00"),
        ("2026-04-10 09:00:00 +0200", "2026-04-10 07:00:00"),
        ("2026-04-10 09:00:00+02", "2026-04-10 07:00:00"),
        ("2026-03-29T02:30", "2026-03-29 01:30:00"),
        ("2026-10-25T02:30", "2026-10-25 00:30:00"),
        ("2026-10-25T02:30+01:00", "2026-10-25 01:30:00"),
        ("9999-12-31T23:59:59Z", "9999-12-31 23:59:59"),
    ] {
        let read = zone("Europe/Paris")
            .parse_time(text)
            .map(|moment| moment.to_sql());
        assert_eq!(read.as_deref(), Ok(utc), "{text}");
    }
}

#[test]
fn a_text_that_is_no_time_is_refused_with_what_is_wrong() {
    for (text, wrong) in [
        ("", "write it like 2026-04-10"),
        ("soon", "write it like 2026-04-10"),
        ("10/04/2026", "write it like 2026-04-10"),
        ("2026-4-10", "write it like 2026-04-10"),
        ("20260410", "write it like 2026-04-10"),
        ("12026-04-10", "write it like 2026-04-10"),
        ("2026-04-10T", "write it like 2026-04-10"),
        ("2026-04-10T9:00", "write it like 2026-04-10"),
        ("2026-04-10T09", "write it like 2026-04-10"),
        ("2026-04-10T09:00:", "write it like 2026-04-10"),
        ("2026-04-10T09:00:00.", "write it like 2026-04-10"),
        ("2026-04-10T09:00 am", "write it like 2026-04-10"),
        ("2026-04-10T09:00Zulu", "write it like 2026-04-10"),
        ("2026-04-10T09:00+2", "write it like 2026-04-10"),
        ("2026-04-10T09:00+02:", "write it like 2026-04-10"),
        ("2026-04-10T09:00+é", "write it like 2026-04-10"),
        ("2026-04-10 +02:00", "write it like 2026-04-10"),
        ("2026-02-29", "there is no such day"),
        ("2026-13-01", "there is no such day"),
        ("2026-04-10T24:00", "there is no such time of day"),
        ("2026-04-10T09:60", "there is no such time of day"),
        ("2026-04-10T09:00:60", "there is no such time of day"),
        ("2026-04-10T09:00+24:00", "there is no such offset"),
        ("2026-04-10T09:00+02:60", "there is no such offset"),
        ("0000-01-01", "it is outside the years 0000 to 9999"),
        (
            "9999-12-31T23:59:59-00:01",
            "it is outside the years 0000 to 9999",
        ),
    ] {
        let sentence = zone("Europe/Paris")
            .parse_time(text)
            .unwrap_err()
            .to_string();
        assert!(
            sentence.starts_with(&format!("time \"{text}\": {wrong}")),
            "{sentence}"
        );
    }
}

#[test]
fn a_zone_is_known_by_its_iana_name() {
    for name in ["Europe/Paris", "UTC", "America/Argentina/Buenos_Aires"] {
        assert!(Zone::parse(name).is_ok(), "{name}");
    }
    for name in ["", "Paris", "europe/paris", "Europe/Paris ", "+02:00"] {
        let sentence = Zone::parse(name).unwrap_err().to_string();
        assert!(
            sentence.starts_with(&format!("time zone \"{name}\": there is none of that name")),
            "{sentence}"
        );
    }
}

/// Zones of the system come from the environment, which tests share; so another process looks.
#[test]
fn the_system_zone_follows_the_environment() {
    let test = std::env::current_exe().unwrap();
    let output = Command::new(test)
        .args([
            "--exact",
            "time::zone::tests::system_zone_in_paris",
            "--ignored",
        ])
        .env("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

#[test]
#[ignore = "needs TZ to be set: the test above runs it"]
fn system_zone_in_paris() {
    let (system, paris) = (Zone::default(), zone("Europe/Paris"));
    let start = wall("2026-01-01 00:00:00");
    for quarter in 0..(365 * 96) {
        let local = start + TimeDelta::minutes(15 * quarter);
        assert_eq!(system.resolve(local), paris.resolve(local), "{local}");
    }
    assert_eq!(
        system.show(Timestamp::from_sql("2026-07-01 10:00:00").unwrap()),
        "2026-07-01 12:00:00"
    );
}
