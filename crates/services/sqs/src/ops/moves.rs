//! Move tasks: messages of a dead-letter queue back to where they came from, or elsewhere.

use base_types::Timestamp;
use base64::{Engine, engine::general_purpose::STANDARD};
use model_sqs::{
    CancelMessageMoveTaskRequest, CancelMessageMoveTaskResult, Error, ListMessageMoveTasksRequest,
    ListMessageMoveTasksResult, ListMessageMoveTasksResultEntry, StartMessageMoveTaskRequest,
    StartMessageMoveTaskResult,
};
use serde_json::{Value, json};
use services_kernel::Cx;
use store_api::{Direction, Key, Part, Tx};

use super::find_named;
use crate::{
    Sqs,
    flow::Found,
    names::{self, QueueName},
    tables::{self, MOVES, MOVING, Mark, Move, MoveStatus, Place, SOURCES, TRASH},
};

const PER_SECOND_MAX: i32 = 500;
const RESULTS_MAX: i32 = 10;
/// Ended tasks that are kept of a source.
const KEPT_MAX: usize = 10;

/// A task's place in the store.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) place: Place,
    pub(crate) source: String,
    pub(crate) started: Timestamp,
    pub(crate) id: String,
}

impl Task {
    pub(crate) fn key(&self) -> Key {
        rows(&self.place, &self.source).descending(self.started.as_millis()).str(&self.id)
    }

    pub(crate) fn running(&self) -> Key {
        let key = MOVING.global_key(None).str(self.place.account.as_str()).str(self.place.region.as_str());
        key.str(&self.source).time(self.started).str(&self.id)
    }

    /// Reads a key of the running tasks.
    pub(crate) fn of_running(key: &Key) -> Result<Option<Self>, base_types::Fault> {
        let mut parts = key.parts()?;
        let (Some(Part::Str(id)), Some(Part::U64(started)), Some(Part::Str(source))) =
            (parts.pop(), parts.pop(), parts.pop())
        else {
            return Ok(None);
        };
        let (Some(Part::Str(region)), Some(Part::Str(account))) = (parts.pop(), parts.pop()) else { return Ok(None) };
        let (Ok(account), Ok(region)) = (account.parse(), region.parse()) else { return Ok(None) };
        Ok(Some(Self { place: Place { account, region }, source, started: Timestamp::from_millis(started), id }))
    }

    fn handle(&self, arn: &str) -> String {
        STANDARD.encode(json!({ "taskId": self.id, "sourceArn": arn }).to_string())
    }
}

fn rows(place: &Place, source: &str) -> Key {
    place.key(&MOVES).str(source)
}

impl Sqs {
    pub(crate) fn start_move(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &StartMessageMoveTaskRequest,
    ) -> Result<StartMessageMoveTaskResult, Error> {
        let source = by_arn(cx, tx, "sqs:StartMessageMoveTask", &input.source_arn, "SourceArn")?;
        if let Some(destination) = &input.destination_arn {
            let destination = by_arn(cx, tx, "sqs:SendMessage", destination, "DestinationArn")?;
            if destination.is_fifo() != source.is_fifo() {
                return Err(Error::unsupported_operation("Source and destination queue must be of the same type."));
            }
        }
        let per_second = match input.max_number_of_messages_per_second {
            None => None,
            Some(rate @ 1..=PER_SECOND_MAX) => Some(rate.unsigned_abs()),
            Some(rate) => {
                return Err(crate::error::invalid(
                    rate,
                    "MaxNumberOfMessagesPerSecond",
                    "Must be between 1 and 500, if provided.",
                ));
            }
        };
        let pointing = source.place.key(&SOURCES).str(&source.name.name).prefix();
        if tx.scan(&pointing, 1, Direction::Forward)?.is_empty() {
            return Err(Error::invalid_parameter_value_exception(
                "Source queue must be configured as a Dead Letter Queue.",
            ));
        }
        let all = MOVES.scan(tx, &rows(&source.place, &source.name.name).prefix(), KEPT_MAX + 1, Direction::Forward)?;
        if all.iter().any(|(_, task)| matches!(task.status, MoveStatus::Running | MoveStatus::Cancelling)) {
            return Err(Error::invalid_parameter_value_exception(
                "There is already a task running. Only one active task is allowed for a source queue arn at a given time.",
            ));
        }
        for (key, _) in all.iter().skip(KEPT_MAX - 1) {
            MOVES.remove(tx, key)?;
        }
        let counts = tables::counts(tx, &source.place, &source.queue.id)?;
        let task = Task {
            place: source.place.clone(),
            source: source.name.name.clone(),
            started: tx.now(),
            id: self.env.uuid(),
        };
        let record = Move {
            destination: input.destination_arn.clone(),
            per_second,
            status: MoveStatus::Running,
            moved: 0,
            to_move: counts.total.saturating_sub(counts.in_flight + counts.delayed),
            failure: None,
        };
        MOVES.put(tx, &task.key(), &record)?;
        MOVING.put(tx, &task.running(), &Mark {})?;
        tx.wake(&TRASH.global_key(None), 1)?;
        Ok(StartMessageMoveTaskResult { task_handle: Some(task.handle(&source.arn)) })
    }

    pub(crate) fn list_moves(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListMessageMoveTasksRequest,
    ) -> Result<ListMessageMoveTasksResult, Error> {
        let source = by_arn(cx, tx, "sqs:ListMessageMoveTasks", &input.source_arn, "SourceArn")?;
        let wanted = match input.max_results {
            None => 1,
            Some(wanted @ 1..=RESULTS_MAX) => wanted.unsigned_abs() as usize,
            Some(other) => {
                return Err(crate::error::invalid(other, "MaxResults", "Must be between 1 and 10, if provided."));
            }
        };
        let tasks = MOVES.scan(tx, &rows(&source.place, &source.name.name).prefix(), wanted, Direction::Forward)?;
        let results = tasks
            .into_iter()
            .map(|(key, record)| {
                let task = of_key(&source, &key)?;
                Ok(ListMessageMoveTasksResultEntry {
                    task_handle: (record.status == MoveStatus::Running).then(|| task.handle(&source.arn)),
                    status: Some(record.status.as_str().to_owned()),
                    source_arn: Some(source.arn.clone()),
                    destination_arn: record.destination,
                    max_number_of_messages_per_second: record
                        .per_second
                        .map(|rate| i32::try_from(rate).unwrap_or(i32::MAX)),
                    approximate_number_of_messages_moved: Some(signed(record.moved)),
                    approximate_number_of_messages_to_move: Some(signed(record.to_move)),
                    failure_reason: record.failure,
                    started_timestamp: Some(signed(task.started.as_millis())),
                })
            })
            .collect::<Result<Vec<_>, Error>>()?;
        Ok(ListMessageMoveTasksResult { results: (!results.is_empty()).then_some(results) })
    }

    pub(crate) fn cancel_move(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &CancelMessageMoveTaskRequest,
    ) -> Result<CancelMessageMoveTaskResult, Error> {
        let wrong = || Error::invalid_parameter_value_exception("Value for parameter TaskHandle is invalid.");
        let decoded = STANDARD.decode(&input.task_handle).map_err(|_| wrong())?;
        let named: Value = serde_json::from_slice(&decoded).map_err(|_| wrong())?;
        let text = |name: &str| named.get(name).and_then(Value::as_str).ok_or_else(wrong);
        let (id, arn) = (text("taskId")?, text("sourceArn")?);
        let source = by_arn(cx, tx, "sqs:CancelMessageMoveTask", arn, "SourceArn")?;
        let tasks =
            MOVES.scan(tx, &rows(&source.place, &source.name.name).prefix(), KEPT_MAX + 1, Direction::Forward)?;
        let found = tasks.into_iter().find(|(key, _)| key.last_str().is_ok_and(|last| last == id));
        let Some((key, mut record)) = found else {
            return Err(Error::resource_not_found_exception("Task does not exist."));
        };
        if record.status != MoveStatus::Running {
            return Err(Error::invalid_parameter_value_exception("Only active tasks can be cancelled."));
        }
        // The one who moves does it in transactions: between two of them it sees this and ends.
        record.status = MoveStatus::Cancelling;
        MOVES.put(tx, &key, &record)?;
        tx.wake(&TRASH.global_key(None), 1)?;
        Ok(CancelMessageMoveTaskResult { approximate_number_of_messages_moved: Some(signed(record.moved)) })
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn of_key(source: &Found, key: &Key) -> Result<Task, Error> {
    let mut parts = key.parts().map_err(base_types::Fault::from)?;
    match (parts.pop(), parts.pop()) {
        (Some(Part::Str(id)), Some(Part::U64(descending))) => Ok(Task {
            place: source.place.clone(),
            source: source.name.name.clone(),
            started: Timestamp::from_millis(!descending),
            id,
        }),
        _ => Err(base_types::Fault::from(store_api::DamagedKey).into()),
    }
}

fn by_arn(cx: &Cx, tx: &Tx, action: &str, arn: &str, parameter: &str) -> Result<Found, Error> {
    let missing = || {
        Error::resource_not_found_exception(format!(
            "The resource that you specified for the {parameter} parameter doesn't exist."
        ))
    };
    let name: QueueName = names::of_arn(cx, arn).ok_or_else(missing)?;
    find_named(cx, tx, action, name)
        .map_err(|error| if matches!(error, Error::QueueDoesNotExist(_)) { missing() } else { error })
}
