//! Programs: those that a machine may have or not, and those that tests bring with them.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::runner::Home;

/// Whether a program is found on the PATH: tests that need more than a shell look first.
pub fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| {
        fs::metadata(folder.join(program))
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    })
}

/// A folder of programs that goes before the PATH: the runner itself, and stand-ins for what the machine's user has.
pub struct Bin {
    folder: PathBuf,
}

impl Bin {
    /// A folder with the runner in it.
    pub fn new(home: &Home) -> Self {
        let folder = home.path("bin");
        fs::create_dir(&folder).unwrap();
        symlink(env!("CARGO_BIN_EXE_runner"), folder.join("runner")).unwrap();
        Self { folder }
    }

    /// Adds a program: a shell script.
    pub fn program(&self, name: &str, script: &str) {
        write_program(&self.folder.join(name), script);
    }

    /// Adds a crontab(1) that keeps the crontab in a file, and begins with this content.
    pub fn crontab(&self, content: &str) {
        let file = self.folder.join("crontab.txt");
        if !content.is_empty() {
            fs::write(&file, content).unwrap();
        }
        self.program("crontab", &CRONTAB.replace("FILE", file.to_str().unwrap()));
    }

    /// What that crontab holds; `None` when there is none.
    pub fn installed(&self) -> Option<String> {
        fs::read_to_string(self.folder.join("crontab.txt")).ok()
    }

    /// The PATH with the folder before the others.
    pub fn path(&self) -> OsString {
        let rest = env::var_os("PATH").unwrap_or_default();
        let folders = [self.folder.clone()]
            .into_iter()
            .chain(env::split_paths(&rest));
        env::join_paths(folders).unwrap()
    }
}

const CRONTAB: &str = r#"case "$1" in
    -l) [ -f 'FILE' ] || { echo "no crontab for $(id -un)" >&2; exit 1; }
        cat 'FILE' ;;
    -)  cat > 'FILE.new' && mv 'FILE.new' 'FILE' ;;
    *)  echo "crontab: usage error" >&2; exit 1 ;;
esac"#;

/// Writes a shell script that can be started.
pub fn write_program(path: &Path, script: &str) {
    // Another process writes it: were it open for writing in this one, a child that another test starts at this moment
    // would hold it open too, and it could not be started yet.
    let mut writer = Command::new("sh")
        .args(["-c", r#"cat > "$0" && chmod 755 "$0""#])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let text = format!("#!/bin/sh\n{script}\n");
    let mut input = writer.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    drop(input);
    assert!(writer.wait().unwrap().success(), "{}", path.display());
}
