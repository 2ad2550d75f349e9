//! Names a server among those of the host: its pid and the time it started, so that a reused pid is another instance.

/// The start time of a process, in clock ticks since boot; none when it does not run.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in brackets that may hold spaces and brackets itself.
    stat.get(stat.rfind(')')? + 2..)?.split(' ').nth(19)?.parse().ok()
}

/// This process's instance.
pub(crate) fn of_this_process() -> String {
    let pid = std::process::id();
    format!("{pid}-{}", start_time(pid.cast_signed()).unwrap_or_default())
}
