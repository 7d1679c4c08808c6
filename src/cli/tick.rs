//! `runner tick`

use super::{Exit, Invocation, output};
use crate::clock::Clock;
use crate::error::Result;
use crate::outbox::Post;
use crate::report;
use crate::shutdown::Shutdown;
use crate::store::Store;
use crate::store::stamp::Stamp;
use crate::tick::{quiet_tick, rehearse, stamped_tick};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    pub(super) fn run(self, invocation: &Invocation) -> Result<Exit> {
        let files = invocation.files_to_run()?;
        if self.dry_run {
            return rehearsed(invocation, &Store::open(files.path())?);
        }
        let clock = Clock::system();
        // Another clock than the system's knows nothing of the times of files.
        let stamp = match &invocation.now {
            None => Stamp::of(&files, &clock),
            Some(_) => None,
        };
        match stamp.and_then(|stamp| quiet_tick(&files, &clock, stamp)) {
            Some(report) if invocation.out.json => {
                invocation.out.json(&report).map(|()| Exit::Done)
            }
            Some(_) => Ok(Exit::Done),
            None => whole_tick(invocation, &Store::open(files.path())?, stamp),
        }
    }
}

fn whole_tick(invocation: &Invocation, store: &Store, stamp: Option<Stamp>) -> Result<Exit> {
    let settings = store.settings()?;
    // One that is no zone fails the tick where it is needed, which then is reported as any failure is.
    let clock = invocation.clock(&settings.zone().unwrap_or_default())?;
    let shutdown = Shutdown::default();
    let mut post = Post::new(store, &clock, &settings);
    let ctx = invocation.context(store, &clock, &settings, &shutdown);
    let (report, done) = stamped_tick(ctx, &mut post, stamp);
    let failure = done.err().map(|error| error.of_database(&invocation.db));
    if invocation.out.json && failure.is_none() {
        invocation.out.json(&report)?;
    }
    // Who wants it to leave does not wait for a mail to be sent.
    let may_mail = !output::is_watched() && !shutdown.is_requested();
    if may_mail && report::is_wanted(&settings)? {
        output::mail_errors(&mut post, &report.errors, failure.as_ref());
    } else {
        output::complain_of(&report.errors);
        failure.iter().for_each(output::complain);
    }
    let settled = match failure.is_none() && !shutdown.is_requested() {
        true => report::settle(store, &report.errors),
        false => Ok(()),
    };
    let ended = post.close().and(settled);
    match (failure, report.errors.is_empty()) {
        // A database that failed the tick may fail its end too; the next tick puts that in order.
        (Some(_), _) => Ok(Exit::Failed),
        (None, false) => ended.map(|()| Exit::Failed),
        (None, true) => ended.map(|()| Exit::Done),
    }
}

fn rehearsed(invocation: &Invocation, store: &Store) -> Result<Exit> {
    let settings = store.settings()?;
    let clock = invocation.clock(&settings.zone().unwrap_or_default())?;
    let report = rehearse(store, &clock, &settings, &invocation.functions)?;
    match invocation.out.json {
        true => invocation.out.json(&report)?,
        false => {
            let mut would = report.would.iter().flatten();
            would.try_for_each(|sentence| invocation.out.line(sentence))?;
        }
    }
    output::complain_of(&report.errors);
    Ok(match report.errors.is_empty() {
        true => Exit::Done,
        false => Exit::Failed,
    })
}
