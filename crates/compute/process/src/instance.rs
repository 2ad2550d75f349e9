//! Names a server among those of the machine: its pid and the time it started, so that a reused pid is another instance.

use std::sync::atomic::{AtomicU64, Ordering};

/// The start time of a process, in clock ticks since boot; none when it does not run.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in brackets that may hold spaces and brackets itself.
    stat.get(stat.rfind(')')? + 2..)?.split(' ').nth(19)?.parse().ok()
}

/// A name for a new host of this process: `<pid>-<start time>-<number>`.
pub(crate) fn new() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let pid = std::process::id();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{pid}-{}-{number}", start_time(pid.cast_signed()).unwrap_or_default())
}

/// Whether the process of an instance still runs.
pub(crate) fn is_alive(instance: &str) -> bool {
    let mut parts = instance.split('-');
    let (pid, start) = (parts.next().and_then(|p| p.parse().ok()), parts.next().and_then(|s| s.parse::<u64>().ok()));
    pid.is_some_and(|pid| start.is_some() && start_time(pid) == start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_never_lived_is_dead() {
        let (own, pid) = (new(), std::process::id());
        assert!(is_alive(&own));
        assert_ne!(own, new());
        for instance in [format!("{pid}-1-0"), "0-0-0".to_owned(), "x".to_owned(), String::new()] {
            assert!(!is_alive(&instance), "{instance}");
        }
    }
}
