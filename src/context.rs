//! What every effect works with.

use crate::clock::Clock;
use crate::error::Result;
use crate::functions::Functions;
use crate::model::method::Methods;
use crate::model::settings::Settings;
use crate::shutdown::Shutdown;
use crate::store::Store;
use crate::time::When;

/// One run of the program: its database, its time, its settings, and how it is asked to end.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    /// The database.
    pub store: &'a Store<'a>,
    /// The time.
    pub clock: &'a Clock,
    /// The settings of the database.
    pub settings: &'a Settings,
    /// The methods that are functions of this program.
    pub functions: &'a Functions,
    /// Whether the run was asked to end.
    pub shutdown: &'a Shutdown,
}

impl Context<'_> {
    /// The methods that a task can have.
    pub(crate) fn methods(&self) -> Result<Methods> {
        self.functions.and_registered(self.store)
    }

    /// The time now, and the zone that it is shown and counted in.
    pub(crate) fn when(&self) -> Result<When> {
        Ok(When {
            zone: self.settings.zone()?,
            now: self.clock.now(),
        })
    }
}
