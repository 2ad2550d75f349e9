//! What a command prints: text with colours on a terminal only, JSON where a machine reads, progress on a terminal only.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

/// How this run prints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    json: bool,
}

impl Screen {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// One result: `value` for a machine, `text` for a person.
    pub(crate) fn result(self, value: &Value, text: &str) {
        if self.json {
            anstream::println!("{value}");
        } else {
            anstream::println!("{text}");
        }
    }

    /// Something said on the way; a machine does not see it.
    pub(crate) fn note(self, text: &str) {
        if !self.json {
            anstream::eprintln!("{text}");
        }
    }

    /// A spinner with a label; invisible unless a person watches.
    pub(crate) fn spinner(self, label: impl Into<String>) -> ProgressBar {
        self.visible(|| {
            let bar = ProgressBar::new_spinner();
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        })
        .with_message(label.into())
    }

    /// A bar that counts bytes up to `total` (zero: unknown); invisible unless a person watches.
    pub(crate) fn bytes(self, label: impl Into<String>, total: u64) -> ProgressBar {
        self.visible(|| {
            let (bar, template) = if total == 0 {
                (ProgressBar::no_length(), "{spinner} {msg} {bytes} ({bytes_per_sec})")
            } else {
                (ProgressBar::new(total), "{msg} {bar:30} {bytes}/{total_bytes} ({eta})")
            };
            // A template that indicatif refuses is a defect, not a reason to lose the backup: the default serves too.
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            bar.with_style(style)
        })
        .with_message(label.into())
    }

    fn visible(self, make: impl FnOnce() -> ProgressBar) -> ProgressBar {
        if self.json || !std::io::stderr().is_terminal() { ProgressBar::hidden() } else { make() }
    }
}

/// `1.5 MiB`: at most one decimal, binary units.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut tenths = bytes.saturating_mul(10) / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let rows = [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (5 << 20, "5.0 MiB")];
        for (bytes, text) in rows {
            assert_eq!(size(bytes), text);
        }
        assert!(size(u64::MAX).ends_with("TiB"));
    }
}
