//! This boot of the machine.

use std::fs;

/// What tells this boot from all others; none where the system does not say.
pub(crate) fn id() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}
