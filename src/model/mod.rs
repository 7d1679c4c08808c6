//! The nouns and their rules: no SQL, no effects, no clock.

pub(crate) mod attachment;
pub mod document;
pub(crate) mod email;
pub(crate) mod firing;
pub mod issue;
pub(crate) mod message;
pub mod method;
pub(crate) mod new_task;
pub mod settings;
pub mod summary;
pub mod task;
pub mod timer;
