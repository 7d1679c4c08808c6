//! What every effect works with.

use crate::clock::Clock;
use crate::functions::Functions;
use crate::model::settings::Settings;
use crate::shutdown::Shutdown;
use crate::store::Store;

/// One run of the program: its database, its time, its settings, and how it is asked to end.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The database.
    pub store: &'a Store,
    /// The time.
    pub clock: &'a Clock,
    /// The settings of the database.
    pub settings: &'a Settings,
    /// The methods that are functions of this program.
    pub functions: &'a Functions,
    /// Whether the run was asked to end.
    pub shutdown: &'a Shutdown,
}
