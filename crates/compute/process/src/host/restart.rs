//! Starting a launcher, and how soon another one is started after one that ended. Guarantee: a launcher that cannot live is
//! tried ever more slowly, never given up, and the wait ends at once when the host is closed.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use parking_lot::{Condvar, Mutex};

use super::link::Host;
use crate::protocol::{self, Reply, Request, VERSION};

/// A launcher that lived this long did not end because it was started.
const SOUND: Duration = Duration::from_secs(60);
/// A pause that is not longer is waited for by whoever wants something of the launcher.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Starts a launcher and waits for its introduction.
pub(super) fn spawn(program: &Path, hello: &Request) -> io::Result<(OwnedFd, Child, Host)> {
    let (ours, theirs) = protocol::pair()?;
    let mut child = Command::new(program)
        .arg(crate::LAUNCHER_ARGUMENT)
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let introduced = protocol::send(ours.as_fd(), hello, &[]).and_then(|()| protocol::receive::<Reply>(ours.as_fd()));
    let error = match introduced {
        Ok(Some((Reply::Hello { version: VERSION, level, findings }, _))) => {
            return Ok((ours, child, Host { level, findings }));
        }
        Ok(Some((Reply::Hello { version, .. }, _))) => {
            io::Error::other(format!("the launcher speaks version {version}, this server {VERSION}"))
        }
        Ok(_) => io::Error::other("the launcher ended at its start"),
        Err(error) => error,
    };
    // Its socket closes here: it ends by itself if it has not.
    drop(ours);
    let _ = (child.kill(), child.wait());
    Err(error)
}

/// When the next launcher is started.
#[derive(Default)]
pub(super) struct Pace {
    pause: Duration,
    started: Option<Duration>,
}

impl Pace {
    /// A launcher was started at this moment.
    pub(super) fn started(&mut self, now: Duration) {
        self.started = Some(now);
    }

    /// How long to wait: not at all after one that lived, ever longer after those that did not.
    pub(super) fn pause(&mut self, now: Duration) -> Duration {
        let lived = self.started.take().is_some_and(|started| now.saturating_sub(started) >= SOUND);
        let pause = if lived { Duration::ZERO } else { self.pause };
        self.pause = if pause.is_zero() { PAUSE_FIRST } else { (pause * 2).min(PAUSE_MAX) };
        pause
    }
}

/// Whether the host is being closed; whoever waits for the next start is woken by it.
#[derive(Default)]
pub(super) struct Closing {
    closed: Mutex<bool>,
    woken: Condvar,
}

impl Closing {
    pub(super) fn close(&self) {
        *self.closed.lock() = true;
        self.woken.notify_all();
    }

    /// Waits; answers whether the host is being closed.
    pub(super) fn wait(&self, pause: Duration) -> bool {
        let mut closed = self.closed.lock();
        if !*closed && !pause.is_zero() {
            // Woken early for nothing, the next launcher is started a little early.
            self.woken.wait_for(&mut closed, pause);
        }
        *closed
    }
}

/// The monotonic clock: the thread that starts launchers has no `Env`.
pub(super) fn clock() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or_default(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launcher_that_lived_is_replaced_at_once_and_one_that_does_not_ever_more_slowly() {
        let (mut pace, second) = (Pace::default(), Duration::from_secs(1));
        pace.started(second);
        let pauses: Vec<u128> = (0..11)
            .map(|_| {
                let pause = pace.pause(2 * second);
                pace.started(2 * second);
                pause.as_millis()
            })
            .collect();
        assert_eq!(pauses, [0, 100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000]);
        assert_eq!(pace.pause(100 * second), Duration::ZERO);
        assert_eq!(pace.pause(100 * second), PAUSE_FIRST, "one that was never started did not live");
    }

    #[test]
    fn a_wait_ends_when_the_host_is_closed() {
        let closing = std::sync::Arc::new(Closing::default());
        assert!(!closing.wait(Duration::from_millis(1)));
        let other = std::sync::Arc::clone(&closing);
        let waiting = std::thread::spawn(move || other.wait(Duration::from_secs(3600)));
        closing.close();
        assert!(waiting.join().unwrap() && closing.wait(Duration::from_secs(3600)));
    }
}
