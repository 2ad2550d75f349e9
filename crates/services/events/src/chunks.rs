//! What is beyond one transaction: durable intents, expanded piece by piece.
//!
//! Guarantee: a chunk leaves the store in the transaction that hands the event to its targets, so that each target gets the
//! event once, whenever the server ends.

use std::time::Duration;

use base_types::Fault;
use services_kernel::{Cx, Lineage, Reconciler};
use store_api::{Direction, Key, Tx};

use crate::{
    EventBridge,
    names::BusName,
    publish::Handing,
    tables::{CHUNK_EVENTS, CHUNKS, Chunk, ChunkEvent, TARGETS},
};

/// Targets in a chunk.
const TARGETS_MAX: usize = 256;
/// Bytes that the events of a chunk may have together.
const BYTES_MAX: usize = 3 << 20;
/// Chunks that one round expands.
const CHUNKS_PER_ROUND: usize = 1000;
const AT_ONCE: Duration = Duration::from_millis(1);
/// What the reconciler's own requests are called.
const REQUEST: &str = "events-chunks";

/// Expands chunks.
pub struct ChunkReconciler {
    events: EventBridge,
}

impl ChunkReconciler {
    pub(crate) fn new(events: EventBridge) -> Self {
        Self { events }
    }
}

impl EventBridge {
    /// Keeps an event for targets that it does not reach in this transaction.
    pub(crate) fn put_off(
        &self,
        cx: &Cx,
        tx: &Tx,
        handing: &Handing<'_>,
        targets: Vec<(String, String)>,
    ) -> Result<(), Fault> {
        let mut id = [0; 16];
        self.env.fill(&mut id);
        let event = ChunkEvent {
            account: handing.bus.account,
            region: handing.bus.region.clone(),
            bus: handing.bus.name.clone(),
            event: handing.event.clone(),
            forwarded: handing.forwarded,
            hops: cx.hops,
        };
        CHUNK_EVENTS.put(tx, &CHUNK_EVENTS.global_key(None).bytes(&id), &event)?;
        let size = (BYTES_MAX / (2 * handing.text.len()).max(1)).clamp(1, TARGETS_MAX);
        for (number, targets) in (0..).zip(targets.chunks(size)) {
            let key = CHUNKS.global_key(None).bytes(&id).u64(number);
            CHUNKS.put(tx, &key, &Chunk { targets: targets.to_vec() })?;
        }
        tx.wake(&CHUNKS.global_key(None), 1)
    }

    /// Expands the first chunk; false when there is none.
    fn expand(&self, tx: &Tx) -> Result<bool, Fault> {
        let all = CHUNKS.global_key(None);
        let Some((key, chunk)) = CHUNKS.claim(tx, &all.prefix(), 1)?.pop() else { return Ok(false) };
        CHUNKS.remove(tx, &key)?;
        let mut parts = key.parts()?;
        parts.pop();
        let Some(store_api::Part::Bytes(id)) = parts.pop() else { return Err(store_api::DamagedKey.into()) };
        let event_key = CHUNK_EVENTS.global_key(None).bytes(&id);
        let Some(kept) = CHUNK_EVENTS.get(tx, &event_key)? else { return Ok(true) };
        let bus = BusName { account: kept.account, region: kept.region, name: kept.bus };
        let handing = Handing { bus: &bus, text: kept.event.text(), event: &kept.event, forwarded: kept.forwarded };
        let mut cx = Cx::internal(bus.account, bus.region.clone(), REQUEST);
        cx.trace = kept.event.trace.as_deref().map(std::sync::Arc::from);
        let lineage = kept.event.trace.as_deref().map(Lineage::of).unwrap_or_default();
        // Within this transaction a chain begins anew; what the chain has behind it is in its lineage.
        cx.hops = lineage.hops().max(u8::from(kept.hops > 0));
        for (rule, target) in &chunk.targets {
            // A target that was removed meanwhile gets nothing any more.
            if let Some(target) = TARGETS.get(tx, &bus.targets(rule).str(target))? {
                self.hand(&cx, tx, &handing, rule, &target)?;
            }
        }
        if tx.scan(&all.bytes(&id).prefix(), 1, Direction::Forward)?.is_empty() {
            CHUNK_EVENTS.remove(tx, &event_key)?;
        }
        Ok(true)
    }
}

impl Reconciler for ChunkReconciler {
    const NAME: &'static str = "events beyond a transaction";
    const POLL: Duration = Duration::from_secs(30);

    fn topic(&self) -> Key {
        CHUNKS.global_key(None)
    }

    async fn round(&self) -> Result<Option<Duration>, Fault> {
        for _ in 0..CHUNKS_PER_ROUND {
            let events = self.events.clone();
            if !self.events.store.transact(move |tx: &Tx| events.expand(tx)).await? {
                return Ok(None);
            }
        }
        Ok(Some(AT_ONCE))
    }
}
