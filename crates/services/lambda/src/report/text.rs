//! The platform's lines in the text format, with AWS's names, order and units.
//!
//! Behind AWS's own fields, `REPORT` tells the isolation level and the origin of the environment: fields of their own,
//! separated by tabs like the others, so that whoever looks for AWS's finds them where they were.

use std::{fmt::Write as _, time::Duration};

use base_types::Timestamp;
use compute_api::{Figures, InitializationType};

use super::{Phase, Status, Subject};

/// `START RequestId: … Version: …`.
#[must_use]
pub fn start(request_id: &str, version: &str) -> String {
    let mut line = String::with_capacity(40 + request_id.len() + version.len());
    line.push_str("START RequestId: ");
    line.push_str(request_id);
    line.push_str(" Version: ");
    line.push_str(version);
    line.push('\n');
    line
}

/// `END RequestId: …`.
#[must_use]
pub fn end(request_id: &str) -> String {
    let mut line = String::with_capacity(20 + request_id.len());
    line.push_str("END RequestId: ");
    line.push_str(request_id);
    line.push('\n');
    line
}

/// `INIT_START Runtime Version: python:3.13`, a tab, `Runtime Version ARN: …`.
#[must_use]
pub fn init_start(initialization: InitializationType, version: &str, version_arn: &str) -> String {
    let phase = if initialization == InitializationType::SnapStart { "RESTORE" } else { "INIT" };
    format!("{phase}_START Runtime Version: {version}\tRuntime Version ARN: {version_arn}\n")
}

/// `REPORT RequestId: …`.
pub(crate) fn report(subject: &Subject<'_>, figures: &Figures, status: &Status) -> String {
    let mut line = String::with_capacity(256);
    // Writing to a string cannot fail.
    let _ = write!(
        line,
        "REPORT RequestId: {}\tDuration: {} ms\tBilled Duration: {} ms\tMemory Size: {} MB\tMax Memory Used: {} MB\t",
        subject.request_id,
        Millis(figures.duration),
        figures.billed_millis(),
        subject.memory_mib,
        figures.memory_bytes_max.div_ceil(1 << 20),
    );
    if let Some(init) = figures.init_duration {
        let _ = write!(line, "Init Duration: {} ms\t", Millis(init));
    }
    if let Some(restore) = figures.restore_duration {
        let billed = restore.as_nanos().div_ceil(1_000_000);
        let _ = write!(line, "Restore Duration: {} ms\tBilled Restore Duration: {billed} ms\t", Millis(restore));
    }
    if status.of_sandbox {
        let _ = write!(line, "Status: {}\t", status.word);
        if let Some(error_type) = &status.error_type {
            let _ = write!(line, "Error Type: {error_type}\t");
        }
    }
    let _ = writeln!(line, "Isolation: {}\tOrigin: {}\t", subject.isolation.as_str(), subject.origin.as_str());
    line
}

/// `INIT_REPORT Init Duration: … ms`, then, each after a tab, `Phase: init`, `Status: error`, `Error Type: …`.
pub(crate) fn init_report(phase: Phase, took: Duration, status: &Status) -> String {
    let mut line = match phase {
        Phase::Restore => format!("RESTORE_REPORT Restore Duration: {} ms", Millis(took)),
        Phase::Init | Phase::Invoke => {
            format!("INIT_REPORT Init Duration: {} ms\tPhase: {}", Millis(took), phase.as_str())
        }
    };
    let _ = write!(line, "\tStatus: {}", status.word);
    if let Some(error_type) = &status.error_type {
        let _ = write!(line, "\tError Type: {error_type}");
    }
    line.push('\n');
    line
}

/// `RESTORE_REPORT Restore Duration: … ms`.
#[must_use]
pub fn restore_report(took: Duration) -> String {
    format!("RESTORE_REPORT Restore Duration: {} ms\n", Millis(took))
}

/// `2026-11-23T12:00:00.000Z <request> Task timed out after 3.00 seconds`, and an empty line.
#[must_use]
pub fn timed_out(request_id: &str, timeout: Duration, now: Timestamp) -> String {
    format!("{} {request_id} Task timed out after {} seconds\n\n", with_millis(now), seconds(timeout))
}

/// `12.34`: milliseconds with two decimals.
struct Millis(Duration);

impl std::fmt::Display for Millis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Rounded in whole numbers: a warm invocation formats several of these.
        let hundredths = (self.0.as_nanos() + 5_000) / 10_000;
        write!(f, "{}.{:02}", hundredths / 100, hundredths % 100)
    }
}

/// `3.00`: seconds with two decimals.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64())
}

/// `2026-11-23T12:00:00.000Z`: always with milliseconds.
pub(crate) fn with_millis(at: Timestamp) -> String {
    at.to_iso8601_offset().replace("+0000", "Z")
}
