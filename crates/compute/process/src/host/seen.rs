//! What was started lately, kept across restarts, so that the first function after one finds what it needs. A file of a few
//! lines in the host's folder; what cannot be read or written costs the first start its speed and nothing else.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use base_types::AccountId;
use parking_lot::Mutex;

use super::{
    Inner, ProcessHost,
    seat::{Make, Shape},
    template::Forks,
};

/// Shapes that are kept: the last ones.
const KEPT: usize = 8;
/// Readiness comes first.
const PAUSE: Duration = Duration::from_millis(250);

/// The shapes that were asked for lately, the last one last.
pub(super) struct Seen {
    path: PathBuf,
    shapes: Mutex<Vec<Shape>>,
}

impl Seen {
    pub(super) fn open(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let shapes = text.lines().filter_map(parse).take(KEPT).collect();
        Self { path, shapes: Mutex::new(shapes) }
    }

    /// Keeps a shape as the last one asked for. Writes only when it was not among those kept.
    pub(super) fn note(&self, shape: &Shape) {
        if matches!(shape.make, Make::Restored(_)) {
            // What it would be made from is gone with the server.
            return;
        }
        let mut shapes = self.shapes.lock();
        if shapes.contains(shape) {
            return;
        }
        shapes.push(shape.clone());
        let surplus = shapes.len().saturating_sub(KEPT);
        shapes.drain(..surplus);
        let text: String = shapes.iter().map(|shape| format!("{}\n", line(shape))).collect();
        if let Err(error) = fs::write(&self.path, text) {
            tracing::debug!(%error, "what was started lately is not kept");
        }
    }

    fn all(&self) -> Vec<Shape> {
        self.shapes.lock().clone()
    }
}

fn line(shape: &Shape) -> String {
    let tmp = shape.tmp_mib;
    match &shape.make {
        Make::Blank | Make::Restored(_) => format!("blank {tmp}"),
        Make::Python(forks) => format!("python {tmp} {} {}", forks.runtime, forks.account),
        Make::Node { runtime, memory_mib } => format!("node {tmp} {runtime} {memory_mib}"),
    }
}

fn parse(line: &str) -> Option<Shape> {
    let mut words = line.split(' ');
    let kind = words.next()?;
    let tmp_mib = words.next()?.parse().ok()?;
    let make = match kind {
        "blank" => Make::Blank,
        "python" => {
            let runtime = words.next()?.to_owned();
            Make::Python(Forks { runtime, account: words.next()?.parse::<AccountId>().ok()? })
        }
        "node" => Make::Node { runtime: words.next()?.to_owned(), memory_mib: words.next()?.parse().ok()? },
        _ => return None,
    };
    Some(Shape { make, tmp_mib })
}

impl ProcessHost {
    /// Begins to make seats: of what was started lately at once, and whenever one is taken.
    pub(super) fn begin_refilling(inner: &Arc<Inner>) {
        let (host, env) = (Arc::downgrade(inner), inner.env.clone());
        inner.refilling.call_once(|| {
            drop(tokio::spawn(async move {
                env.sleep(PAUSE).await;
                if let Some(inner) = host.upgrade() {
                    // Seats of a runtime are made when it is known where it is.
                    drop(ProcessHost(Arc::clone(&inner)).runtimes_found().await);
                    let now = env.monotonic();
                    for shape in inner.seen.all() {
                        inner.pool.expect(&shape, now);
                    }
                }
                Self::refill(host).await;
            }));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_kept_the_last_ones_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seen");
        let seen = Seen::open(path.clone());
        let node =
            |memory_mib| Shape { make: Make::Node { runtime: "nodejs20.x".to_owned(), memory_mib }, tmp_mib: 512 };
        let forks = Forks { account: AccountId::DEFAULT, runtime: "python3.11".to_owned() };
        let python = Shape { make: Make::Python(forks), tmp_mib: 1024 };
        for memory_mib in 0..10 {
            seen.note(&node(memory_mib));
        }
        seen.note(&python);
        seen.note(&Shape { make: Make::Blank, tmp_mib: 512 });
        seen.note(&python);
        let read = Seen::open(path.clone()).all();
        assert_eq!(read, seen.all());
        assert_eq!(read.len(), KEPT);
        assert_eq!(read[0], node(4));
        assert_eq!(read[6], python);
        fs::write(&path, "nonsense\nnode x\nblank 512\npython 512 python3.11 1").unwrap();
        assert_eq!(Seen::open(path).all(), [Shape { make: Make::Blank, tmp_mib: 512 }]);
    }
}
