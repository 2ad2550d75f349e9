//! The life of a message in the store: it arrives, is taken and hidden, comes back or leaves.
//!
//! Everything here happens inside the caller's transaction. What is particular to FIFO queues is in `fifo`.

use std::time::Duration;

use base_types::{Fault, Timestamp};
use services_kernel::Cx;
use store_api::{Direction, Key, Tx};

use crate::{
    fifo,
    message::Body,
    names::{self, QueueName},
    tables::{
        self, BODIES, CURSOR, Change, Cursor, DUE, EXPIRY, HIDDEN, Hidden, Mark, Numbers, Place, QUEUES, Queue, READY,
        Ready, Record, due_of, last_number,
    },
};

/// Hidden messages that one receive brings back at most.
const SURFACED_MAX: usize = 20;
/// How often one receive looks for more when what it found had expired, went to the dead-letter queue or is delayed.
const LOOKS_MAX: usize = 20;
/// Delayed messages that a look among the new ones passes over at a time, once it has met nothing else.
const PASSED_OVER: usize = 32;
/// Bytes that one receive answers at most; a single message always fits.
const RECEIVE_BYTES_MAX: usize = 4 << 20;

/// A queue that exists.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) name: QueueName,
    pub(crate) place: Place,
    pub(crate) arn: String,
    pub(crate) queue: Queue,
}

/// A message that a receiver got.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) number: u64,
    pub(crate) record: Record,
    pub(crate) body: Body,
}

/// What one look brought.
#[derive(Debug, Default)]
pub(crate) struct Catch {
    pub(crate) taken: Vec<Taken>,
    /// When the next hidden message can be seen.
    pub(crate) next_due: Option<Timestamp>,
    /// Not everything was looked at: another look may bring something.
    pub(crate) more: bool,
}

/// What came of a deletion or a change of visibility.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    Yes,
    /// The message is not there any more.
    Gone,
    /// Another receive of the message has begun, or may begin.
    Expired,
    /// It would be hidden for longer than may be.
    TooLong,
}

/// The longest time that a message may be hidden after one receive (AWS: 12 hours).
const HIDDEN_MAX: Duration = Duration::from_secs(43_200);

impl Found {
    /// The queue of this name, if it exists.
    pub(crate) fn load(cx: &Cx, tx: &Tx, name: QueueName) -> Result<Option<Self>, Fault> {
        let place = Place::of(&name, &cx.region);
        let queue = QUEUES.get(tx, &place.queue(&name.name))?;
        Ok(queue.map(|queue| Self { arn: name.arn_text(cx), name, place, queue }))
    }

    pub(crate) fn is_fifo(&self) -> bool {
        self.queue.attributes.fifo.is_some()
    }

    /// What wakes those who wait for a message.
    pub(crate) fn topic(&self) -> Key {
        self.place.queue(&self.name.name)
    }

    pub(crate) fn row<V>(&self, table: &store_api::Table<V>, number: u64) -> Key {
        self.place.rows(table, &self.queue.id).u64(number)
    }

    pub(crate) fn due(&self, record: &Record, number: u64) -> Key {
        self.place.rows(&DUE, &self.queue.id).time(record.visible).u64(number)
    }

    pub(crate) fn change(&self, tx: &Tx, change: Change) -> Result<(), Fault> {
        tables::change(tx, &self.place, &self.queue.id, change)
    }

    /// A message arrives; answers its number.
    pub(crate) fn arrive(
        &self,
        tx: &Tx,
        numbers: &mut Numbers,
        mut body: Body,
        mut record: Record,
        delay: u32,
    ) -> Result<u64, Fault> {
        let (number, empty) = numbers.next(tx, &self.place, &self.queue.id)?;
        // A new message of a standard queue is nothing but its body: that it lies behind the cursor says the rest.
        body.filed = self.is_fifo() || delay > 0 || record != Record::default();
        BODIES.put(tx, &self.row(&BODIES, number), &body)?;
        record.visible = tx.now() + Duration::from_secs(delay.into());
        if delay > 0 {
            self.hide(
                tx,
                number,
                &Hidden { record, delayed: true, group: body.group.clone().filter(|_| self.is_fifo()) },
            )?;
            self.change(tx, Change { delayed: 1, ..Change::default() })?;
        }
        if self.is_fifo() {
            fifo::join(self, tx, body.group.as_deref().unwrap_or_default(), number, &record)?;
        } else if delay == 0 && body.filed {
            READY.put(tx, &self.row(&READY, number), &Ready { record: Some(record), group: None })?;
        }
        if empty {
            self.file_expiry(tx, body.sent)?;
        }
        // Who waits takes it, or learns when it can be seen.
        tx.wake(&self.topic(), 1)?;
        Ok(number)
    }

    /// Files when the oldest message, sent then, expires.
    pub(crate) fn file_expiry(&self, tx: &Tx, sent: Timestamp) -> Result<(), Fault> {
        let expires = sent + Duration::from_secs(self.queue.attributes.retention.into());
        let key = EXPIRY.global_key(None).time(expires).str(self.place.account.as_str());
        EXPIRY.put(tx, &key.str(self.place.region.as_str()).str(&self.name.name), &Mark {})
    }

    pub(crate) fn has_expired(&self, body: &Body, now: Timestamp) -> bool {
        body.sent + Duration::from_secs(self.queue.attributes.retention.into()) <= now
    }

    /// Puts a message among the hidden ones.
    pub(crate) fn hide(&self, tx: &Tx, number: u64, hidden: &Hidden) -> Result<(), Fault> {
        DUE.put(tx, &self.due(&hidden.record, number), &Mark {})?;
        HIDDEN.put(tx, &self.row(&HIDDEN, number), hidden)
    }

    /// Takes a message from the hidden ones; answers what that means for the counters.
    #[must_use = "the counters have to follow"]
    fn unhide(&self, tx: &Tx, number: u64, hidden: &Hidden) -> Result<Change, Fault> {
        DUE.remove(tx, &self.due(&hidden.record, number))?;
        HIDDEN.remove(tx, &self.row(&HIDDEN, number))?;
        Ok(if hidden.delayed { Change { delayed: -1, ..Change::default() } } else { landed() })
    }

    /// Brings hidden messages back that can be seen by now; answers when the next can.
    pub(crate) fn surface(&self, tx: &Tx) -> Result<Option<Timestamp>, Fault> {
        let rows = self.place.rows(&DUE, &self.queue.id).prefix();
        // Mostly nothing is due: then one look at the first will do.
        let Some((first, _)) = tx.scan(&rows, 1, Direction::Forward)?.pop() else { return Ok(None) };
        let (due, _) = due_of(&first)?;
        if due > tx.now() {
            return Ok(Some(due));
        }
        for (key, _) in tx.scan(&rows, SURFACED_MAX + 1, Direction::Forward)? {
            let (due, number) = due_of(&key)?;
            if due > tx.now() {
                return Ok(Some(due));
            }
            let Some(hidden) = HIDDEN.get(tx, &self.row(&HIDDEN, number))? else {
                DUE.remove(tx, &key)?;
                continue;
            };
            self.come_back(tx, number, &hidden)?;
        }
        Ok(None)
    }

    /// A hidden message can be seen again.
    fn come_back(&self, tx: &Tx, number: u64, hidden: &Hidden) -> Result<(), Fault> {
        let change = self.unhide(tx, number, hidden)?;
        self.change(tx, change)?;
        match &hidden.group {
            Some(group) => fifo::come_back(self, tx, group, number, hidden),
            None => READY.put(tx, &self.row(&READY, number), &Ready { record: Some(hidden.record), group: None }),
        }
    }

    /// Takes up to `wanted` messages and hides them for `seconds`.
    pub(crate) fn take(&self, cx: &Cx, tx: &Tx, wanted: usize, seconds: u32) -> Result<Catch, Fault> {
        let next_due = self.surface(tx)?;
        let mut net = Net { seconds, bytes: 0, taken: Vec::new(), passed: 0 };
        let mut more = true;
        for _ in 0..LOOKS_MAX {
            more = net.taken.len() < wanted && !net.is_full() && self.look(cx, tx, wanted, &mut net)?;
            if !more {
                break;
            }
        }
        let in_flight = i64::try_from(net.taken.len()).unwrap_or(i64::MAX);
        self.change(tx, Change { in_flight, ..Change::default() })?;
        Ok(Catch { more: more || (net.taken.is_empty() && net.is_full()), taken: net.taken, next_due })
    }

    /// Looks once at the head of the queue: first what came back, then what is new. False when there is nothing.
    fn look(&self, cx: &Cx, tx: &Tx, wanted: usize, net: &mut Net) -> Result<bool, Fault> {
        let left = wanted - net.taken.len();
        let ready = READY.claim(tx, &self.place.rows(&READY, &self.queue.id).prefix(), left)?;
        if ready.is_empty() {
            return if self.is_fifo() { Ok(false) } else { self.take_new(cx, tx, left, net) };
        }
        for (key, ready) in ready {
            let number = last_number(&key)?;
            match (ready.group, ready.record) {
                (Some(group), _) => fifo::take(self, cx, tx, &group, number, wanted, net)?,
                (None, Some(record)) if !net.is_full() => {
                    READY.remove(tx, &key)?;
                    let body = BODIES.get(tx, &self.row(&BODIES, number))?;
                    let taken = body.map(|body| self.take_one(cx, tx, number, body, record, None, net)).transpose()?;
                    net.taken.extend(taken.flatten());
                }
                (None, _) => {}
            }
        }
        Ok(true)
    }

    /// Takes new messages of a standard queue; false when there are none.
    fn take_new(&self, cx: &Cx, tx: &Tx, left: usize, net: &mut Net) -> Result<bool, Fault> {
        let (mut last, mut room) = (None, left);
        // Delayed messages lie among the new ones. Many of them are passed over in greater steps.
        let limit = if net.passed > 0 && net.taken.is_empty() { PASSED_OVER } else { left };
        for (number, body) in self.new_messages(tx, limit)? {
            if net.is_full() || room == 0 {
                break;
            }
            if body.filed {
                net.passed += 1;
                net.bytes += body.text.len();
            } else if let Some(taken) = self.take_one(cx, tx, number, body, Record::default(), None, net)? {
                net.taken.push(taken);
                room -= 1;
            }
            last = Some(number);
        }
        if let Some(number) = last {
            self.pass(tx, number)?;
        }
        Ok(last.is_some())
    }

    /// Bodies behind the cursor, in order; those that are filed are not new.
    pub(crate) fn new_messages(&self, tx: &Tx, limit: usize) -> Result<Vec<(u64, Body)>, Fault> {
        let cursor = CURSOR.get(tx, &self.place.rows(&CURSOR, &self.queue.id))?.unwrap_or_default();
        let behind =
            self.place.rows(&BODIES, &self.queue.id).prefix().starting_at(&self.row(&BODIES, cursor.number + 1));
        let found = BODIES.scan(tx, &behind, limit, Direction::Forward)?;
        found.into_iter().map(|(key, body)| Ok((last_number(&key)?, body))).collect()
    }

    /// Nothing up to this number is new any more.
    pub(crate) fn pass(&self, tx: &Tx, number: u64) -> Result<(), Fault> {
        CURSOR.put(tx, &self.place.rows(&CURSOR, &self.queue.id), &Cursor { number })
    }

    /// Takes one message that is not among the ready ones any more; none when it had expired or is a dead letter.
    #[expect(clippy::too_many_arguments, reason = "what is known of a message, and what becomes of it")]
    pub(crate) fn take_one(
        &self,
        cx: &Cx,
        tx: &Tx,
        number: u64,
        body: Body,
        mut record: Record,
        group: Option<&str>,
        net: &mut Net,
    ) -> Result<Option<Taken>, Fault> {
        let now = tx.now();
        if self.has_expired(&body, now) || self.bury(cx, tx, &body, record)? {
            self.forget(tx, number)?;
            return Ok(None);
        }
        record.receives += 1;
        record.first_received.get_or_insert(now);
        record.received = now;
        record.visible = now + Duration::from_secs(net.seconds.into());
        self.hide(tx, number, &Hidden { record, delayed: false, group: group.map(str::to_owned) })?;
        net.bytes += body.text.len();
        Ok(Some(Taken { number, record, body }))
    }

    /// Hands a message over to the dead-letter queue, if it has been received often enough and there is one.
    fn bury(&self, cx: &Cx, tx: &Tx, body: &Body, record: Record) -> Result<bool, Fault> {
        let Some(redrive) = self.queue.attributes.redrive.as_ref().filter(|r| record.receives >= r.receives_max) else {
            return Ok(false);
        };
        let Some(target) = names::of_arn(cx, &redrive.target) else { return Ok(false) };
        let Some(target) = Self::load(cx, tx, target)? else { return Ok(false) };
        if target.is_fifo() != self.is_fifo() || !target.queue.attributes.takes_dead_letters_of(&self.arn) {
            return Ok(false);
        }
        let mut body = Body { source: Some(self.arn.clone()), ..body.clone() };
        if self.is_fifo() {
            body.sent = tx.now();
        }
        target.arrive(tx, &mut Numbers::default(), body, record, 0)?;
        Ok(true)
    }

    /// Deletes the message that this receive got; what that means for the counters is added to `change`.
    pub(crate) fn delete(&self, tx: &Tx, number: u64, receive: u32, change: &mut Change) -> Result<Done, Fault> {
        let hidden = HIDDEN.get(tx, &self.row(&HIDDEN, number))?;
        if let Some(hidden) = hidden.filter(|hidden| !hidden.delayed && hidden.record.receives == receive) {
            // A standard queue deletes also what could be received again, as long as nobody did.
            if self.is_fifo() && hidden.record.visible <= tx.now() {
                return Ok(Done::Expired);
            }
            *change += self.unhide(tx, number, &hidden)?;
            if let Some(group) = &hidden.group {
                fifo::leave(self, tx, group, number)?;
            }
        } else if self.is_fifo() {
            let there = tx.get(&self.row(&BODIES, number))?.is_some();
            return Ok(if there { Done::Expired } else { Done::Gone });
        } else {
            let ready = READY.get(tx, &self.row(&READY, number))?;
            if ready.and_then(|ready| ready.record).is_none_or(|record| record.receives != receive) {
                return Ok(Done::Gone);
            }
            READY.remove(tx, &self.row(&READY, number))?;
        }
        BODIES.remove(tx, &self.row(&BODIES, number))?;
        *change += gone();
        Ok(Done::Yes)
    }

    /// A message leaves for good.
    pub(crate) fn forget(&self, tx: &Tx, number: u64) -> Result<(), Fault> {
        BODIES.remove(tx, &self.row(&BODIES, number))?;
        self.change(tx, gone())
    }

    /// Hides the message that this receive got for so long from now.
    pub(crate) fn set_visible(&self, tx: &Tx, number: u64, receive: u32, seconds: u32) -> Result<Done, Fault> {
        let now = tx.now();
        let Some(mut hidden) = HIDDEN.get(tx, &self.row(&HIDDEN, number))? else { return Ok(Done::Gone) };
        if hidden.delayed || hidden.record.receives != receive || hidden.record.visible <= now {
            return Ok(Done::Expired);
        }
        let visible = now + Duration::from_secs(seconds.into());
        if visible.since(hidden.record.received) > HIDDEN_MAX {
            return Ok(Done::TooLong);
        }
        if seconds == 0 {
            let back = Hidden { record: Record { visible: now, ..hidden.record }, ..hidden.clone() };
            DUE.remove(tx, &self.due(&hidden.record, number))?;
            self.come_back(tx, number, &back)?;
        } else {
            DUE.remove(tx, &self.due(&hidden.record, number))?;
            hidden.record.visible = visible;
            self.hide(tx, number, &hidden)?;
        }
        // Who waits has to know the new time.
        tx.wake(&self.topic(), 1)?;
        Ok(Done::Yes)
    }

    /// Removes a message whatever state it is in: it has expired.
    pub(crate) fn expire(&self, tx: &Tx, number: u64, body: &Body) -> Result<(), Fault> {
        let hidden = HIDDEN.get(tx, &self.row(&HIDDEN, number))?;
        if let Some(hidden) = &hidden {
            let change = self.unhide(tx, number, hidden)?;
            self.change(tx, change)?;
        }
        if self.is_fifo() {
            let flying = hidden.is_some_and(|hidden| !hidden.delayed);
            fifo::expire(self, tx, body.group.as_deref().unwrap_or_default(), number, flying)?;
        } else {
            READY.remove(tx, &self.row(&READY, number))?;
        }
        self.forget(tx, number)
    }
}

/// What a receive has got so far.
pub(crate) struct Net {
    /// For how long what is taken is hidden.
    pub(crate) seconds: u32,
    pub(crate) bytes: usize,
    pub(crate) taken: Vec<Taken>,
    /// Delayed messages among the new ones.
    passed: usize,
}

impl Net {
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= RECEIVE_BYTES_MAX
    }
}

/// One message left for good.
pub(crate) fn gone() -> Change {
    Change { gone: 1, ..Change::default() }
}

/// One message is not in flight any more.
pub(crate) fn landed() -> Change {
    Change { in_flight: -1, ..Change::default() }
}
