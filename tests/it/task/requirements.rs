//! What the program was first asked to do with tasks, sentence by sentence (`docs/handlers.md`).

use crate::kit::runner::Home;
use serde_json::json;

const SAYS_ALL: &str = r#"cat > input.json
echo '{"type":"log","level":"info","message":"begun"}'
echo '{"type":"debug","message":"cache is cold"}'
echo '{"type":"progress","step":3,"max":10,"phase":1,"phases":2,"label":"reading"}'
echo '{"type":"log","level":"error","message":"no title","details":{"object":7}}'"#;

/// “Créer une tâche”: `setMethod('…TIFService:extractAll')`, `setParametres(['source' => $source])`, `add`.
#[test]
fn a_task_is_created_with_a_method_and_params() {
    let home = Home::new();
    home.method("TIFService:extractAll", "cat > input.json");
    let add = ["task", "add", "TIFService:extractAll", "-p", "source=web"];
    assert_eq!(home.ok(add), "1");
    assert_eq!(home.status("1"), "TO_RUN");
    home.ok(["tick"]);
    let input: serde_json::Value = serde_json::from_str(&home.read("input.json")).unwrap();
    assert_eq!(input["method"], "TIFService:extractAll");
    assert_eq!(input["params"], json!({"source": "web"}));
}

/// A name with backslashes, as PHP's classes have them, is a name like any other.
#[test]
fn a_method_may_be_named_as_a_class_is() {
    let home = Home::new();
    home.method(r"App\Services\TIFService:extractAll", "exit 0");
    home.ok(["task", "add", r"App\Services\TIFService:extractAll"]);
    home.ok(["tick"]);
    assert_eq!(home.status("1"), "COMPLETED");
}

/// “tache: nom de la classe et de la fonction qui seront lancées”.
#[test]
fn the_name_of_the_service_finds_the_program_and_the_name_of_the_method_is_its_argument() {
    let home = Home::new();
    home.method("DescriptifsThematises:*", "echo \"$1\" > called");
    home.ok(["task", "add", "DescriptifsThematises:import"]);
    home.ok(["tick"]);
    assert_eq!(home.read("called"), "import\n");
}

/// “Lancer le gestionnaire de tâche”.
#[test]
fn the_task_manager_runs_the_tasks_that_are_to_run() {
    let home = Home::new();
    home.method("m", "echo $RUNNER_TASK >> ran");
    for _ in 0..3 {
        home.ok(["task", "add", "m"]);
    }
    home.ok(["task", "cancel", "2"]);
    assert_eq!(home.ok(["tick"]), "");
    let mut ran = home.lines("ran");
    ran.sort();
    assert_eq!(ran, ["1", "3"]);
    home.ok(["tick"]);
    assert_eq!(home.lines("ran").len(), 2, "what is over is not run again");
}

/// “Lancer une tâche seule (ex: id 18). C'est exactement ce que ferait le gestionnaire de tâche”.
#[test]
fn a_task_run_alone_meets_what_it_would_meet_in_a_tick() {
    let seen = |command: &[&str]| {
        let home = Home::new().at("2026-04-10T09:00");
        home.method(
            "m",
            "cat > input; env | grep ^RUNNER_ | sort > env; pwd > pwd",
        );
        home.ok([
            "task",
            "add",
            "m",
            "-p",
            "a=1",
            "--hidden-params",
            r#"{"t":"xyzw"}"#,
        ]);
        home.ok(command);
        let own = home.folder().display().to_string();
        let files = ["input", "env", "pwd"].map(|name| home.read(name));
        assert!(files.iter().all(|file| !file.is_empty()), "{files:?}");
        files.map(|file| file.replace(&own, ""))
    };
    assert_eq!(seen(&["task", "run", "1"]), seen(&["tick"]));
}

/// “fichier (optionnel) … Il peut aussi être ajouté plus tard.”
#[test]
fn a_file_can_be_given_with_a_task_or_later_or_not_at_all() {
    let home = Home::new();
    home.method(
        "m",
        "cat \"${RUNNER_FILE:-none.txt}\" >> seen; basename \"$RUNNER_FILE\" >> seen",
    );
    home.write("none.txt", "no file,");
    home.write("members.csv", "Ada,");
    home.ok(["task", "add", "m"]);
    home.ok(["task", "add", "m", "--file", "members.csv"]);
    home.ok(["task", "add", "m"]);
    home.ok(["task", "file", "3", "--set", "members.csv"]);
    std::fs::remove_file(home.path("members.csv")).unwrap();
    for id in ["1", "2", "3"] {
        home.ok(["task", "run", id]);
    }
    assert_eq!(
        home.read("seen"),
        "no file,\nAda,members.csv\nAda,members.csv\n"
    );
    assert_eq!(home.task("3")["file"], "members.csv");
}

#[test]
fn a_tasks_file_lies_where_only_its_owner_may_look() {
    let home = Home::new();
    home.method(
        "m",
        "stat -c %a \"$RUNNER_FILE\" \"$(dirname \"$RUNNER_FILE\")\" > modes",
    );
    home.write("members.csv", "Ada");
    home.ok(["task", "add", "m", "--file", "members.csv"]);
    home.ok(["tick"]);
    assert_eq!(home.lines("modes"), ["600", "700"]);
}

/// “parametresCaches: paramètres qui ne doivent pas être exposés : token d'écriture par exemple”.
#[test]
fn hidden_params_reach_the_handler_and_are_not_exposed() {
    let home = Home::new();
    home.method("m", "cat > input.json");
    home.ok([
        "task",
        "add",
        "m",
        "--hidden-params",
        r#"{"token":"w-8231"}"#,
    ]);
    home.ok(["tick"]);
    assert!(
        home.read("input.json")
            .contains(r#""hidden_params":{"token":"w-8231"}"#)
    );
    assert_eq!(home.task("1")["hidden_params"], json!({"token": "***"}));
    assert!(!home.ok(["task", "show", "1"]).contains("w-8231"));
}

/// “La tâche doit renvoyer true si elle se termine (avec ou sans erreur), false si elle ne se termine pas”.
#[test]
fn a_task_that_comes_to_its_end_is_completed_and_one_that_cannot_is_failed() {
    let home = Home::new();
    home.method("ends", "exit 0");
    home.method("ends-with-errors", "runner_log() { echo '{\"type\":\"log\",\"level\":\"error\",\"message\":\"a bad row\"}'; }; runner_log; exit 0");
    home.method("cannot", "exit 1");
    for method in ["ends", "ends-with-errors", "cannot"] {
        home.ok(["task", "add", method]);
    }
    assert_eq!(home.run(["tick"]).code(), 1);
    assert_eq!(home.status("1"), "COMPLETED");
    assert_eq!(home.status("2"), "COMPLETED");
    assert_eq!(home.status("3"), "FAILED");
}

/// “on peut envoyer des logs … qui seront envoyés dans le logger de tâches, et dans les résultats de la tâche”.
#[test]
fn logs_are_kept_with_the_task_for_display() {
    let home = Home::new().at("2026-04-10T09:00");
    home.method("m", SAYS_ALL);
    home.ok(["task", "add", "m"]);
    home.ok(["tick"]);
    let logs = home.task("1")["logs"].clone();
    let at = "2026-04-10T09:00:00Z";
    let begun =
        json!({"attempt": 1, "at": at, "level": "info", "message": "begun", "details": null});
    let no_title = json!({"attempt": 1, "at": at, "level": "error", "message": "no title", "details": {"object": 7}});
    assert_eq!(logs, json!([begun, no_title]));
    assert_eq!(home.json(["task", "logs", "1"]), logs);
}

/// “un fallback est prévu dans le cas contraire, mais le fallback sera moins précis”.
#[test]
fn a_handler_that_fails_without_a_word_of_its_own_gets_an_error_logged_for_it() {
    let home = Home::new();
    home.method("m", "echo 'Uncaught exception: no route' >&2; exit 255");
    home.ok(["task", "add", "m"]);
    home.run(["tick"]);
    let warning = (
        "warning".to_owned(),
        "Uncaught exception: no route".to_owned(),
    );
    let error = (
        "error".to_owned(),
        "exit status 255: Uncaught exception: no route".to_owned(),
    );
    assert_eq!(home.logs("1"), [warning, error]);
    assert_eq!(home.task("1")["exit_code"], 255);
}

/// “l'erreur doit être loguée `log('error','Message',['details']?)` puis la tâche doit retourner `false`”.
#[test]
fn a_handler_that_logs_its_error_and_fails_is_told_by_its_own_words() {
    let home = Home::new();
    home.method(
        "m",
        r#"echo '{"type":"log","level":"error","message":"quota exceeded"}'; exit 1"#,
    );
    home.ok(["task", "add", "m"]);
    let tick = home.run(["tick"]);
    assert_eq!(tick.refused(), "runner: task 1 (m) failed: quota exceeded");
    assert_eq!(
        home.logs("1"),
        [("error".to_owned(), "quota exceeded".to_owned())]
    );
}

/// “Un log('error',...) ne doit pas forcément être suivi d'un return false”.
#[test]
fn an_error_that_does_not_keep_the_task_from_going_on_does_not_fail_it() {
    let home = Home::new();
    home.method("m", SAYS_ALL);
    home.ok(["task", "add", "m"]);
    home.ok(["tick"]);
    assert_eq!(home.status("1"), "COMPLETED");
}

/// “Debug”: a parameter 1 after the id shows logs live, and debug messages that are not logged.
#[test]
fn debug_mode_shows_logs_live_and_debug_messages_which_are_stored_nowhere() {
    let home = Home::new().at("2026-04-10T09:00");
    home.method("m", SAYS_ALL);
    home.ok(["task", "add", "m"]);
    let live = "\
2026-04-10 09:00:00  info     begun
                     debug    cache is cold
                     progress phase 1/2 3/10 reading
2026-04-10 09:00:00  error    no title  {\"object\":7}";
    assert_eq!(home.ok(["task", "run", "1", "1"]), live);
    assert_eq!(
        home.ok(["task", "run", "1"]),
        "",
        "without it nothing is shown"
    );
    assert!(!crate::kit::database::dump(&home.db()).contains("cache is cold"));
    assert!(!home.ok(["task", "logs", "1"]).contains("cache is cold"));
}

/// “Progression”: “La progression sera enregistrée en base et affichée en IHM.”
#[test]
fn progress_is_stored_and_shown() {
    let home = Home::new();
    home.method("m", SAYS_ALL);
    home.ok(["task", "add", "m"]);
    home.ok(["tick"]);
    let progress = json!({"phase": 1, "phases": 2, "step": 3, "max": 10, "label": "reading"});
    assert_eq!(home.task("1")["progress"], progress);
    let stored: String = home.sql_value("SELECT progress FROM task");
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&stored).unwrap(),
        progress
    );
    assert!(home.ok(["task", "list"]).contains("phase 1/2 3/10 reading"));
}
