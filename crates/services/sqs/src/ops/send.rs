//! Sending.

use model_sqs::{
    Error, SendMessageBatchRequest, SendMessageBatchRequestEntry, SendMessageBatchResult, SendMessageBatchResultEntry,
    SendMessageRequest, SendMessageResult,
};
use services_kernel::{Cx, Principal};
use store_api::Tx;
use wire_schema::ServiceError as _;

use super::{batch, find};
use crate::{
    MESSAGE_BYTES_MAX, Sqs,
    attributes::Fifo,
    error::{invalid, missing, not_for_this_type},
    fifo,
    flow::Found,
    message::{self, Body, Given},
    tables::{Numbers, Record},
};

/// Characters of group and deduplication ids.
const ID_CHARS_MAX: usize = 128;
const DELAY_MAX: i32 = 900;

/// What was sent.
pub(crate) struct Receipt {
    message_id: String,
    number: Option<u64>,
    body: String,
    attributes: Option<String>,
    system: Option<String>,
}

impl Sqs {
    pub(crate) fn send(&self, cx: &Cx, tx: &Tx, input: &SendMessageRequest) -> Result<SendMessageResult, Error> {
        let found = find(cx, tx, "sqs:SendMessage", &input.queue_url)?;
        let given = Given {
            text: &input.message_body,
            attributes: input.message_attributes.as_ref(),
            system: input.message_system_attributes.as_ref(),
            group: input.message_group_id.as_deref(),
            deduplication: input.message_deduplication_id.as_deref(),
            delay: input.delay_seconds,
        };
        let sent = self.send_one(cx, tx, &found, &mut Numbers::default(), given)?;
        Ok(SendMessageResult {
            md5_of_message_body: Some(sent.body),
            md5_of_message_attributes: sent.attributes,
            md5_of_message_system_attributes: sent.system,
            message_id: Some(sent.message_id),
            sequence_number: sent.number.map(sequence),
        })
    }

    pub(crate) fn send_batch(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &SendMessageBatchRequest,
    ) -> Result<SendMessageBatchResult, Error> {
        let found = find(cx, tx, "sqs:SendMessage", &input.queue_url)?;
        batch::check(input.entries.iter().map(|entry| entry.id.as_str()), "SendMessageBatchRequestEntry")?;
        let bytes: usize = input.entries.iter().map(|entry| given(entry).bytes()).sum();
        if bytes > MESSAGE_BYTES_MAX {
            return Err(Error::batch_request_too_long(format!(
                "Batch requests cannot be longer than {MESSAGE_BYTES_MAX} bytes. You have sent {bytes} bytes."
            )));
        }
        if let Some(fifo) = found.queue.attributes.fifo {
            // What a FIFO queue asks of each entry fails the whole request on AWS, and not with the single one's code.
            for entry in &input.entries {
                if let Err(error) = deduplication(Some(fifo), given(entry)) {
                    return Err(Error::invalid_parameter_value_exception(error.message()));
                }
            }
        }
        let mut numbers = Numbers::default();
        let outcomes = input.entries.iter().map(|entry| {
            let outcome =
                self.send_one(cx, tx, &found, &mut numbers, given(entry)).map(|sent| SendMessageBatchResultEntry {
                    id: entry.id.clone(),
                    message_id: sent.message_id,
                    md5_of_message_body: sent.body,
                    md5_of_message_attributes: sent.attributes,
                    md5_of_message_system_attributes: sent.system,
                    sequence_number: sent.number.map(sequence),
                });
            (entry.id.clone(), outcome)
        });
        let (successful, failed) = batch::sort(outcomes)?;
        Ok(SendMessageBatchResult { successful, failed })
    }

    /// Checks everything before it writes anything: an entry of a batch that fails leaves nothing behind.
    pub(crate) fn send_one(
        &self,
        cx: &Cx,
        tx: &Tx,
        found: &Found,
        numbers: &mut Numbers,
        given: Given<'_>,
    ) -> Result<Receipt, Error> {
        let settings = &found.queue.attributes;
        message::check_text(given.text)?;
        let most = settings.message_bytes_max;
        if given.bytes() > usize::try_from(most).unwrap_or(MESSAGE_BYTES_MAX) {
            return Err(Error::invalid_parameter_value_exception(format!(
                "One or more parameters are invalid. Reason: Message must be shorter than {most} bytes."
            )));
        }
        let attributes = message::attributes(given.attributes)?;
        let trace = message::trace(given.system)?;
        check_id("MessageGroupId", given.group)?;
        check_id("MessageDeduplicationId", given.deduplication)?;
        let delay = delay(given.delay, settings.fifo, settings.delay)?;
        let deduplication = deduplication(settings.fifo, given)?;
        let receipt = |message_id: &str, number: u64| Receipt {
            message_id: message_id.to_owned(),
            number: settings.fifo.is_some().then_some(number),
            body: message::digest(given.text),
            attributes: message::digest_of(&attributes),
            system: message::digest_of_trace(trace.as_deref()),
        };
        let group = given.group.unwrap_or_default();
        if let Some(id) = &deduplication
            && let Some(earlier) = fifo::sent(found, tx, group, id)?
        {
            return Ok(receipt(&earlier.message_id, earlier.number));
        }
        let body = Body {
            message_id: self.env.uuid(),
            text: given.text.to_owned(),
            attributes: attributes.clone(),
            sender: sender(cx),
            trace: trace
                .clone()
                // A function's own message carries on the chain that the function belongs to.
                .or_else(|| {
                    let follows = cx.source.is_some() || cx.hops > 0;
                    cx.trace.as_ref().filter(|_| follows).map(|trace| trace.to_string())
                }),
            group: given.group.map(str::to_owned),
            deduplication: deduplication.clone(),
            source: None,
            sent: tx.now(),
            filed: false,
        };
        let message_id = body.message_id.clone();
        let number = found.arrive(tx, numbers, body, Record::default(), delay)?;
        if let Some(id) = &deduplication {
            fifo::remember(found, tx, group, id, number, &message_id)?;
        }
        Ok(receipt(&message_id, number))
    }
}

fn given(entry: &SendMessageBatchRequestEntry) -> Given<'_> {
    Given {
        text: &entry.message_body,
        attributes: entry.message_attributes.as_ref(),
        system: entry.message_system_attributes.as_ref(),
        group: entry.message_group_id.as_deref(),
        deduplication: entry.message_deduplication_id.as_deref(),
        delay: entry.delay_seconds,
    }
}

/// The delay of a message, in seconds. FIFO queues delay all messages alike.
fn delay(given: Option<i32>, fifo: Option<Fifo>, queue: u32) -> Result<u32, Error> {
    match given {
        None => Ok(queue),
        // AWS takes a zero for a FIFO queue, too.
        Some(0) if fifo.is_some() => Ok(queue),
        Some(delay) if fifo.is_some() => Err(not_for_this_type(delay, "DelaySeconds")),
        Some(delay) if (0..=DELAY_MAX).contains(&delay) => Ok(delay.unsigned_abs()),
        Some(delay) => Err(invalid(delay, "DelaySeconds", "DelaySeconds must be >= 0 and <= 900.")),
    }
}

/// The deduplication id of a message to a FIFO queue.
fn deduplication(fifo: Option<Fifo>, given: Given<'_>) -> Result<Option<String>, Error> {
    let Some(fifo) = fifo else {
        return match given.deduplication {
            Some(id) => Err(not_for_this_type(id, "MessageDeduplicationId")),
            None => Ok(None),
        };
    };
    if given.group.is_none() {
        return Err(missing("MessageGroupId"));
    }
    if given.deduplication.is_none() && !fifo.content_based {
        return Err(Error::invalid_parameter_value_exception(
            "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
        ));
    }
    Ok(Some(fifo::deduplication_id(given.deduplication, given.text)))
}

fn check_id(name: &str, id: Option<&str>) -> Result<(), Error> {
    let Some(id) = id else { return Ok(()) };
    if (1..=ID_CHARS_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(invalid(
        id,
        name,
        &format!("{name} can only include alphanumeric and punctuation characters. 1 to {ID_CHARS_MAX} in length."),
    ))
}

/// What a message says of its sender: the unique id of a session, or the account.
fn sender(cx: &Cx) -> String {
    match &*cx.principal {
        Principal::AssumedRole { role, session, .. } => format!("{role}:{session}"),
        Principal::Service { account, .. } | Principal::Root { account } => account.to_string(),
        Principal::Anonymous => "anonymous".to_owned(),
    }
}

/// A sequence number as AWS writes it: twenty digits.
pub(crate) fn sequence(number: u64) -> String {
    format!("{:020}", u128::from(number) + 18_849_496_460_467_696_128)
}
