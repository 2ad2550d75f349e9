//! AWS Lambda: functions, versions, aliases, permissions, invocations and function URLs.

pub mod archive;
pub mod names;
