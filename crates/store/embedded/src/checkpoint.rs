//! The `store-index` thread: moves generations into the engine and lets their segments of the log go.
//!
//! A generation is written in batches of bounded size, the last of which says which version the engine now holds. A
//! crash in between
//! costs nothing: the whole generation is still in the log, and every write of it is absolute.

use std::{sync::Arc, time::Duration};

use base_types::{Fault, FaultKind};
use bytes::Bytes;
use store_api::Health;

use crate::{
    core::{Core, State},
    engine::{BOOKS, Engine, Snapshot},
    fault,
    generation::Generation,
    log,
};

/// Entries and bytes of a batch: the more, the fewer syncs; at worst each entry costs the engine a page of 4 KiB, for
/// which the disk's
/// reserve must suffice.
const BATCH_ENTRIES: usize = 8192;
const BATCH_BYTES: usize = 2 << 20;
/// Pause after a failure.
const RETRY: Duration = Duration::from_millis(200);

/// The store's own entries in the engine.
pub(crate) mod books {
    /// The last version that the engine holds.
    pub(crate) const CHECKPOINT: &[u8] = &[super::BOOKS, b'v'];
    /// The greatest time of any commit, in milliseconds.
    pub(crate) const CLOCK: &[u8] = &[super::BOOKS, b't'];
    /// Raised by every restore.
    pub(crate) const EPOCH: &[u8] = &[super::BOOKS, b'e'];
}

/// A number of the books; 0 when it was never written.
pub(crate) fn book(snapshot: &dyn Snapshot, key: &[u8]) -> Result<u64, Fault> {
    let bytes = snapshot.get(key)?;
    Ok(bytes.and_then(|bytes| bytes[..].try_into().ok()).map_or(0, u64::from_le_bytes))
}

/// An entry of the books.
pub(crate) fn booked(key: &'static [u8], number: u64) -> (Bytes, Option<Bytes>) {
    (Bytes::from_static(key), Some(Bytes::copy_from_slice(&number.to_le_bytes())))
}

/// Runs until told to stop; then nobody holds the engine's files any more.
pub(crate) fn run(core: &Core, mut engine: Box<dyn Engine>) {
    work(core, &mut *engine);
    core.close();
}

fn work(core: &Core, engine: &mut dyn Engine) {
    if let Err(error) = log::prepare_spare(&*core.disk, core.options.generation_bytes) {
        tracing::warn!(%error, "no spare segment of the commit log could be prepared");
    }
    loop {
        let stopping = {
            let mut freezing = core.freezing.lock();
            if freezing.abandoned {
                return;
            }
            if !freezing.stopping && core.state.read().frozen.is_empty() {
                let idle = Duration::from_millis(core.options.checkpoint_idle_ms);
                core.frozen.wait_for(&mut freezing, idle);
            }
            freezing.stopping
        };
        let oldest = core.state.read().frozen.last().cloned();
        match oldest {
            Some(_) if lacks_room(core) => {
                // Before it is touched: a failed write costs the engine a restart.
                core.set_health(Health::ReadOnly("the disk is full: the engine cannot absorb more".to_owned()));
                if stopping {
                    return;
                }
                let mut freezing = core.freezing.lock();
                core.frozen.wait_for(&mut freezing, RETRY);
            }
            Some(generation) => {
                if let Err(fault) = absorb(core, engine, &generation) {
                    recover(core, engine, &fault);
                    if stopping {
                        return; // the log keeps what the engine could not take
                    }
                }
            }
            None if core.state.read().active.last() != 0 => core.freeze_idle(),
            None if stopping => return,
            None => {}
        }
    }
}

/// Commits are refused below the reserve; the engine may use half of it.
fn lacks_room(core: &Core) -> bool {
    core.disk.free_bytes().is_ok_and(|free| free < core.options.disk_reserve_bytes / 2)
}

fn absorb(core: &Core, engine: &mut dyn Engine, generation: &Arc<Generation>) -> Result<(), Fault> {
    // The log comes first: what is not durable there must not become durable in the engine.
    while core.durable.load(std::sync::atomic::Ordering::Acquire) < generation.last() {
        if let Health::Failed(reason) = core.health() {
            return Err(fault::refused(&reason));
        }
        let mut freezing = core.freezing.lock();
        if freezing.abandoned {
            return Ok(());
        }
        core.frozen.wait_for(&mut freezing, Duration::from_millis(5));
    }
    core.checkpointing(true);
    let written = write(engine, generation);
    core.checkpointing(false);
    let snapshot = written.and_then(|()| engine.snapshot())?;
    {
        let mut state = core.state.write();
        let frozen = state.frozen.iter().filter(|other| !Arc::ptr_eq(other, generation)).cloned().collect();
        *state = Arc::new(State { active: Arc::clone(&state.active), frozen, engine: snapshot });
    }
    core.frozen.notify_all();
    if !lacks_room(core) {
        core.set_health(Health::Serving);
    }
    if let Err(error) = log::retire(&*core.disk, generation.segment()) {
        // It is found and skipped at the next start.
        tracing::warn!(%error, "a segment of the commit log could not be removed");
    }
    Ok(())
}

fn write(engine: &mut dyn Engine, generation: &Generation) -> Result<(), Fault> {
    if generation.last() == 0 {
        return Ok(()); // every commit of it was rolled back
    }
    let mut after = None;
    loop {
        let mut batch = generation.newest(after.as_ref(), BATCH_ENTRIES);
        let mut bytes = 0;
        let fits = batch.iter().position(|(key, value)| {
            bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
            bytes > BATCH_BYTES
        });
        batch.truncate(fits.map_or(batch.len(), |fits| fits.max(1)));
        let Some((last, _)) = batch.last() else { break };
        after = Some(last.clone());
        engine.write(&batch)?;
    }
    engine.sync()?;
    engine.write(&[booked(books::CLOCK, generation.clock()), booked(books::CHECKPOINT, generation.last())])?;
    engine.sync()
}

/// The engine failed, most likely for want of space: start it afresh until it works. Meanwhile the log takes what it
/// can, and reads go on as soon as the engine has been opened again.
fn recover(core: &Core, engine: &mut dyn Engine, fault: &Fault) {
    core.set_health(Health::ReadOnly(format!("the engine cannot be written: {fault:?}")));
    match engine.reopen().and_then(|()| engine.snapshot()) {
        Ok(snapshot) => {
            let mut state = core.state.write();
            let State { active, frozen, .. } = &**state;
            *state = Arc::new(State { active: Arc::clone(active), frozen: frozen.clone(), engine: snapshot });
        }
        Err(fault) if fault.kind() == FaultKind::Unavailable => {
            tracing::warn!(?fault, "the engine cannot be reopened yet");
        }
        Err(fault) => core.set_health(Health::Failed(format!("the engine cannot be reopened: {fault:?}"))),
    }
    let mut freezing = core.freezing.lock();
    if !freezing.stopping {
        core.frozen.wait_for(&mut freezing, RETRY);
    }
}
