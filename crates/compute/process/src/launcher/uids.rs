//! Host user ids that belong to environments alone: a pair each, one for the sandbox's init and one for the function.
//! Guarantees: no id of a pair is in `/etc/passwd` or in a subordinate range, two servers on one host use different ids,
//! and an id is used again only after the environment that had it is gone.

use std::{
    fs::{self, File},
    io,
};

use rustix::fs::FlockOperation;

const FIRST: u32 = 700_000;
/// Ids of one server: room for 10,000 environments.
const SPAN: u32 = 20_000;
/// Servers that may share a host.
const SPANS_MAX: u32 = 64;

/// The ids of this server.
pub(crate) struct Uids {
    base: u32,
    next: u32,
    free: Vec<u32>,
    _lock: File,
}

impl Uids {
    /// Takes a span that nobody uses.
    pub(crate) fn claim() -> io::Result<Self> {
        let folder = "/run/pileus";
        fs::create_dir_all(folder)?;
        let taken = taken(&["/etc/passwd", "/etc/group"], &["/etc/subuid", "/etc/subgid"]);
        for span in 0..SPANS_MAX {
            let base = FIRST + span * SPAN;
            if taken.iter().any(|&(start, end)| start < base + SPAN && base < end) {
                continue;
            }
            let lock = File::options().create(true).append(true).open(format!("{folder}/uids-{base}.lock"))?;
            if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
                return Ok(Self { base, next: 0, free: Vec::new(), _lock: lock });
            }
        }
        Err(io::Error::other("no free range of host user ids from 700000 on"))
    }

    /// The first id of a pair that is not in use; none when all are.
    pub(crate) fn take(&mut self) -> Option<u32> {
        if let Some(pair) = self.free.pop() {
            return Some(pair);
        }
        let pair = self.base + self.next;
        (self.next < SPAN).then(|| {
            self.next += 2;
            pair
        })
    }

    /// Gives a pair back.
    pub(crate) fn give(&mut self, pair: u32) {
        self.free.push(pair);
    }
}

/// Half-open ranges of ids that files of the host name.
fn taken(singles: &[&str], ranges: &[&str]) -> Vec<(u32, u32)> {
    let read = |path: &&str| fs::read_to_string(path).unwrap_or_default();
    let single = singles.iter().map(read).collect::<String>();
    let single = single.lines().filter_map(|line| line.split(':').nth(2)?.parse().ok()).map(|id: u32| (id, id + 1));
    let range = ranges.iter().map(read).collect::<String>();
    let range = range.lines().filter_map(|line| {
        let mut fields = line.split(':').skip(1);
        let start: u32 = fields.next()?.parse().ok()?;
        Some((start, start.saturating_add(fields.next()?.trim().parse().ok()?)))
    });
    single.chain(range).collect()
}
