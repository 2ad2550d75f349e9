//! AWS Lambda: functions, versions, aliases, permissions, invocations and function URLs.

pub mod archive;
pub mod configuration;
pub mod function;
pub mod names;
pub mod permission;
pub mod report;
pub mod url;
