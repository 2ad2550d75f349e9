//! Replays: kept events come back to their bus, in the order of their times.
//!
//! Guarantee: where a replay is, is part of the transaction that hands events over: each event of it comes back once.

use std::time::Duration;

use base_types::Fault;
use services_kernel::{Cx, Reconciler};
use store_api::{Direction, Key, Tx};

use crate::{
    EventBridge,
    event::Event,
    names::BusName,
    tables::{KEPT, REPLAYING, REPLAYS, Replay, ReplayState, within_of},
};

/// Events that one transaction brings back.
const EVENTS_MAX: usize = 50;
/// Bytes that it may have written before it stops.
const BYTES_MAX: usize = 2 << 20;
/// Replays that take their turns.
const RUNNING_MAX: usize = 1000;
const AT_ONCE: Duration = Duration::from_millis(1);
/// What the reconciler's own requests are called.
const REQUEST: &str = "events-replays";

/// Brings events back.
pub struct ReplayReconciler {
    events: EventBridge,
}

impl ReplayReconciler {
    pub(crate) fn new(events: EventBridge) -> Self {
        Self { events }
    }
}

impl EventBridge {
    /// One step of a replay.
    fn replay_some(&self, tx: &Tx, running: &Key) -> Result<(), Fault> {
        let (place, name) = within_of(running)?;
        let key = place.named(&REPLAYS, &name);
        let Some(mut replay) = REPLAYS.get(tx, &key)? else { return REPLAYING.remove(tx, running) };
        replay.state = match replay.state {
            ReplayState::Starting => ReplayState::Running,
            ReplayState::Running => {
                let bus = BusName { account: place.account, region: place.region.clone(), name: replay.bus.clone() };
                let rows = place.kept(&KEPT, &replay.archive_id);
                self.bring_back(tx, &name, &bus, &rows, &mut replay)?
            }
            ReplayState::Cancelling => ReplayState::Cancelled,
            ended => ended,
        };
        if !matches!(replay.state, ReplayState::Starting | ReplayState::Running | ReplayState::Cancelling) {
            replay.ended = Some(tx.now());
            REPLAYING.remove(tx, running)?;
        }
        REPLAYS.put(tx, &key, &replay)
    }

    fn bring_back(
        &self,
        tx: &Tx,
        name: &str,
        bus: &BusName,
        rows: &Key,
        replay: &mut Replay,
    ) -> Result<ReplayState, Fault> {
        let (from, until) = (rows.clone().time(replay.from), rows.clone().time(replay.until));
        let mut range = rows.prefix().before(&until);
        range = match &replay.cursor {
            Some(cursor) => range.after(&Key::from_encoded(cursor)),
            None => store_api::KeyRange::between(&from, &until),
        };
        let kept = KEPT.scan(tx, &range, EVENTS_MAX, Direction::Forward)?;
        let cx = Cx::internal(bus.account, bus.region.clone(), REQUEST);
        let found = kept.len();
        for (key, kept) in kept {
            let event = Event { replay: Some(name.to_owned()), ingested: tx.now(), ..kept.event };
            self.publish(&cx, tx, bus, &event, false, replay.rules.as_deref())?;
            replay.last = Some(event.time);
            replay.cursor = Some(key.as_bytes().to_vec());
            if tx.written().1 > BYTES_MAX {
                return Ok(ReplayState::Running);
            }
        }
        Ok(if found < EVENTS_MAX { ReplayState::Completed } else { ReplayState::Running })
    }
}

impl Reconciler for ReplayReconciler {
    const NAME: &'static str = "event replays";
    const POLL: Duration = Duration::from_secs(30);

    fn topic(&self) -> Key {
        REPLAYING.global_key(None)
    }

    async fn round(&self) -> Result<Option<Duration>, Fault> {
        let store = &self.events.store;
        let running =
            store.view(|tx| tx.scan(&REPLAYING.global_key(None).prefix(), RUNNING_MAX, Direction::Forward)).await?;
        let any = !running.is_empty();
        for (key, _) in running {
            let events = self.events.clone();
            store.transact(move |tx: &Tx| events.replay_some(tx, &key)).await?;
        }
        Ok(any.then_some(AT_ONCE))
    }
}
