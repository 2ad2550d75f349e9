//! Receiving, with long polling.

use std::{collections::BTreeMap, time::Duration};

use model_sqs::{Error, Message, ReceiveMessageRequest, ReceiveMessageResult};
use services_kernel::Cx;
use store_api::Tx;

use super::{find, send::sequence};
use crate::{
    IN_FLIGHT_MAX, Sqs,
    error::invalid,
    fifo,
    flow::{Catch, Found, Taken},
    handle::Handle,
    message,
    tables::{self, Place},
};

/// What a receiver may ask of a message.
const SYSTEM_NAMES: [&str; 9] = [
    "All",
    "SenderId",
    "SentTimestamp",
    "ApproximateReceiveCount",
    "ApproximateFirstReceiveTimestamp",
    "SequenceNumber",
    "MessageDeduplicationId",
    "MessageGroupId",
    "AWSTraceHeader",
];
/// Since AWS added it to the ones above.
const SOURCE_NAME: &str = "DeadLetterQueueSourceArn";

/// A checked request.
#[derive(Clone)]
struct Ask {
    url: String,
    wanted: usize,
    visibility: Option<u32>,
    wait: Option<u32>,
    attempt: Option<String>,
    system: Vec<String>,
    attributes: Vec<String>,
}

/// One look into the queue.
struct Look {
    found: Found,
    catch: Catch,
}

impl Sqs {
    pub(crate) async fn receive(&self, cx: &Cx, input: ReceiveMessageRequest) -> Result<ReceiveMessageResult, Error> {
        let ask = check(input)?;
        let begun = self.env.monotonic();
        let topic = {
            let name = crate::names::of_url(cx, &ask.url)?;
            Place::of(&name, &cx.region).queue(&name.name)
        };
        let mut ending = self.ending.subscribe();
        loop {
            // Subscribe before looking: a message that comes in between must not be missed.
            let waiter = self.store.waiter(&topic);
            let (asking, cx) = (ask.clone(), cx.clone());
            let look = self.store.transact(move |tx| look(&cx, tx, &asking)).await?;
            let wait = Duration::from_secs(ask.wait.unwrap_or(look.found.queue.attributes.wait).into());
            if look.catch.taken.is_empty() && look.catch.more && !*ending.borrow() {
                continue;
            }
            let left = wait.saturating_sub(self.env.monotonic().since(begun));
            if !look.catch.taken.is_empty() || left.is_zero() || *ending.borrow() {
                let messages: Vec<Message> =
                    look.catch.taken.iter().map(|taken| ask.show(&look.found, taken)).collect();
                return Ok(ReceiveMessageResult { messages: (!messages.is_empty()).then_some(messages) });
            }
            let due = look.catch.next_due.map_or(left, |due| due.since(self.env.now()).min(left));
            tokio::select! {
                () = waiter.wait() => {}
                _ = ending.changed() => {}
                // A due time is in whole milliseconds: never look before it.
                () = self.env.sleep(due.max(Duration::from_millis(1))) => {}
            }
        }
    }
}

fn look(cx: &Cx, tx: &Tx, ask: &Ask) -> Result<Look, Error> {
    let found = find(cx, tx, "sqs:ReceiveMessage", &ask.url)?;
    if let Some(attempt) = &ask.attempt
        && !found.is_fifo()
    {
        return Err(crate::error::not_for_this_type(attempt, "ReceiveRequestAttemptId"));
    }
    let seconds = ask.visibility.unwrap_or(found.queue.attributes.visibility);
    if let Some(attempt) = &ask.attempt
        && let Some(catch) = fifo::repeat(&found, tx, attempt, seconds)?
    {
        return Ok(Look { found, catch });
    }
    if tables::counts(tx, &found.place, &found.queue.id)?.in_flight >= IN_FLIGHT_MAX {
        // What could be seen again is in flight no more.
        found.surface(tx)?;
        if tables::counts(tx, &found.place, &found.queue.id)?.in_flight >= IN_FLIGHT_MAX {
            return if found.is_fifo() {
                Ok(Look { found, catch: Catch::default() })
            } else {
                Err(Error::over_limit(format!("Too many messages are in flight: a queue may have {IN_FLIGHT_MAX}.")))
            };
        }
    }
    let catch = found.take(cx, tx, ask.wanted, seconds)?;
    if let Some(attempt) = ask.attempt.as_ref().filter(|_| !catch.taken.is_empty()) {
        fifo::remember_attempt(&found, tx, attempt, &catch.taken)?;
    }
    Ok(Look { found, catch })
}

fn check(input: ReceiveMessageRequest) -> Result<Ask, Error> {
    let wanted = match input.max_number_of_messages {
        None => 1,
        Some(wanted @ 1..=10) => wanted.unsigned_abs() as usize,
        Some(other) => {
            return Err(invalid(other, "MaxNumberOfMessages", "Must be between 1 and 10, if provided."));
        }
    };
    let visibility = match input.visibility_timeout {
        None => None,
        Some(seconds @ 0..=43_200) => Some(seconds.unsigned_abs()),
        Some(other) => {
            return Err(invalid(other, "VisibilityTimeout", "Must be >= 0 and <= 43200, if provided."));
        }
    };
    let wait = match input.wait_time_seconds {
        None => None,
        Some(seconds @ 0..=20) => Some(seconds.unsigned_abs()),
        Some(other) => return Err(invalid(other, "WaitTimeSeconds", "Must be >= 0 and <= 20, if provided.")),
    };
    if let Some(attempt) = &input.receive_request_attempt_id
        && !((1..=128).contains(&attempt.len()) && attempt.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        return Err(invalid(
            attempt,
            "ReceiveRequestAttemptId",
            "ReceiveRequestAttemptId can only include alphanumeric and punctuation characters. 1 to 128 in length.",
        ));
    }
    let system: Vec<String> =
        [input.attribute_names, input.message_system_attribute_names].into_iter().flatten().flatten().collect();
    if let Some(other) = system.iter().find(|name| !SYSTEM_NAMES.contains(&name.as_str()) && *name != SOURCE_NAME) {
        return Err(Error::invalid_attribute_name(format!("Unknown Attribute {other}.")));
    }
    Ok(Ask {
        url: input.queue_url,
        wanted,
        visibility,
        wait,
        attempt: input.receive_request_attempt_id,
        system,
        attributes: input.message_attribute_names.unwrap_or_default(),
    })
}

impl Ask {
    fn show(&self, found: &Found, taken: &Taken) -> Message {
        let Taken { number, record, body } = taken;
        let chosen: BTreeMap<String, message::Attribute> =
            body.attributes.iter().filter(|(name, _)| self.wants(name)).map(|(n, a)| (n.clone(), a.clone())).collect();
        let handle = Handle { queue: found.queue.id, number: *number, receive: record.receives };
        Message {
            message_id: Some(body.message_id.clone()),
            receipt_handle: Some(handle.seal(&found.arn)),
            md5_of_body: Some(message::digest(&body.text)),
            md5_of_message_attributes: message::digest_of(&chosen),
            body: Some(body.text.clone()),
            attributes: self.system(found, taken),
            message_attributes: (!chosen.is_empty())
                .then(|| chosen.iter().map(|(name, attribute)| (name.clone(), attribute.to_wire())).collect()),
        }
    }

    /// Whether a message attribute is asked for: `All`, `.*`, its name, or `prefix.*`.
    fn wants(&self, name: &str) -> bool {
        self.attributes.iter().any(|asked| match asked.as_str() {
            "All" | ".*" => true,
            asked => asked.strip_suffix(".*").map_or(asked == name, |prefix| name.starts_with(prefix)),
        })
    }

    fn system(&self, found: &Found, taken: &Taken) -> Option<BTreeMap<String, String>> {
        let Taken { number, record, body } = taken;
        let millis = |at: base_types::Timestamp| at.as_millis().to_string();
        let fifo = found.is_fifo();
        let all = [
            ("SenderId", Some(body.sender.clone())),
            ("SentTimestamp", Some(millis(body.sent))),
            ("ApproximateReceiveCount", Some(record.receives.to_string())),
            ("ApproximateFirstReceiveTimestamp", record.first_received.map(millis)),
            ("SequenceNumber", fifo.then(|| sequence(*number))),
            ("MessageDeduplicationId", body.deduplication.clone()),
            ("MessageGroupId", body.group.clone()),
            ("AWSTraceHeader", body.trace.clone()),
            (SOURCE_NAME, body.source.clone()),
        ];
        let asked = |name: &str| self.system.iter().any(|asked| asked == "All" || asked == name);
        let shown: BTreeMap<String, String> = all
            .into_iter()
            .filter(|(name, _)| asked(name))
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect();
        (!shown.is_empty()).then_some(shown)
    }
}
