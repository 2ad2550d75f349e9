//! How much memory the host has, as far as this process may use it.

use std::path::Path;

/// The smaller of the machine's memory and the limit of the control group that the process lives in, MiB; none when
/// neither can be read.
pub(crate) fn total_mib() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(machine_mib);
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let group = limits.iter().find_map(|path| group_mib(Path::new(path)));
    match (machine, group) {
        (Some(machine), Some(group)) => Some(machine.min(group)),
        (machine, group) => machine.or(group),
    }
}

/// How much memory the machine, and the control group that the process lives in, could still give without swapping, bytes;
/// none when that cannot be read.
pub(crate) fn available_bytes() -> Option<u64> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let machine = kibibytes(&meminfo, "MemAvailable:")? << 10;
    let total = kibibytes(&meminfo, "MemTotal:")? << 10;
    let groups = [
        ("memory.max", "memory.current", "memory.stat", "inactive_file "),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file "),
    ];
    let group = groups.into_iter().find_map(|(limit, usage, stat, reclaimable)| {
        let read = |name: &str| std::fs::read_to_string(Path::new("/sys/fs/cgroup").join(name)).ok();
        let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
        let limit = number(limit).filter(|&limit| limit < total)?;
        let cache =
            read(stat)?.lines().find_map(|line| line.strip_prefix(reclaimable)?.trim().parse().ok()).unwrap_or(0);
        Some(limit.saturating_sub(number(usage)?.saturating_sub(cache)))
    });
    Some(group.map_or(machine, |group| group.min(machine)))
}

fn kibibytes(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn machine_mib(meminfo: &str) -> Option<u64> {
    Some(kibibytes(meminfo, "MemTotal:")? / 1024)
}

fn group_mib(path: &Path) -> Option<u64> {
    Some(std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok()? >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_says_its_memory() {
        assert_eq!(machine_mib("MemTotal:       24576000 kB\nMemFree: 1 kB\n"), Some(24_000));
        assert_eq!(machine_mib("MemFree: 1 kB\n"), None);
        assert!(total_mib().is_some_and(|mib| mib > 0));
        let available = available_bytes().unwrap();
        assert!(available > 0 && available >> 20 <= total_mib().unwrap(), "{available}");
    }
}
