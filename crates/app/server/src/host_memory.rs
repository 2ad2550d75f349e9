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

fn machine_mib(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? / 1024)
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
    }
}
