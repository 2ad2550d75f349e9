//! What an environment uses, read from the kernel's own counters; and the freezer. Reading costs a microsecond or two: the
//! files stay open and the detailed ones are read only when the peak has moved.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsRawFd, OwnedFd},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use base_env::Env;
use parking_lot::Mutex;
use rustix::event::EventfdFlags;
use tokio::io::unix::AsyncFd;

use super::link::Link;
use crate::{protocol::Gauges, sys::event};

/// Within each period of this length a function has its quota of processor time: short, so that a small function waits
/// often and briefly.
const QUOTA_PERIOD_MICROS: u64 = 20_000;
/// The least that a kernel takes.
const QUOTA_MICROS_MIN: u64 = 1_000;
/// How often, and how far apart, it is looked whether the kernel has killed a process whose group has no memory left.
const KILL_LOOKS_MAX: u32 = 1000;
const KILL_LOOK: Duration = Duration::from_millis(1);

/// The counters of one environment.
pub(crate) struct Gauge {
    memory_peak: Option<File>,
    memory_stat: Option<File>,
    cpu: Option<File>,
    status: Option<File>,
    cpu_seen: Duration,
    peak_seen: u64,
    memory_bytes: u64,
    memory_bytes_max: u64,
}

impl Gauge {
    pub(crate) fn open(gauges: &Gauges, pid: i32) -> Self {
        let open = |path: &str| (!path.is_empty()).then(|| File::open(path).ok()).flatten();
        Self {
            memory_peak: open(&gauges.memory_peak),
            memory_stat: open(&gauges.memory_stat),
            cpu: open(&gauges.cpu),
            status: File::open(format!("/proc/{pid}/status")).ok(),
            cpu_seen: Duration::ZERO,
            peak_seen: 0,
            memory_bytes: 0,
            memory_bytes_max: 0,
        }
    }

    /// Processor time of everything that ever ran in the environment; zero without a counter.
    pub(crate) fn cpu(&mut self) -> Duration {
        if let Some(text) = self.cpu.as_ref().and_then(read) {
            self.cpu_seen = match text.trim().parse() {
                Ok(nanos) => Duration::from_nanos(nanos),
                Err(_) => Duration::from_micros(field(&text, "usage_usec ").unwrap_or_default()),
            };
        }
        self.cpu_seen
    }

    /// The kernel has said that this much was reached.
    pub(crate) fn reached(&mut self, bytes: u64) {
        self.memory_bytes_max = self.memory_bytes_max.max(bytes);
    }

    /// The peak of what the processes held (not of the files they read), in bytes.
    pub(crate) fn memory_peak(&mut self) -> u64 {
        let peak = self.memory_peak.as_ref().and_then(read).and_then(|text| text.trim().parse().ok());
        if peak.is_none() || peak != Some(self.peak_seen) {
            self.peak_seen = peak.unwrap_or_default();
            self.measure();
        }
        self.memory_bytes_max
    }

    /// What the processes held of their own when last measured: not what they share with the template that they are forks
    /// of, which is there once.
    pub(crate) fn memory(&self) -> u64 {
        self.memory_bytes
    }

    fn measure(&mut self) {
        let group = self.memory_stat.as_ref().and_then(read).map(|text| {
            let count = |name| field(&text, name).unwrap_or_default();
            // Version 1's names, else version 2's.
            match field(&text, "total_rss ") {
                Some(rss) => rss + count("total_shmem "),
                None => count("anon ") + count("shmem "),
            }
        });
        let process = self.status.as_ref().and_then(read).unwrap_or_default();
        let (now, peak) = used(group, &process);
        self.memory_bytes = group.unwrap_or(now);
        self.memory_bytes_max = self.memory_bytes_max.max(now).max(peak);
    }
}

/// What a function uses and what it used at the most, in bytes: what its group holds of its own (if there is one), and the
/// files that its process (whose `status` this is) maps. A fork does not use what it has in common with its template and
/// never touched: that is charged to the template, and would tell nobody how much memory the function needs.
fn used(group: Option<u64>, process: &str) -> (u64, u64) {
    let kibibytes = |name| field(process, name).unwrap_or_default() * 1024;
    let shared = group.map_or(0, |own| kibibytes("RssAnon:").saturating_sub(own));
    let less = |bytes: u64| bytes.saturating_sub(shared).max(group.unwrap_or_default());
    (less(kibibytes("VmRSS:")), less(kibibytes("VmHWM:")))
}

/// A small file from its beginning.
fn read(file: &File) -> Option<String> {
    let mut bytes = [0; 4096];
    let length = file.read_at(&mut bytes, 0).ok()?;
    Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

/// The number after a name at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

/// Ends everything in a room when its memory is used up. Version 2 does that by itself; version 1 ends one process and lets
/// the others go on with what is left. Resolves when there is nothing to watch any more.
pub(crate) async fn end_with_memory(gauges: Gauges, link: Arc<Link>, room: u64, env: Env) {
    if gauges.memory_end.is_empty() {
        return;
    }
    match watch_memory(&gauges.memory_end) {
        Ok(event) => {
            if event.readable().await.is_err() {
                return;
            }
            // The kernel tells before it has chosen: whoever kills first takes the reason away. The file goes with the group.
            for _ in 0..KILL_LOOKS_MAX {
                match fs::read_to_string(&gauges.memory_end) {
                    Ok(text) if field(&text, "oom_kill ").is_some_and(|kills| kills > 0) => break,
                    Ok(_) => env.sleep(KILL_LOOK).await,
                    Err(_) => return,
                }
            }
            link.end(room);
        }
        Err(error) => tracing::warn!(%error, "the end of an environment's memory cannot be watched"),
    }
}

/// Becomes readable when the group's memory is used up.
fn watch_memory(control: &str) -> io::Result<AsyncFd<OwnedFd>> {
    let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let memory = File::open(control)?;
    let register = Path::new(control).with_file_name("cgroup.event_control");
    fs::write(register, format!("{} {}", event.as_raw_fd(), memory.as_raw_fd()))?;
    event::watch(event)
}

/// The processor time that an environment may use, in proportion to its memory. Set after its initialisation, which AWS
/// does not slow down either.
pub(crate) struct Quota(PathBuf);

impl Quota {
    /// None where the host has no such file.
    pub(crate) fn of(gauges: &Gauges) -> Option<Self> {
        (!gauges.quota.is_empty()).then(|| Self(PathBuf::from(&gauges.quota)))
    }

    /// `parts` of `whole` processors, in each period.
    pub(crate) fn set(&self, parts: u64, whole: u64) -> io::Result<()> {
        let micros = (QUOTA_PERIOD_MICROS * parts / whole.max(1)).max(QUOTA_MICROS_MIN);
        if self.0.ends_with("cpu.max") {
            return fs::write(&self.0, format!("{micros} {QUOTA_PERIOD_MICROS}"));
        }
        fs::write(self.0.with_file_name("cpu.cfs_period_us"), QUOTA_PERIOD_MICROS.to_string())?;
        fs::write(&self.0, micros.to_string())
    }
}

/// Stops and resumes an environment. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Freezer(Arc<Mutex<Freezing>>);

struct Freezing {
    file: Option<File>,
    /// Whether the file speaks version 2.
    unified: bool,
    frozen: bool,
    /// Counts the thaws, so that a late freeze is seen to be late.
    turn: u64,
}

impl Freezer {
    pub(crate) fn open(gauges: &Gauges) -> Self {
        let path = &gauges.freezer;
        let file = File::options().write(true).open(path).ok();
        let unified = path.ends_with("cgroup.freeze");
        Self(Arc::new(Mutex::new(Freezing { file, unified, frozen: false, turn: 0 })))
    }

    /// Whether it is frozen; none where the host has no freezer.
    pub(crate) fn is_frozen(&self) -> Option<bool> {
        let state = self.0.lock();
        state.file.as_ref().map(|_| state.frozen)
    }

    /// The present turn, for [`Freezer::freeze`].
    pub(crate) fn turn(&self) -> u64 {
        self.0.lock().turn
    }

    /// Freezes unless the environment has been used since `turn`.
    pub(crate) fn freeze(&self, turn: u64) {
        let mut state = self.0.lock();
        if state.turn == turn && !state.frozen {
            state.frozen = state.write(if state.unified { "1" } else { "FROZEN" }).is_ok();
        }
    }

    /// Resumes; costs nothing when it was not frozen.
    pub(crate) fn thaw(&self) {
        let mut state = self.0.lock();
        state.turn += 1;
        if state.frozen {
            // A group that is gone needs no thaw.
            drop(state.write(if state.unified { "0" } else { "THAWED" }));
            state.frozen = false;
        }
    }
}

impl Freezing {
    fn write(&self, word: &str) -> io::Result<()> {
        match &self.file {
            Some(file) => file.write_at(word.as_bytes(), 0).map(drop),
            None => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_fork_shares_with_its_template_is_not_its_own() {
        let status = "VmHWM:\t   82000 kB\nVmRSS:\t   32000 kB\nRssAnon:\t   24000 kB\nRssFile:\t    8000 kB\n";
        for (own_kib, now, peak) in [
            // An interpreter of its own.
            (Some(24_000), 32_000, 82_000),
            // A fork that has written a tenth of what it has.
            (Some(2400), 10_400, 60_400),
            // More processes than one.
            (Some(40_000), 40_000, 82_000),
            // No group to ask.
            (None, 32_000, 82_000),
        ] {
            let (is, was) = used(own_kib.map(|kib| kib * 1024), status);
            assert_eq!((is / 1024, was / 1024), (now, peak), "{own_kib:?}");
        }
    }

    #[test]
    fn a_quota_is_the_share_of_a_processor_that_the_memory_gives() {
        let folder = tempfile::tempdir().unwrap();
        for (name, memory_mib, period, written) in [
            ("cpu.max", 1769, "", "20000 20000"),
            ("cpu.max", 128, "", "1447 20000"),
            ("cpu.max", 10_240, "", "115771 20000"),
            ("cpu.cfs_quota_us", 512, "20000", "5788"),
            ("cpu.cfs_quota_us", 64, "20000", "1000"),
        ] {
            let path = folder.path().join(name);
            let gauges = Gauges { quota: path.display().to_string(), ..Gauges::default() };
            Quota::of(&gauges).unwrap().set(memory_mib, 1769).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), written);
            let file = folder.path().join("cpu.cfs_period_us");
            assert_eq!(fs::read_to_string(file).unwrap_or_default(), period);
        }
        assert!(Quota::of(&Gauges::default()).is_none());
    }
}
