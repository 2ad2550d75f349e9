//! The background work: expired messages, move tasks, and the space of what was purged or deleted.

use std::time::Duration;

use base_types::{Fault, Timestamp};
use services_kernel::{Cx, Reconciler};
use store_api::{Direction, Key, Part, Tx};

use crate::{
    Sqs, fifo,
    flow::Found,
    message::Body,
    names::{self, QueueName},
    ops::Task,
    tables::{BODIES, EXPIRY, MOVES, MOVING, Move, MoveStatus, Numbers, Place, READY, Record, TRASH, last_number},
};

/// Rows that one transaction frees.
const FREED_MAX: usize = 1000;
/// Messages that one transaction expires or moves.
const HANDLED_MAX: usize = 100;
/// Queues and tasks looked at in a round.
const LOOKED_AT_MAX: usize = 100;
/// More is to be done: the next round comes at once.
const AT_ONCE: Duration = Duration::from_millis(1);
const A_SECOND: Duration = Duration::from_secs(1);

/// Keeps queues tidy.
pub struct SqsReconciler {
    sqs: Sqs,
}

impl SqsReconciler {
    pub(crate) fn new(sqs: Sqs) -> Self {
        Self { sqs }
    }
}

impl Reconciler for SqsReconciler {
    const NAME: &'static str = "queues";
    const POLL: Duration = Duration::from_secs(10);

    fn topic(&self) -> Key {
        TRASH.global_key(None)
    }

    async fn round(&self) -> Result<Option<Duration>, Fault> {
        let store = &self.sqs.store;
        let freed = store.transact(free).await?;
        let expired = store.transact(expire_some).await?;
        let moved = store.transact(move_some).await?;
        Ok([freed, expired, moved].into_iter().flatten().min())
    }
}

/// What the reconciler's own requests are called.
const REQUEST: &str = "queues";

/// Frees rows of what cannot be reached any more.
fn free(tx: &Tx) -> Result<Option<Duration>, Fault> {
    let Some((key, trash)) = TRASH.scan(tx, &TRASH.global_key(None).prefix(), 1, Direction::Forward)?.pop() else {
        return Ok(None);
    };
    let Some(Part::Bytes(id)) = key.parts()?.pop() else { return Ok(None) };
    let Ok(id) = id.try_into() else { return Ok(None) };
    let place = Place { account: trash.account, region: trash.region };
    let mut left = FREED_MAX;
    for rows in place.remains(&id) {
        // The counters are the prefixes themselves.
        tx.delete(&rows)?;
        for (row, _) in tx.scan(&rows.prefix(), left, Direction::Forward)? {
            tx.delete(&row)?;
            left -= 1;
        }
        if left == 0 {
            return Ok(Some(AT_ONCE));
        }
    }
    TRASH.remove(tx, &key)?;
    Ok(Some(AT_ONCE))
}

/// Removes messages that are older than their queue keeps them.
fn expire_some(tx: &Tx) -> Result<Option<Duration>, Fault> {
    let rows = EXPIRY.global_key(None);
    for (key, _) in tx.scan(&rows.prefix(), LOOKED_AT_MAX, Direction::Forward)? {
        let mut parts = key.parts()?;
        let (Some(Part::Str(name)), Some(Part::Str(region)), Some(Part::Str(account)), Some(Part::U64(due))) =
            (parts.pop(), parts.pop(), parts.pop(), parts.pop())
        else {
            tx.delete(&key)?;
            continue;
        };
        let due = Timestamp::from_millis(due);
        if due > tx.now() {
            return Ok(Some(due.since(tx.now()).max(AT_ONCE)));
        }
        tx.delete(&key)?;
        let (Ok(account), Ok(region)) = (account.parse(), region.parse()) else { continue };
        let cx = Cx::internal(account, region, REQUEST);
        let Some(found) = Found::load(&cx, tx, QueueName { account, name })? else { continue };
        if expire(tx, &found)? {
            return Ok(Some(AT_ONCE));
        }
    }
    Ok(None)
}

/// Expires the oldest messages of a queue and files when the next does; true when there are more to expire now.
fn expire(tx: &Tx, found: &Found) -> Result<bool, Fault> {
    let rows = found.place.rows(&BODIES, &found.queue.id);
    let oldest = BODIES.scan(tx, &rows.prefix(), HANDLED_MAX, Direction::Forward)?;
    let looked_at = oldest.len();
    for (key, body) in oldest {
        if !found.has_expired(&body, tx.now()) {
            found.file_expiry(tx, body.sent)?;
            return Ok(false);
        }
        found.expire(tx, last_number(&key)?, &body)?;
    }
    if looked_at == HANDLED_MAX {
        found.file_expiry(tx, Timestamp::EPOCH)?;
        return Ok(true);
    }
    Ok(false)
}

/// Moves messages for the tasks that run.
fn move_some(tx: &Tx) -> Result<Option<Duration>, Fault> {
    let mut next = None;
    for (key, _) in MOVING.scan(tx, &MOVING.global_key(None).prefix(), LOOKED_AT_MAX, Direction::Forward)? {
        let Some(task) = Task::of_running(&key)? else {
            tx.delete(&key)?;
            continue;
        };
        let Some(mut record) = MOVES.get(tx, &task.key())? else {
            tx.delete(&key)?;
            continue;
        };
        let cx = Cx::internal(task.place.account, task.place.region.clone(), REQUEST);
        record.status = advance(&cx, tx, &task, &mut record)?;
        MOVES.put(tx, &task.key(), &record)?;
        if record.status == MoveStatus::Running {
            let pause = if record.per_second.is_some() { A_SECOND } else { AT_ONCE };
            next = Some(next.map_or(pause, |soonest: Duration| soonest.min(pause)));
        } else {
            MOVING.remove(tx, &key)?;
        }
    }
    Ok(next)
}

/// One step of a task; answers its status after it.
fn advance(cx: &Cx, tx: &Tx, task: &Task, record: &mut Move) -> Result<MoveStatus, Fault> {
    if record.status == MoveStatus::Cancelling {
        return Ok(MoveStatus::Cancelled);
    }
    let failed = |record: &mut Move, reason: &str| {
        record.failure = Some(reason.to_owned());
        Ok(MoveStatus::Failed)
    };
    let source = QueueName { account: task.place.account, name: task.source.clone() };
    let Some(source) = Found::load(cx, tx, source)? else {
        return failed(record, "AWS.SimpleQueueService.NonExistentQueue");
    };
    source.surface(tx)?;
    let wanted = record.per_second.map_or(HANDLED_MAX, |rate| HANDLED_MAX.min(usize::try_from(rate).unwrap_or(1)));
    let (mut moved, mut passed) = (0, false);
    for Waiting { numbers, new } in waiting(&source, tx, wanted)? {
        for number in numbers.into_iter().take(wanted - moved) {
            let Some(body) = BODIES.get(tx, &source.row(&BODIES, number))? else { continue };
            let Some(arn) = record.destination.as_deref().or(body.source.as_deref()) else {
                return failed(record, "CouldNotDetermineMessageSource");
            };
            let destination = names::of_arn(cx, arn).map(|name| Found::load(cx, tx, name)).transpose()?.flatten();
            let Some(destination) = destination.filter(|destination| destination.is_fifo() == source.is_fifo()) else {
                return failed(record, "AWS.SimpleQueueService.NonExistentQueue");
            };
            source.expire(tx, number, &body)?;
            // To whoever receives it, it is a new message.
            let id = crate::message::moved_id(&body.message_id, tx.now());
            let body = Body { message_id: id, source: None, sent: tx.now(), ..body };
            let delay = destination.queue.attributes.delay;
            destination.arrive(tx, &mut Numbers::default(), body, Record::default(), delay)?;
            moved += 1;
        }
        // Not before it was moved: a task that fails leaves it new.
        if let Some(number) = new {
            source.pass(tx, number)?;
            passed = true;
        }
    }
    record.moved += moved as u64;
    Ok(if moved == 0 && !passed { MoveStatus::Completed } else { MoveStatus::Running })
}

/// What can be moved, in order.
struct Waiting {
    /// A message, or those of a group.
    numbers: Vec<u64>,
    /// The number that the queue's cursor has to pass, if it has not.
    new: Option<u64>,
}

fn waiting(source: &Found, tx: &Tx, wanted: usize) -> Result<Vec<Waiting>, Fault> {
    let ready = READY.claim(tx, &source.place.rows(&READY, &source.queue.id).prefix(), wanted)?;
    if ready.is_empty() && !source.is_fifo() {
        let new = source.new_messages(tx, wanted)?;
        let waiting = |(number, body): (u64, Body)| Waiting {
            numbers: if body.filed { Vec::new() } else { vec![number] },
            new: Some(number),
        };
        return Ok(new.into_iter().map(waiting).collect());
    }
    ready
        .into_iter()
        .map(|(key, entry)| {
            let numbers = match &entry.group {
                None => vec![last_number(&key)?],
                Some(group) => fifo::waiting(source, tx, group, wanted)?,
            };
            Ok(Waiting { numbers, new: None })
        })
        .collect()
}
