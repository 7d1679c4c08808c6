//! `runner doctor`: whether all is as it has to be for tasks, timers and mails to run, and what to do where it is not.

use rustix::fs::{statfs, statvfs};
use serde::Serialize;

use super::crontab::Installed;
use super::status::{paused, stuck_chains};
use super::{Exit, Invocation};
use crate::error::{Error, Result};
use crate::mail;
use crate::model::settings::{self, ERRORS_TO, MAIL_TRANSPORT, Settings};
use crate::store::Store;
use crate::tick::note::last_tick;
use crate::time::{Timestamp, Zone};
use crate::worker::check_program;

/// The PATH that cron gives to programs.
const CRON_PATH: &str = "/usr/bin:/bin";

/// The last tick is no older than this while cron runs one each minute.
const MAX_AGE: i64 = 300;

/// Less room than this on the disk is soon none.
const MIN_ROOM: u64 = 100 << 20;

/// Network file systems, by the numbers that statfs(2) has for them.
const NETWORK: [(u64, &str); 8] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x5346_414f, "AFS"),
    (0x0102_1997, "9P"),
    (0x00c3_6400, "Ceph"),
    (0x786f_4256, "vboxsf"),
];

#[derive(Debug, clap::Args)]
pub(super) struct Args {}

/// What one check has found.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    ok: bool,
    /// What was found; where that is wrong, with what to do.
    message: String,
}

/// Finds what is wrong, in a sentence each.
type Check<'a> = fn(&Doctor<'a>) -> Result<Vec<String>>;

/// What is looked at.
struct Doctor<'a> {
    invocation: &'a Invocation,
    store: Store<'static>,
    settings: Settings,
    now: Timestamp,
    zone: Zone,
    last_tick: Option<Timestamp>,
    crontab: Result<Installed>,
    findings: Vec<Finding>,
}

impl Args {
    pub(super) fn run(self, invocation: &Invocation) -> Result<Exit> {
        let mut doctor = Doctor::new(invocation)?;
        doctor.look();
        let findings = &doctor.findings;
        invocation.out.show(findings, || {
            findings.iter().try_for_each(|finding| {
                let Finding { check, message, .. } = finding;
                let word = if finding.ok { "ok" } else { "wrong" };
                invocation
                    .out
                    .line(format!("{word:<5}  {check:<11} {message}"))
            })
        })?;
        let is_well = findings.iter().all(|finding| finding.ok);
        Ok(if is_well { Exit::Done } else { Exit::Failed })
    }
}

impl<'a> Doctor<'a> {
    /// Settings that cannot be read are a finding, and keep it from nothing.
    fn new(invocation: &'a Invocation) -> Result<Self> {
        let store = invocation.store_to_read()?;
        let settings = store.settings()?;
        let zone = settings.zone().unwrap_or_default();
        Ok(Self {
            now: invocation.clock(&zone)?.now(),
            last_tick: last_tick(store.files())?,
            crontab: Installed::find(&store.files().beside("")),
            invocation,
            store,
            settings,
            zone,
            findings: Vec::new(),
        })
    }

    fn look(&mut self) {
        let checks: [(&'static str, &str, Check<'a>); 12] = [
            ("database", "the file is whole", Self::database),
            (
                "permissions",
                "nobody else can put commands into it",
                Self::permissions,
            ),
            ("disk", "it is a local one, with room", Self::disk),
            ("crontab", "a tick is run each minute", Self::crontab),
            ("last tick", "it has just ended", Self::last_tick),
            ("settings", "all can be read", Self::settings),
            ("handlers", "all programs are there", Self::handlers),
            ("mail", "it can be sent", Self::mail),
            ("schedules", "all have a date", Self::schedules),
            ("tasks", "all have a method", Self::tasks),
            ("chains", "all can go on", Self::chains),
            ("pauses", "nothing is paused", Self::pauses),
        ];
        for (check, well, look) in checks {
            let wrong = look(self).unwrap_or_else(|error| {
                // A check that cannot be made is no reason to make no other.
                vec![error.of_database(self.store.files().path()).to_string()]
            });
            let ok = wrong.is_empty();
            let messages = if ok { vec![well.to_owned()] } else { wrong };
            let findings = messages
                .into_iter()
                .map(|message| Finding { check, ok, message });
            self.findings.extend(findings);
        }
    }

    fn database(&self) -> Result<Vec<String>> {
        let damage = self
            .store
            .find_damage()?
            .map(|damage| format!("it is damaged ({damage}): put a backup in its place"));
        let closed = self.store.is_read_only()?.then(|| {
            "nothing can be written to it: let its user write to the file and its folder".to_owned()
        });
        Ok(damage.into_iter().chain(closed).collect())
    }

    fn permissions(&self) -> Result<Vec<String>> {
        self.invocation.files_to_run().map(|_| Vec::new())
    }

    fn disk(&self) -> Result<Vec<String>> {
        let folder = self.store.files().folder();
        let failed = |errno: rustix::io::Errno| Error::io(&folder, errno.into());
        let kind = statfs(&folder).map_err(failed)?.f_type as u64 & 0xffff_ffff;
        let room = statvfs(&folder).map_err(failed)?;
        let room = room.f_bavail.saturating_mul(room.f_frsize);
        let network = NETWORK.iter().find(|(number, _)| *number == kind);
        let network = network.map(|(_, name)| {
            format!("it is a network file system ({name}), where locks may not hold: move the database to a local disk")
        });
        let full = (room < MIN_ROOM).then(|| {
            let left = room >> 20;
            format!(
                "only {left} MB are left: make room, with 'runner config set keep.tasks 90d' say"
            )
        });
        Ok(network.into_iter().chain(full).collect())
    }

    /// Something else than this user's crontab may run the ticks.
    fn crontab(&self) -> Result<Vec<String>> {
        let reason = match &self.crontab {
            Ok(installed) if installed.is_there => return Ok(Vec::new()),
            _ if self.is_ticked() => return Ok(Vec::new()),
            Ok(_) => "it has no entry for this database".to_owned(),
            Err(error) => error.to_string(),
        };
        Ok(vec![format!("{reason}: 'runner crontab --install'")])
    }

    fn is_ticked(&self) -> bool {
        self.last_tick
            .is_some_and(|last| self.now.seconds_since(last) <= MAX_AGE)
    }

    fn last_tick(&self) -> Result<Vec<String>> {
        let wrong = match self.last_tick {
            _ if self.is_ticked() => return Ok(Vec::new()),
            None => "no tick has ended yet: run 'runner tick', and look what it says".to_owned(),
            Some(last) => format!(
                "it ended at {}: look whether cron runs, and what 'runner tick' says",
                self.zone.show(last)
            ),
        };
        Ok(vec![wrong])
    }

    fn settings(&self) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        for setting in settings::ALL {
            let value = self.settings.text(setting.key)?;
            if value == setting.default {
                continue;
            }
            let checked = settings::check(setting.key, value);
            let checked = checked.and_then(|()| mail::check_setting(setting.key, value));
            if let Err(error) = checked {
                wrong.push(format!("{error}: 'runner config set' it, or 'unset' it"));
            }
        }
        Ok(wrong)
    }

    fn handlers(&self) -> Result<Vec<String>> {
        let path = self.crontab.as_ref().ok();
        let path = path
            .and_then(|installed| installed.path.as_deref())
            .unwrap_or(CRON_PATH);
        let folder = self.store.files().folder();
        let methods = self.store.list_methods()?.into_iter();
        let wrong = methods.filter_map(|method| {
            let program = method.command.first()?;
            let reason = check_program(&folder, path, program).err()?;
            Some(format!(
                "method {}: {reason} (cron's PATH is {path})",
                method.name
            ))
        });
        Ok(wrong.collect())
    }

    fn mail(&self) -> Result<Vec<String>> {
        let is_used =
            |key| Ok::<_, Error>(self.settings.text(key)? != Settings::default().text(key)?);
        if !(is_used(MAIL_TRANSPORT)? || is_used(ERRORS_TO)? || self.store.has_mail()?) {
            return Ok(Vec::new());
        }
        let transport = mail::transport(&self.store, &self.settings)?;
        let wrong = transport.check().err().map(|reason| {
            let shown = transport.shown();
            format!("{shown}: {reason}: 'runner config set mail.transport', then 'runner mail test ADDRESS'")
        });
        Ok(wrong.into_iter().collect())
    }

    fn schedules(&self) -> Result<Vec<String>> {
        let schedules = self.store.schedules()?.into_iter();
        let wrong = schedules.filter_map(|schedule| {
            Some(format!(
                "schedule {}: {}; 'runner schedule set' it again",
                schedule.name, schedule.error?
            ))
        });
        Ok(wrong.collect())
    }

    fn tasks(&self) -> Result<Vec<String>> {
        let methods = self.invocation.functions.and_registered(&self.store)?;
        let pending = self.store.methods_of_pending_tasks()?.into_iter();
        let lost = pending.filter(|(method, _)| methods.find(method).is_none());
        let wrong = lost.map(|(method, count)| {
            format!("method {method} is not registered, and {count} pending tasks have it: 'runner method set {method} -- COMMAND'")
        });
        Ok(wrong.collect())
    }

    fn chains(&self) -> Result<Vec<String>> {
        stuck_chains(&self.store)
    }

    fn pauses(&self) -> Result<Vec<String>> {
        Ok(paused(&self.store.pauses()?))
    }
}
