//! Resident handlers: one process that is fed many tasks.
use crate::kit::process::until;
use crate::kit::runner::Home;

/// A handler in shell: `each` is done for the task whose line is in `$line` and whose id is in `$id`.
fn resident(home: &Home, options: &[&str], each: &str) {
    let script = format!(
        r#"echo $$ >> processes
while read -r line; do
    id=$(printf '%s' "$line" | sed 's/{{"task":\([0-9]*\).*/\1/')
    {each}
done
echo bye >> said"#
    );
    let mut all = vec!["--resident"];
    all.extend(options);
    home.method_with("Many:run", &all, &script);
}

const FIRST_ID: &str = r#"id=$(printf '%s' "$line" | sed 's/{"task":\([0-9]*\).*/\1/')"#;
const DONE: &str = r#"echo "{\"type\":\"done\",\"task\":$id,\"ok\":true}""#;

fn home(tasks: usize) -> Home {
    let home = Home::new();
    home.ok(["config", "set", "task.max_running", "1"]);
    home.method("Many:run", "true");
    for _ in 0..tasks {
        home.ok(["task", "add", "Many:run"]);
    }
    home
}

fn statuses(home: &Home) -> Vec<String> {
    let tasks = home.json(["task", "list"]);
    let tasks = tasks.as_array().unwrap().iter();
    tasks
        .map(|task| task["status"].as_str().unwrap().to_owned())
        .collect()
}

fn processes(home: &Home) -> usize {
    home.read("processes").lines().count()
}

fn messages(home: &Home, task: &str) -> Vec<String> {
    let logs = home.json(["task", "logs", task]);
    let logs = logs.as_array().unwrap().iter();
    logs.map(|entry| entry["message"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn one_process_does_all_tasks_and_is_told_when_there_are_no_more() {
    let home = home(5);
    resident(&home, &[], DONE);
    assert_eq!(home.ok(["tick"]), "");
    assert_eq!(statuses(&home), ["COMPLETED"; 5]);
    assert_eq!(processes(&home), 1);
    assert_eq!(home.read("said"), "bye\n");
}

#[test]
fn it_starts_once_a_tick_and_not_at_all_without_tasks() {
    let home = home(1);
    resident(&home, &[], DONE);
    home.ok(["tick"]);
    home.ok(["tick"]);
    assert_eq!(processes(&home), 1);
    home.ok(["task", "add", "Many:run"]);
    home.ok(["tick"]);
    assert_eq!(processes(&home), 2);
}

#[test]
fn with_a_pipeline_it_is_given_tasks_before_it_is_done_with_the_first() {
    let home = home(4);
    let each = r#"held="$held $id"
    case "$held" in *" 4") for id in $held; do echo "{\"type\":\"done\",\"task\":$id,\"ok\":true}"; done;; esac"#;
    resident(&home, &["--pipeline", "4"], each);
    home.ok(["tick"]);
    assert_eq!(statuses(&home), ["COMPLETED"; 4]);
}

#[test]
fn each_line_goes_to_the_task_that_it_names_and_to_no_task_of_others() {
    let home = home(2);
    let each = format!(
        r#"echo "{{\"type\":\"log\",\"task\":$id,\"level\":\"info\",\"message\":\"this is $id\"}}"
    echo "{{\"type\":\"log\",\"task\":999,\"level\":\"error\",\"message\":\"forged\"}}"
    echo "{{\"type\":\"done\",\"task\":999,\"ok\":true}}"
    echo "{{\"type\":\"result\",\"task\":$id,\"value\":$id}}"
    {DONE}"#
    );
    resident(&home, &[], &each);
    home.ok(["task", "add", "Many:run", "--at", "2030-01-01"]);
    home.ok(["tick"]);
    for id in ["1", "2"] {
        let forged = r#"{"type":"log","task":999,"level":"error","message":"forged"}"#;
        assert_eq!(
            messages(&home, id),
            [format!("this is {id}"), forged.to_owned()]
        );
        let result = &home.json(["task", "show", id])["result"];
        assert_eq!(result.to_string(), id);
    }
    assert_eq!(home.status("3"), "TO_RUN");
}

#[test]
fn a_task_that_it_says_it_could_not_do_has_failed() {
    let home = home(2);
    let each = r#"ok=true; [ $id = 1 ] && ok=false
    echo "{\"type\":\"done\",\"task\":$id,\"ok\":$ok}""#;
    resident(&home, &[], each);
    let said = home.refused(["tick"]);
    assert!(said.contains("task 1 (Many:run) failed"), "{said}");
    assert_eq!(statuses(&home), ["FAILED", "COMPLETED"]);
}

#[test]
fn what_it_says_on_standard_error_before_it_is_done_belongs_to_that_task() {
    let home = home(30);
    let each = format!(
        "echo \"reason of $id\" >&2\n{}",
        DONE.replace("true", "false")
    );
    resident(&home, &[], &each);
    assert_eq!(home.run(["tick"]).code(), 1);
    for task in 1..=30 {
        let reason = format!("reason of {task}");
        let failed = format!("the handler said that it could not: {reason}");
        assert_eq!(messages(&home, &task.to_string()), [reason, failed]);
    }
}

#[test]
fn when_it_dies_its_task_is_interrupted_with_its_last_words_and_the_others_have_another() {
    let home = home(4);
    let each = format!("[ $id = 2 ] && {{ echo out of memory >&2; exit 7; }}\n    {DONE}");
    resident(&home, &[], &each);
    let said = home.refused(["tick"]);
    let words = "its resident handler ended before the task did, with exit status 7: out of memory";
    assert!(said.contains(words), "{said}");
    assert_eq!(
        statuses(&home),
        ["COMPLETED", "INTERRUPTED", "COMPLETED", "COMPLETED"]
    );
    assert_eq!(processes(&home), 2);
}

#[test]
fn one_that_only_dies_is_not_started_for_ever_and_its_tasks_stay_pending() {
    let home = home(6);
    resident(&home, &[], "exit 1");
    let said = home.run(["tick"]).err();
    assert!(
        said.contains("died 3 times before it was done with a task"),
        "{said}"
    );
    assert_eq!(processes(&home), 3);
    let mut expected = vec!["INTERRUPTED"; 3];
    expected.extend(["TO_RUN"; 3]);
    assert_eq!(statuses(&home), expected);
}

#[test]
fn a_time_limit_is_that_of_a_task_and_not_of_the_process() {
    let home = home(3);
    let each = format!("[ $id = 2 ] && sleep 600\n    sleep 0.4\n    {DONE}");
    resident(&home, &["--timeout", "1s"], &each);
    let said = home.refused(["tick"]);
    assert!(
        said.contains("task 2 (Many:run) was interrupted: ended at its time limit"),
        "{said}"
    );
    assert_eq!(statuses(&home), ["COMPLETED", "INTERRUPTED", "COMPLETED"]);
}

#[test]
fn a_task_of_it_can_be_stopped_and_the_others_go_on() {
    let home = home(2);
    let each = format!("[ $id = 1 ] && {{ echo > begun; sleep 600; }}\n    {DONE}");
    resident(&home, &[], &each);
    let tick = home.start(["tick"]);
    until("the first task has begun", || home.path("begun").exists());
    home.ok(["task", "stop", "1"]);
    assert_eq!(tick.end().code(), 1);
    assert_eq!(statuses(&home), ["INTERRUPTED", "COMPLETED"]);
}

#[test]
fn it_reads_hidden_params_and_what_it_prints_of_them_is_masked() {
    let home = Home::new();
    let each = format!("echo \"$line\" >> seen\n    echo \"token: s3cret-token\"\n    {DONE}");
    resident(&home, &[], &each);
    home.ok([
        "task",
        "add",
        "Many:run",
        "--hidden-params",
        r#"{"token":"s3cret-token"}"#,
    ]);
    home.ok(["tick"]);
    assert!(home.read("seen").contains("s3cret-token"));
    assert_eq!(messages(&home, "1"), ["token: ***"]);
}

#[test]
fn what_it_held_when_the_tick_was_killed_is_interrupted_and_what_it_had_not_been_given_is_not() {
    let home = home(3);
    let each = format!("[ -e go ] || {{ echo > begun; sleep 600; }}\n    {DONE}");
    resident(&home, &[], &each);
    let tick = home.start(["tick"]);
    until("the first task has begun", || home.path("begun").exists());
    tick.kill();
    home.write("go", "");
    assert_eq!(home.run(["tick"]).code(), 1);
    assert_eq!(statuses(&home), ["INTERRUPTED", "COMPLETED", "COMPLETED"]);
}

#[test]
fn what_it_says_of_the_secrets_of_a_task_that_it_is_done_with_is_masked_too() {
    let home = Home::new();
    let each = format!(
        r#"if [ $id = 1 ]; then
        first=$(printf '%s' "$line" | sed 's/.*"token":"\([^"]*\)".*/\1/')
        {DONE}
    else
        echo "plain $first"
        echo "{{\"type\":\"log\",\"task\":1,\"message\":\"late $first\"}}"
        echo "last $first" >&2
        exit 3
    fi"#
    );
    resident(&home, &[], &each);
    home.ok(["config", "set", "task.max_running", "1"]);
    for token in ["s3cret-one", "s3cret-two"] {
        let hidden = format!(r#"{{"token":"{token}"}}"#);
        home.ok(["task", "add", "Many:run", "--hidden-params", &hidden]);
    }
    let tick = home.run(["-v", "tick"]).all();
    let shown = format!("{tick}\n{}", home.ok(["--json", "task", "logs", "2"]));
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(
        shown.contains("plain ***") && shown.contains("late ***"),
        "{shown}"
    );
    assert!(tick.contains("with exit status 3: last ***"), "{tick}");
}

#[test]
fn an_end_that_cannot_be_read_is_told_in_the_log_of_its_task() {
    let home = home(3);
    let each = r#"case $id in
        1) echo '{"type":"done","task":"1","ok":1}' ;;
        2) echo '{"type":"done","task":2}'; echo '{"type":"done","ok":true}'; echo '{"type":"done","task":2,"ok":true}' ;;
        3) echo '{"type":"done","task":3.0,"ok":"false"}' ;;
    esac"#;
    resident(&home, &[], each);
    home.refused(["tick"]);
    assert_eq!(statuses(&home), ["COMPLETED", "COMPLETED", "FAILED"]);
    let told = home.logs("2");
    let [(no_end, one), (no_task, other)] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!((no_end.as_str(), no_task.as_str()), ("warning", "warning"));
    assert!(one.contains("whether the task came to its end"), "{one}");
    assert!(other.contains("which task is done"), "{other}");
}

#[test]
fn one_that_closes_its_input_is_ended_and_the_tasks_that_it_never_heard_of_have_another() {
    let home = home(3);
    let script = format!(
        "echo $$ >> processes; read -r line\n{FIRST_ID}\nexec 0<&-; {DONE}; [ $id = 3 ] || exec sleep 300"
    );
    home.method_with("Many:run", &["--resident"], &script);
    assert_eq!(home.ok(["tick"]), "");
    assert_eq!(statuses(&home), ["COMPLETED"; 3]);
    assert_eq!(processes(&home), 3);
}

#[test]
fn one_that_closes_its_output_is_ended_and_its_task_is_interrupted() {
    let home = home(2);
    let script = format!(
        "echo $$ >> processes; read -r line\n{FIRST_ID}\n[ $id = 2 ] || exec 1>&- sleep 300\n{DONE}"
    );
    home.method_with("Many:run", &["--resident"], &script);
    let said = home.refused(["tick"]);
    assert!(said.contains("since it had closed its output"), "{said}");
    assert_eq!(statuses(&home), ["INTERRUPTED", "COMPLETED"]);
}

#[test]
fn what_was_never_written_to_one_that_died_is_run_by_another() {
    let home = Home::new();
    home.ok(["config", "set", "task.max_running", "1"]);
    let script = format!(
        "echo $$ >> processes; [ $(wc -l < processes) -gt 1 ] || {{ until [ -e go ]; do sleep 0.02; done; exit 1; }}
while read -r line; do\n{FIRST_ID}\n{DONE}; done"
    );
    home.method_with("Many:run", &["--resident", "--pipeline", "3"], &script);
    // The first does not fit into the pipe: what comes after it waits.
    let big = format!(
        r#"{{"method":"Many:run","params":"{}"}}"#,
        "x".repeat(200_000)
    );
    let small = r#"{"method":"Many:run"}"#;
    home.write("many.jsonl", format!("{big}\n{small}\n{small}\n"));
    home.ok(["task", "add", "--batch", "many.jsonl"]);
    let tick = home.start(["tick"]);
    until("the last task is claimed", || home.status("3") == "RUNNING");
    home.write("go", "");
    assert_eq!(tick.end().code(), 1);
    assert_eq!(statuses(&home), ["INTERRUPTED", "COMPLETED", "COMPLETED"]);
}
