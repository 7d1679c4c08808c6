//! Processes that handlers left behind. They are known by the mark that the worker put in their environment, so that a
//! pid which was used again is never taken for one of them.

use std::fs;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal, test_kill_process};

/// The variable of a handler's environment that says which worker started it.
pub(crate) const MARK: &str = "RUNNER_WORKER";

/// Kills the resident handlers of a worker, which are of no one task.
pub(crate) fn kill_residents(mark: &str) {
    let marked = processes().filter(|&pid| has(pid, &format!("{MARK}={mark}")));
    let of_no_task = |pid: &i32| {
        !environment(*pid)
            .split(|&byte| byte == 0)
            .any(|set| set.starts_with(b"RUNNER_TASK="))
    };
    marked.filter(of_no_task).for_each(|pid| kill(pid, mark));
}

/// Kills every process that the handler of a task left behind.
pub(crate) fn kill_all_of(mark: &str, task: i64) {
    for (_, pid, _) in of_worker(mark).into_iter().filter(|(of, ..)| *of == task) {
        kill(pid, mark);
    }
}

/// The processes that left the groups of a worker's handlers and outlived them: their task, pid and name. Those that
/// stayed were killed with their handler, and may take a moment to be gone.
pub(crate) fn gone_their_own_way(mark: &str) -> Vec<(i64, i32, String)> {
    let mut left = of_worker(mark);
    left.retain(|&(_, pid, _)| is_of_its_own(pid));
    left
}

/// Whether a process is in another session than we, or in a group whose leader lives. The leader of a handler's group
/// is the handler.
fn is_of_its_own(pid: i32) -> bool {
    // Without an answer it is gone by now.
    session_and_group(pid).is_some_and(|(session, group)| {
        let ours = session_and_group(own_pid()).map(|(session, _)| session);
        ours != Some(session)
            || Pid::from_raw(group).is_some_and(|group| test_kill_process(group).is_ok())
    })
}

/// The session and the group of a process; 0 for one that is led from outside of our container, for which there is no
/// [`Pid`].
fn session_and_group(pid: i32) -> Option<(i32, i32)> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_session_and_group(&stat)
}

/// From a line of `proc(5)`: the pid, the name in brackets, which may have anything in it, the state, the parent, the
/// group, the session.
fn parse_session_and_group(stat: &[u8]) -> Option<(i32, i32)> {
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    let mut fields = str::from_utf8(stat.get(name_end + 1..)?)
        .ok()?
        .split_ascii_whitespace();
    let group = fields.nth(2)?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    Some((session, group))
}

fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap_or(0)
}

/// The processes that a worker's handlers left behind: their task, pid and name.
fn of_worker(mark: &str) -> Vec<(i64, i32, String)> {
    let mark = format!("{MARK}={mark}");
    let of_task = |pid| Some((task_of(&environment(pid), &mark)?, pid, name(pid)));
    processes().filter_map(of_task).collect()
}

/// All processes but this one.
fn processes() -> impl Iterator<Item = i32> {
    let us = own_pid();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(move |&pid| pid != us)
}

fn task_of(environment: &[u8], mark: &str) -> Option<i64> {
    let variables = || environment.split(|&byte| byte == 0);
    variables().find(|set| *set == mark.as_bytes())?;
    let task = variables().find_map(|set| set.strip_prefix(b"RUNNER_TASK="))?;
    str::from_utf8(task).ok()?.parse().ok()
}

fn has(pid: i32, variable: &str) -> bool {
    environment(pid)
        .split(|&byte| byte == 0)
        .any(|set| set == variable.as_bytes())
}

/// Empty for a process that is gone, or somebody else's.
fn environment(pid: i32) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/environ")).unwrap_or_default()
}

fn name(pid: i32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    crate::error::one_line(&name)
}

/// Through a handle that cannot come to mean another process, looked at again once it is held.
fn kill(pid: i32, mark: &str) {
    let Some(process) = Pid::from_raw(pid) else {
        return;
    };
    if let Ok(handle) = pidfd_open(process, PidfdFlags::empty())
        && has(pid, &format!("{MARK}={mark}"))
    {
        let _ = pidfd_send_signal(&handle, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_and_group_are_read_behind_whatever_name_a_process_has() {
        let cases: [(&[u8], _); 4] = [
            (b"7 (sleep) S 1 7 5 0 -1", Some((5, 7))),
            (b"7 (a) b) (c) R 1 9 8 0 -1", Some((8, 9))),
            (b"7 (\xff\n 1 2 3) S 0 0 0 0 -1", Some((0, 0))),
            (b"7 (sleep", None),
        ];
        for (stat, read) in cases {
            assert_eq!(parse_session_and_group(stat), read);
        }
    }

    #[test]
    fn a_process_that_is_gone_is_not_of_its_own() {
        assert!(!is_of_its_own(i32::MAX));
    }
}
