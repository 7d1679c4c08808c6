//! Tasks that recur.

use serde_json::json;

use crate::kit::runner::Home;

/// A home at a Friday's noon in Paris, where the method `m` does nothing.
fn home() -> Home {
    let home = Home::new().at("2026-11-27T12:00+01:00");
    home.ok(["config", "set", "time.zone", "Europe/Paris"]);
    home.method("m", "exit 0");
    home
}

fn set(home: &Home, name: &str, options: &[&str]) {
    home.ok([&["schedule", "set", name][..], options, &["m"]].concat());
}

/// What ticks at these times have added: the times that their tasks were due.
fn added(home: &mut Home, times: &[&str]) -> Vec<String> {
    for time in times {
        home.set_now(time);
        home.ok(["tick"]);
    }
    let tasks = home.json(["task", "list"]);
    let due = tasks.as_array().unwrap().iter();
    due.map(|task| task["run_at"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_task_is_added_each_time_that_the_expression_names() {
    let mut home = home();
    set(&home, "nightly", &["--cron", "30 2 * * *"]);
    assert_eq!(
        home.json(["schedule", "show", "nightly"])["next_at"],
        "2026-11-28T01:30:00Z"
    );
    let times = [
        "2026-11-28T02:29+01:00",
        "2026-11-28T02:30+01:00",
        "2026-11-28T02:31+01:00",
        "2026-11-29T02:30+01:00",
    ];
    assert_eq!(
        added(&mut home, &times),
        ["2026-11-28T01:30:00Z", "2026-11-29T01:30:00Z"]
    );
    let task = home.json(["task", "show", "2"]);
    assert_eq!(task["schedule"], "nightly");
    assert_eq!(task["status"], "COMPLETED");
    let listed = home.json(["task", "list", "--schedule", "nightly"]);
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(home.json(["task", "list", "--schedule", "x"]), json!([]));
    let shown = home.json(["schedule", "show", "nightly"]);
    assert_eq!(shown["last_at"], "2026-11-29T01:30:00Z");
    assert_eq!(shown["last_task"], 2);
}

#[test]
fn an_interval_begins_at_its_first_date_or_one_interval_from_now() {
    let mut home = home();
    set(&home, "often", &["--every", "15m"]);
    set(
        &home,
        "weekly",
        &["--every", "1w", "--first", "2026-12-01T09:00"],
    );
    let next = home.json(["schedule", "next", "--limit", "2"]);
    assert_eq!(
        next,
        json!([
            {"schedule": "often", "at": "2026-11-27T11:15:00Z"},
            {"schedule": "often", "at": "2026-11-27T11:30:00Z"},
        ])
    );
    home.ok(["schedule", "remove", "often"]);
    let times = ["2026-12-01T09:00+01:00", "2026-12-08T09:00+01:00"];
    assert_eq!(
        added(&mut home, &times),
        ["2026-12-01T08:00:00Z", "2026-12-08T08:00:00Z"]
    );
}

#[test]
fn of_those_that_were_missed_the_last_counts_or_all_do() {
    for (missed, expected) in [
        ("last", vec!["2026-11-27T14:00:00Z"]),
        (
            "all",
            vec![
                "2026-11-27T12:00:00Z",
                "2026-11-27T13:00:00Z",
                "2026-11-27T14:00:00Z",
            ],
        ),
    ] {
        let mut home = home();
        set(&home, "hourly", &["--cron", "@hourly", "--missed", missed]);
        let times = ["2026-11-27T15:30+01:00", "2026-11-27T15:31+01:00"];
        assert_eq!(added(&mut home, &times), expected, "{missed}");
    }
}

#[test]
fn what_is_later_than_its_limit_is_not_added_and_is_on_record() {
    let mut home = home();
    set(
        &home,
        "hourly",
        &["--cron", "@hourly", "--missed", "all", "--limit", "40m"],
    );
    let times = ["2026-11-27T14:30+01:00"];
    assert_eq!(added(&mut home, &times), ["2026-11-27T13:00:00Z"]);
    let shown = home.json(["schedule", "show", "hourly"]);
    assert_eq!(shown["skipped_at"], "2026-11-27T12:00:00Z");
    assert_eq!(shown["skipped_reason"], "it was later than its limit");
}

#[test]
fn while_a_task_is_not_over_the_next_is_skipped_or_queued() {
    for (overlap, count) in [("skip", 1), ("queue", 2)] {
        let mut home = home();
        set(
            &home,
            "hourly",
            &["--cron", "@hourly", "--overlap", overlap, "--priority", "3"],
        );
        home.ok(["schedule", "run", "hourly"]);
        home.set_now("2026-11-27T13:00+01:00");
        // Nothing runs: the task that was added by hand is not over.
        home.sql("UPDATE task SET run_at = '2030-01-01 00:00:00', deferred = 1");
        home.ok(["tick"]);
        let tasks = home.json(["task", "list"]);
        assert_eq!(tasks.as_array().unwrap().len(), count, "{overlap}");
        assert_eq!(tasks[0]["priority"], 3);
        let reason = &home.json(["schedule", "show", "hourly"])["skipped_reason"];
        assert_eq!(reason.is_null(), overlap == "queue");
    }
}

#[test]
fn a_task_is_given_all_that_its_schedule_has() {
    let mut home = home();
    home.method("m", "cat > input; cat \"$RUNNER_FILE\" > copy");
    let file = home.write("data.txt", "content");
    set(
        &home,
        "s",
        &[
            "--cron",
            "@hourly",
            "-p",
            "n:=1",
            "--hidden-params",
            r#"{"token":"hunter22"}"#,
            "--file",
            file.to_str().unwrap(),
            "--signature",
            "x",
            "--owner",
            "a@example.org",
        ],
    );
    home.set_now("2026-11-27T13:05+01:00");
    home.ok(["tick"]);
    let input: serde_json::Value = serde_json::from_str(&home.read("input")).unwrap();
    assert_eq!(input["params"], json!({"n": 1}));
    assert_eq!(input["hidden_params"], json!({"token": "hunter22"}));
    assert_eq!(input["due_at"], "2026-11-27T12:00:00Z");
    assert_eq!(input["late_s"], 300);
    assert_eq!(home.read("copy"), "content");
    let shown = home.json(["schedule", "show", "s"]);
    assert_eq!(shown["hidden_params"], json!({"token": "***"}));
    assert_eq!(shown["file"], "data.txt");
}

#[test]
fn any_program_may_write_schedules() {
    let mut home = home();
    home.sql("INSERT INTO schedule (name, cron, method, since_at) VALUES ('s', '0 * * * *', 'm', '2026-11-27 11:00:00')");
    let times = ["2026-11-27T12:30+01:00", "2026-11-27T13:00+01:00"];
    assert_eq!(added(&mut home, &times), ["2026-11-27T12:00:00Z"]);
    home.sql("UPDATE schedule SET cron = '30 * * * *'");
    assert_eq!(home.json(["schedule", "show", "s"])["next_at"], json!(null));
    home.sql("UPDATE schedule SET since_at = '2026-11-27 12:00:00'");
    assert_eq!(added(&mut home, &["2026-11-27T13:30+01:00"]).len(), 2);
}

#[test]
fn what_is_wrong_with_one_schedule_is_told_and_holds_up_no_other() {
    let mut home = home();
    let values = "since_at) VALUES ('s', '0 0 30 2 *', 'm', '2026-11-27 11:00:00'), ('t', '0 * * * *', 'gone', '2026-11-27 11:00:00')";
    home.sql(&format!(
        "INSERT INTO schedule (name, cron, method, {values}"
    ));
    set(&home, "good", &["--cron", "@hourly"]);
    home.set_now("2026-11-27T13:00+01:00");
    let told = home.run(["tick"]).err();
    assert!(
        told.contains("schedule 's'") && told.contains("there is no such day"),
        "{told}"
    );
    assert!(
        told.contains("schedule 't'") && told.contains("gone"),
        "{told}"
    );
    assert_eq!(home.json(["task", "list"]).as_array().unwrap().len(), 1);
    let status = home.json(["status"]);
    assert_eq!(
        status["schedules"],
        json!({"defined": 3, "paused": 0, "failing": 2})
    );
    // What was due is added once its method is there.
    home.method("gone", "exit 0");
    home.ok(["schedule", "remove", "s"]);
    home.ok(["tick"]);
    assert_eq!(home.json(["task", "show", "2"])["method"], "gone");
    assert_eq!(home.json(["schedule", "show", "t"])["error"], json!(null));
}

#[test]
fn what_cannot_be_is_refused() {
    let home = home();
    for (arguments, exit) in [
        (&["--cron", "0 0 30 2 *", "m"][..], 2),
        (&["--cron", "61 * * * *", "m"], 2),
        (&["--cron", "@hourly", "--every", "1h", "m"], 2),
        (&["--every", "0", "m"], 2),
        (&["--every", "1h", "--zone", "Paris", "m"], 2),
        (&["--every", "1h", "--first", "soon", "m"], 2),
        (&["--cron", "@hourly", "--first", "12:00", "m"], 2),
        (&["--cron", "@hourly", "nobody"], 1),
        (&["m"], 2),
    ] {
        let answer = home.run([&["schedule", "set", "s"][..], arguments].concat());
        assert_eq!(answer.code(), exit, "{arguments:?}");
    }
    assert_eq!(home.json(["schedule", "list"]), json!([]));
    home.run(["schedule", "show", "s"]).refused();
    home.run(["schedule", "remove", "s"]).refused();
}

#[test]
fn a_schedule_that_is_defined_anew_keeps_its_dates_unless_they_change() {
    let mut home = home();
    set(&home, "s", &["--cron", "@hourly"]);
    home.set_now("2026-11-27T13:30+01:00");
    set(&home, "s", &["--cron", "@hourly", "--priority", "2"]);
    assert_eq!(
        home.json(["schedule", "show", "s"])["next_at"],
        "2026-11-27T12:00:00Z"
    );
    set(&home, "s", &["--cron", "45 * * * *"]);
    assert_eq!(
        home.json(["schedule", "show", "s"])["next_at"],
        "2026-11-27T12:45:00Z"
    );
}

#[test]
fn a_clock_that_is_set_back_repeats_nothing_and_status_names_what_waits_too_long() {
    let mut home = home();
    set(&home, "s", &["--cron", "@hourly"]);
    let times = ["2026-11-29T13:00+01:00", "2026-11-27T13:00+01:00"];
    assert_eq!(added(&mut home, &times).len(), 1);
    let attention = home.json(["status"])["attention"].to_string();
    assert!(attention.contains("the clock was ahead"), "{attention}");
    set(&home, "s", &["--cron", "@hourly"]);
    home.ok(["schedule", "remove", "s"]);
    set(&home, "s", &["--cron", "@hourly"]);
    assert_eq!(
        home.json(["schedule", "show", "s"])["next_at"],
        "2026-11-27T13:00:00Z"
    );
    assert_eq!(home.json(["status"])["attention"], json!([]));
}

#[test]
fn another_zone_moves_the_dates_of_those_that_have_none_of_their_own() {
    let home = home();
    set(&home, "s", &["--cron", "0 15 * * *"]);
    set(
        &home,
        "t",
        &["--cron", "0 15 * * *", "--zone", "Europe/Paris"],
    );
    home.ok(["config", "set", "time.zone", "UTC"]);
    assert_eq!(
        home.json(["schedule", "show", "s"])["next_at"],
        "2026-11-27T15:00:00Z"
    );
    assert_eq!(
        home.json(["schedule", "show", "t"])["next_at"],
        "2026-11-27T14:00:00Z"
    );
}

#[test]
fn a_rehearsal_shows_what_is_to_come() {
    let home = home();
    set(&home, "nightly", &["--cron", "30 2 * * *"]);
    let story = home.json(["rehearse", "--until", "2026-11-29T12:00"]);
    let told = |entry: &serde_json::Value| {
        assert_eq!(
            (&entry["kind"], &entry["schedule"]),
            (&json!("task"), &json!("nightly"))
        );
        entry["at"].as_str().unwrap().to_owned()
    };
    let at: Vec<String> = story.as_array().unwrap().iter().map(told).collect();
    assert_eq!(at, ["2026-11-28T01:30:00Z", "2026-11-29T01:30:00Z"]);
    assert_eq!(home.json(["task", "list"]), json!([]));
}

#[test]
fn ticks_that_overlap_add_each_task_once() {
    let mut home = home();
    for n in 0..20 {
        set(
            &home,
            &format!("s{n}"),
            &["--cron", "@hourly", "--missed", "all"],
        );
    }
    home.set_now("2026-11-27T15:00+01:00");
    let ticks: Vec<_> = (0..4).map(|_| home.start(["tick"])).collect();
    for tick in ticks {
        tick.end().ok();
    }
    assert_eq!(home.sql_value::<i64>("SELECT count(*) FROM task"), 60);
    let distinct = "SELECT count(DISTINCT schedule || run_at) FROM task";
    assert_eq!(home.sql_value::<i64>(distinct), 60);
}

#[test]
fn a_crontab_is_imported_line_by_line() {
    let mut home = home();
    let crontab = home.write(
        "crontab",
        "MAILTO=ops@example.org\nGREETING=hello\n# each hour\n0 * * * * echo $GREETING > \"$DIR/out\"\n30 12 * * * cat > \"$DIR/in\"%one%two\n",
    );
    let dir = format!("DIR={}\n", home.folder().display());
    let text = dir + &std::fs::read_to_string(&crontab).unwrap();
    std::fs::write(&crontab, text).unwrap();
    let dry = home.run(["schedule", "import", "crontab", "--dry-run"]);
    assert!(
        dry.err().contains("line 2: MAILTO is left out"),
        "{}",
        dry.all()
    );
    assert_eq!(home.json(["schedule", "list"]), json!([]));
    let report = home.json(["schedule", "import", "crontab"]);
    assert_eq!(
        report["left_out"],
        json!([{"line": 2, "variable": "MAILTO"}])
    );
    let names: Vec<_> = report["schedules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["method"])
        .collect();
    assert_eq!(names, ["cron:echo", "cron:cat"]);
    home.ok(["tick"]);
    home.set_now("2026-11-27T13:00+01:00");
    home.ok(["tick"]);
    assert_eq!(home.read("out"), "hello\n");
    assert_eq!(home.read("in"), "one\ntwo\n");
    let again = home.run(["schedule", "import", "crontab"]).refused();
    assert!(
        again.contains("there is a schedule 'echo' already"),
        "{again}"
    );
}

#[test]
fn a_crontab_with_a_line_that_cannot_be_taken_is_refused_as_a_whole() {
    let home = home();
    for (line, reason) in [
        ("@reboot echo", "@reboot is no date"),
        ("61 * * * * echo", "line 2"),
        ("* * * * *", "there is no command"),
    ] {
        home.write("crontab", format!("@daily echo good\n{line}\n"));
        let told = home.run(["schedule", "import", "crontab"]).refused();
        assert!(
            told.contains(reason) && told.contains("nothing was added"),
            "{told}"
        );
    }
    home.write("crontab", "@daily nobody-at-all echo\n");
    let told = home
        .run(["schedule", "import", "--system", "crontab"])
        .refused();
    assert!(told.contains("it runs as 'nobody-at-all'"), "{told}");
    assert_eq!(home.json(["schedule", "list"]), json!([]));
    assert_eq!(home.json(["method", "list"]).as_array().unwrap().len(), 1);
}

#[test]
fn another_zone_repeats_nothing_that_has_come() {
    let mut home = home();
    set(&home, "s", &["--cron", "0 9 * * *"]);
    home.set_now("2026-11-28T09:00+01:00");
    home.ok(["tick"]);
    home.ok(["config", "set", "time.zone", "America/New_York"]);
    let times = ["2026-11-28T10:00+01:00", "2026-11-28T15:00+01:00"];
    assert_eq!(
        added(&mut home, &times),
        ["2026-11-28T08:00:00Z", "2026-11-28T14:00:00Z"]
    );
}

#[test]
fn however_many_were_missed_all_are_added_together() {
    let mut home = home();
    set(&home, "s", &["--cron", "* * * * *", "--missed", "all"]);
    home.ok(["pause", "method", "m"]);
    home.set_now("2026-11-29T12:00+01:00");
    assert_eq!(home.json(["tick"])["scheduled"], 2880);
}

#[test]
fn a_first_date_that_is_now_counts() {
    let mut home = home();
    set(&home, "s", &["--every", "1h", "--first", "12:00"]);
    assert_eq!(added(&mut home, &["2026-11-27T12:00+01:00"]).len(), 1);
}

#[test]
fn a_unique_task_is_added_once_by_whichever_way() {
    let home = home();
    home.sql("UPDATE method SET paused = 1");
    set(
        &home,
        "s",
        &["--cron", "@hourly", "--signature", "x", "--unique"],
    );
    home.ok(["schedule", "run", "s"]);
    let told = home.run(["schedule", "run", "s"]).refused();
    assert!(
        told.contains("task 1 of the same signature is not over"),
        "{told}"
    );
}

#[test]
fn a_schedule_loses_a_document_that_is_deleted_and_follows_one_that_is_replaced() {
    let home = home();
    home.sql("INSERT INTO document (key) VALUES ('a'), ('b')");
    set(&home, "a", &["--cron", "@hourly", "--document", "a"]);
    set(&home, "b", &["--cron", "@hourly", "--document", "b"]);
    home.sql("PRAGMA foreign_keys = OFF; DELETE FROM document WHERE key = 'a'; INSERT OR REPLACE INTO document (key) VALUES ('b')");
    assert_eq!(
        home.json(["schedule", "show", "a"])["document"],
        json!(null)
    );
    assert_eq!(home.json(["schedule", "show", "b"])["document"], 3);
}

#[test]
fn a_method_whose_tasks_a_schedule_adds_cannot_be_removed() {
    let home = home();
    set(&home, "s", &["--cron", "@hourly"]);
    let told = home.run(["method", "remove", "m"]).refused();
    assert!(told.contains("the schedule 's' adds its tasks"), "{told}");
}
