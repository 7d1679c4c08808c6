//! Starting a process the fast way on Linux.
//!
//! The standard library starts one by `posix_spawn`, without copying our memory, or by `fork`, when something is to be
//! done between fork and exec. Here something is: the handler must die with us. A fork costs as much as a short
//! handler takes in all, and more the more memory we have; so this does what `posix_spawn` does inside, with one
//! system call more in the child.

use std::ffi::{CStr, CString, OsStr, OsString, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use crate::shutdown::empty_signals;

/// Enough for the few calls that the child makes; a guard is not needed, since their depth is known.
const STACK: usize = 32 * 1024;

/// The parent's ends of the pipes of a new process, and its id.
#[derive(Debug)]
pub(super) struct Spawned {
    pub(super) pid: Pid,
    pub(super) input: OwnedFd,
    pub(super) out: OwnedFd,
    pub(super) err: OwnedFd,
}

/// All that the child needs, made before it exists: it may not allocate.
struct Plan {
    programs: Vec<CString>,
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
    folder: CString,
    pipes: [RawFd; 3],
    parent: libc::pid_t,
    signals: libc::sigset_t,
    error: c_int,
}

/// The environment that handlers inherit from the runner, made once for all of them.
#[derive(Debug)]
pub struct Environment {
    variables: Vec<CString>,
    path: Option<OsString>,
}

impl Environment {
    /// The runner's own, without what is not for handlers, and with a PATH on which they find the runner.
    pub fn inherited(withheld: &[&str]) -> Self {
        let is_inherited =
            |name: &OsString| name != "PATH" && withheld.iter().all(|other| name != other);
        let ours = std::env::vars_os().filter(|(name, _)| is_inherited(name));
        let path = path_to_runner();
        let path_too = path.iter().map(|path| ("PATH".into(), path.clone()));
        Self {
            // What came through an environment has no NUL in it.
            variables: ours
                .chain(path_too)
                .filter_map(|(name, value)| variable(&name, &value).ok())
                .collect(),
            path,
        }
    }
}

/// The PATH, with the folder of this program at its end: cron's has only the system's folders, and handlers call the
/// runner by its name.
fn path_to_runner() -> Option<OsString> {
    let path = std::env::var_os("PATH");
    let program = std::env::current_exe().ok();
    let Some(ours) = program.as_deref().and_then(Path::parent) else {
        return path;
    };
    let folders = std::env::split_paths(path.as_deref().unwrap_or(DEFAULT_PATH.as_ref()));
    let folders: Vec<_> = folders.collect();
    match folders.iter().any(|folder| folder == ours) {
        true => path,
        // A folder with a colon in its name cannot be on a PATH.
        false => std::env::join_paths(folders.iter().map(|folder| folder.as_path()).chain([ours]))
            .ok()
            .or(path),
    }
}

/// Where programs are looked for when the environment does not say.
const DEFAULT_PATH: &str = "/usr/local/bin:/bin:/usr/bin";

/// Starts a program as the leader of its own process group, with these variables besides the inherited ones, or in the
/// place of those that have the same names.
///
/// # Errors
/// The system's: the program is not there, may not be run, or there is no room for another process.
pub(super) fn spawn(
    argv: &[String],
    folder: &Path,
    inherited: &Environment,
    variables: &[(&str, OsString)],
) -> io::Result<Spawned> {
    let program = argv.first().filter(|program| !program.is_empty());
    let program = program
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "its command is empty"))?;
    let arguments = argv
        .iter()
        .map(|argument| c_string(argument.as_ref()))
        .collect::<io::Result<Vec<_>>>()?;
    // A name that stood twice would mean the first to one program and the last to another.
    let kept = inherited
        .variables
        .iter()
        .filter(|kept| !variables.iter().any(|(name, _)| is_named(kept, name)));
    let set = variables
        .iter()
        .map(|(name, value)| variable(name.as_ref(), value));
    let set = set.collect::<io::Result<Vec<_>>>()?;
    let pipes = [pipe()?, pipe()?, pipe()?];
    let [(child_in, input), (out, child_out), (err, child_err)] = pipes;
    let mut plan = Plan {
        programs: candidates(program.as_ref(), inherited.path.as_deref())?,
        argv: pointers(arguments.iter()),
        envp: pointers(kept.chain(&set)),
        folder: c_string(folder.as_os_str())?,
        pipes: [
            child_in.as_raw_fd(),
            child_out.as_raw_fd(),
            child_err.as_raw_fd(),
        ],
        parent: rustix::process::getpid().as_raw_nonzero().get(),
        signals: empty_signals(),
        error: 0,
    };
    let pid = start(&mut plan)?;
    Ok(Spawned {
        pid,
        input,
        out,
        err,
    })
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe_with(PipeFlags::CLOEXEC)?)
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "it has a NUL character"))
}

fn variable(name: &OsStr, value: &OsStr) -> io::Result<CString> {
    let mut text = name.to_owned();
    text.push("=");
    text.push(value);
    c_string(&text)
}

fn is_named(variable: &CStr, name: &str) -> bool {
    let rest = variable.to_bytes().strip_prefix(name.as_bytes());
    rest.is_some_and(|rest| rest.starts_with(b"="))
}

fn pointers<'a>(texts: impl Iterator<Item = &'a CString>) -> Vec<*const libc::c_char> {
    texts
        .map(|text| text.as_ptr())
        .chain([ptr::null()])
        .collect()
}

/// Where the program may be: at its path, or in the folders of PATH.
fn candidates(program: &OsStr, path: Option<&OsStr>) -> io::Result<Vec<CString>> {
    if program.as_bytes().contains(&b'/') {
        return Ok(vec![c_string(program)?]);
    }
    let path = path.unwrap_or(OsStr::new(DEFAULT_PATH));
    std::env::split_paths(path)
        .map(|folder| c_string(folder.join(program).as_os_str()))
        .collect()
}

#[allow(unsafe_code)]
fn start(plan: &mut Plan) -> io::Result<Pid> {
    let mut stack = vec![0_u8; STACK];
    // SAFETY: the stack grows down from its end, rounded down to what the ABI wants, and outlives the child's use of
    // it: with CLONE_VFORK we are suspended until the child has called execve or _exit. The child shares our memory,
    // runs `child` alone, and that makes plain system calls only. All shutdown are blocked around it, so that no
    // handler of ours runs in the child.
    unsafe {
        let mut all = empty_signals();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut plan.signals);
        let top = stack.as_mut_ptr().add(STACK);
        let top = top.sub(top as usize % 16);
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        let pid = libc::clone(child, top.cast(), flags, ptr::from_mut(plan).cast());
        let failed = io::Error::last_os_error();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const plan.signals, ptr::null_mut());
        match (Pid::from_raw(pid.max(0)), plan.error) {
            (None, _) => Err(failed),
            (Some(pid), 0) => Ok(pid),
            (Some(pid), error) => {
                libc::waitpid(pid.as_raw_nonzero().get(), ptr::null_mut(), 0);
                Err(io::Error::from_raw_os_error(error))
            }
        }
    }
}

/// What the child does until it is another program. It shares our memory and may neither allocate nor lock.
#[allow(unsafe_code)]
extern "C" fn child(plan: *mut c_void) -> c_int {
    // SAFETY: `plan` is the parent's, which is suspended; the calls are plain system calls on what it holds.
    unsafe {
        let plan = &mut *plan.cast::<Plan>();
        let ready = libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0
            // Before the line above took effect the runner may have died already.
            && libc::getppid() == plan.parent
            && libc::setpgid(0, 0) == 0
            && place(plan.pipes)
            && libc::chdir(plan.folder.as_ptr()) == 0;
        if ready {
            default_signals();
            let none = empty_signals();
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
            plan.error = execute(plan);
        } else {
            plan.error = *libc::__errno_location();
        }
        if plan.error == 0 {
            plan.error = libc::EIO;
        }
        libc::_exit(127)
    }
}

/// Makes the pipes the standard input, output and error. Their numbers may be those of one another when the runner
/// itself was started without some of the three: so they are moved out of the way first.
#[allow(unsafe_code)]
unsafe fn place(pipes: [RawFd; 3]) -> bool {
    let mut moved = pipes;
    for pipe in &mut moved {
        if *pipe < 3 {
            // SAFETY: a plain system call on a descriptor that is open.
            *pipe = unsafe { libc::fcntl(*pipe, libc::F_DUPFD_CLOEXEC, 3) };
        }
    }
    // SAFETY: as above; the copies that dup2 makes stay open over exec.
    (0..)
        .zip(moved)
        .all(|(standard, pipe)| pipe >= 0 && unsafe { libc::dup2(pipe, standard) } == standard)
}

/// What we ignore or handle, the handler does not; nor is anything blocked for it that was blocked for us.
#[allow(unsafe_code)]
unsafe fn default_signals() {
    for signal in [
        libc::SIGPIPE,
        libc::SIGCHLD,
        libc::SIGTERM,
        libc::SIGINT,
        libc::SIGHUP,
    ] {
        // SAFETY: the child has its own table of handlers, since CLONE_SIGHAND is not given.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Tries each place where the program may be; returns only when none is right, with the error that says most, as a
/// shell does. Nothing is written for the parent before that: it takes an error for the end of the child.
#[allow(unsafe_code)]
unsafe fn execute(plan: &Plan) -> c_int {
    let mut worst = 0;
    for program in &plan.programs {
        // SAFETY: the arrays end with null, and what they point to lives as long as the plan.
        unsafe { libc::execve(program.as_ptr(), plan.argv.as_ptr(), plan.envp.as_ptr()) };
        // SAFETY: errno of this thread, which the child has for itself while the parent is suspended.
        let error = unsafe { *libc::__errno_location() };
        let is_elsewhere = matches!(error, libc::ENOENT | libc::ENOTDIR);
        if !is_elsewhere || worst == 0 {
            worst = error;
        }
        if !is_elsewhere && error != libc::EACCES {
            break;
        }
    }
    worst
}
