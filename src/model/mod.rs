//! The nouns and their rules: no SQL, no effects, no clock.

pub(crate) mod attachment;
pub(crate) mod crontab;
pub(crate) mod document;
pub(crate) mod email;
pub(crate) mod firing;
pub(crate) mod issue;
pub(crate) mod message;
pub(crate) mod method;
pub(crate) mod new_task;
pub(crate) mod pause;
pub(crate) mod schedule;
pub(crate) mod settings;
pub(crate) mod story;
pub(crate) mod summary;
pub(crate) mod task;
pub(crate) mod timer;
