//! Publishing.
//!
//! A signature takes a processor for a good part of a millisecond: what will have to be signed is found out and signed before the
//! transaction that publishes, which then only has to look it up.

use std::{collections::BTreeSet, sync::Arc};

use base_types::{Fault, Timestamp};
use model_sns::{
    BatchResultErrorEntry, Error, PublishBatchInput, PublishBatchRequestEntry, PublishBatchResponse,
    PublishBatchResultEntry, PublishInput, PublishResponse,
};
use services_kernel::Cx;
use sha2::{Digest, Sha256};
use store_api::Tx;
use wire_schema::ServiceError;

use super::{find, sms};
use crate::{
    Sns,
    error::{invalid, invalid_because, not_served},
    fanout::Budget,
    message::{Checked, Given, MESSAGE_BYTES_MAX, Message, check_id},
    names::{self, TopicName},
    tables::{self, FORGET, Found, Letter, Mark, SENT, Sent},
};

const ENTRIES_MAX: usize = 10;
const ENTRY_ID_CHARS_MAX: usize = 80;
/// How long a deduplication id is remembered (AWS: five minutes).
const REMEMBERED_MILLIS: u64 = 300_000;
/// What a FIFO topic's sequence numbers are counted from.
const SEQUENCE_BASE: u64 = 10_000_000_000_000_000_000;
const DEFAULT_SIGNATURE_VERSION: u8 = 1;

/// A message before it is known what the topic makes of it.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) checked: Checked,
    pub(crate) id: String,
    pub(crate) at: Timestamp,
}

/// What was published.
#[derive(Clone, Debug)]
pub(crate) struct Receipt {
    pub(crate) message_id: String,
    pub(crate) sequence: Option<String>,
}

impl Draft {
    fn message(&self, cx: &Cx, found: &Found) -> Message {
        let Checked { text, by_protocol, subject, attributes, group, deduplication, .. } = self.checked.clone();
        Message {
            id: self.id.clone(),
            topic_arn: found.arn.clone(),
            text,
            by_protocol,
            subject,
            attributes,
            group,
            deduplication,
            sequence: None,
            at: self.at,
            trace: cx.trace.as_ref().map(|trace| trace.to_string()),
            // A request from inside does not say where subscribers find us.
            endpoint: if cx.source.is_none() { cx.endpoint.to_string() } else { found.topic.endpoint.clone() },
            signature_version: found.topic.attributes.signature_version.unwrap_or(DEFAULT_SIGNATURE_VERSION),
            request_id: cx.request_id.to_string(),
        }
    }
}

impl Sns {
    pub(crate) async fn publish_message(&self, cx: &Cx, input: PublishInput) -> Result<PublishResponse, Error> {
        if let Some(number) = &input.phone_number {
            return self.text_to(cx, number, &input).await;
        }
        let (arn, parameter) = match (&input.topic_arn, &input.target_arn) {
            (Some(arn), _) => (arn, "TopicArn"),
            (None, Some(arn)) => (arn, "TargetArn"),
            (None, None) => {
                return Err(invalid_because("TopicArn or TargetArn", "no value for required parameter"));
            }
        };
        if arn.contains(":endpoint/") {
            return Err(not_served("platform endpoints (mobile push) as targets of Publish"));
        }
        let name = names::topic(cx, arn, parameter)?;
        let draft = self.draft(&Given {
            text: &input.message,
            subject: input.subject.as_deref(),
            structure: input.message_structure.as_deref(),
            attributes: input.message_attributes.as_ref(),
            group: input.message_group_id.as_deref(),
            deduplication: input.message_deduplication_id.as_deref(),
        })?;
        let drafts = Arc::new(vec![draft]);
        self.sign_ahead(cx, &name, &drafts).await?;
        let (sns, cx) = (self.clone(), cx.clone());
        let receipt = self
            .store
            .transact(move |tx| {
                let found = find(&cx, tx, "SNS:Publish", name.clone())?;
                let draft = drafts.first().ok_or_else(|| invalid("Empty message"))?;
                sns.publish_one(&cx, tx, &found, draft, &mut Budget::new())
            })
            .await?;
        Ok(PublishResponse { message_id: Some(receipt.message_id), sequence_number: receipt.sequence })
    }

    pub(crate) async fn publish_some(&self, cx: &Cx, input: PublishBatchInput) -> Result<PublishBatchResponse, Error> {
        let name = names::topic(cx, &input.topic_arn, "TopicArn")?;
        let entries = input.publish_batch_request_entries;
        check_batch(&entries)?;
        let mut checked = Vec::with_capacity(entries.len());
        for entry in &entries {
            checked.push(self.draft(&given(entry)));
        }
        // A structured message that is none is the whole batch's fault, as on AWS.
        let whole = entries.iter().zip(&checked).position(|(entry, draft)| {
            let structured = entry.message_structure.as_deref() == Some("json");
            draft.as_ref().err().is_some_and(|error| error.fault().is_some() || structured)
        });
        if let Some(index) = whole
            && let Err(error) = checked.swap_remove(index)
        {
            return Err(error);
        }
        let bytes: usize = checked.iter().flatten().map(|draft| draft.checked.bytes).sum();
        if bytes > MESSAGE_BYTES_MAX {
            return Err(Error::batch_request_too_long_exception(
                "The length of all the batch messages put together is more than the limit.",
            ));
        }
        let drafts: Arc<Vec<Draft>> = Arc::new(checked.iter().flatten().cloned().collect());
        self.sign_ahead(cx, &name, &drafts).await?;
        let (sns, cx) = (self.clone(), cx.clone());
        let receipts = self
            .store
            .transact(move |tx| {
                let found = find(&cx, tx, "SNS:Publish", name.clone())?;
                for draft in drafts.iter() {
                    check_for(&found, &draft.checked)?;
                }
                let mut budget = Budget::new();
                drafts
                    .iter()
                    .map(|draft| sns.publish_one(&cx, tx, &found, draft, &mut budget))
                    .collect::<Result<Vec<Receipt>, Error>>()
            })
            .await?;
        let (mut successful, mut failed) = (Vec::new(), Vec::new());
        let mut receipts = receipts.into_iter();
        for (entry, draft) in entries.into_iter().zip(checked) {
            match draft {
                Ok(_) => {
                    let Some(Receipt { message_id, sequence }) = receipts.next() else { continue };
                    successful.push(PublishBatchResultEntry {
                        id: Some(entry.id),
                        message_id: Some(message_id),
                        sequence_number: sequence,
                    });
                }
                Err(error) => failed.push(BatchResultErrorEntry {
                    id: entry.id,
                    code: error.schema().code.to_owned(),
                    message: Some(error.message().to_owned()),
                    sender_fault: true,
                }),
            }
        }
        Ok(PublishBatchResponse { successful: Some(successful), failed: Some(failed) })
    }

    fn draft(&self, given: &Given<'_>) -> Result<Draft, Error> {
        check_id("MessageGroupId", given.group)?;
        check_id("MessageDeduplicationId", given.deduplication)?;
        Ok(Draft { checked: given.check()?, id: self.env.uuid(), at: self.env.now() })
    }

    /// Makes the signatures that the transaction will need, as far as can be known before it.
    async fn sign_ahead(&self, cx: &Cx, name: &TopicName, drafts: &Arc<Vec<Draft>>) -> Result<(), Fault> {
        let (sns, name) = (self.clone(), name.clone());
        let seen = self
            .store
            .view(move |tx| {
                let Some(found) = Found::load(tx, name.clone())?.filter(|found| !found.is_fifo()) else {
                    return Ok::<_, Fault>(None);
                };
                // Compiles the subscriptions here, where nobody waits behind it.
                Ok(match sns.members(tx, &found)? {
                    Some(members) if !members.signed().is_empty() => Some((found, members)),
                    _ => None,
                })
            })
            .await?;
        let Some((found, members)) = seen else { return Ok(()) };
        let signer = self.signer().await?;
        let (cx, drafts) = (cx.clone(), Arc::clone(drafts));
        let signed = tokio::task::spawn_blocking(move || {
            for draft in drafts.iter() {
                let message = draft.message(&cx, &found);
                for protocol in members.signed() {
                    signer.sign(message.signature_version, &message.signed_text(protocol), &message.endpoint)?;
                }
            }
            Ok(())
        });
        signed.await.map_err(|error| Fault::internal("signing was cut off", error))?
    }

    /// Publishes within a transaction. Checks everything before it writes anything.
    pub(crate) fn publish_one(
        &self,
        cx: &Cx,
        tx: &Tx,
        found: &Found,
        draft: &Draft,
        budget: &mut Budget,
    ) -> Result<Receipt, Error> {
        check_for(found, &draft.checked)?;
        let mut message = draft.message(cx, found);
        if let Some(fifo) = found.topic.attributes.fifo {
            let deduplication = match &draft.checked.deduplication {
                Some(id) => id.clone(),
                None => Sha256::digest(&draft.checked.text).iter().map(|byte| format!("{byte:02x}")).collect(),
            };
            let by_group = fifo.by_group == Some(true);
            let scope = message.group.as_deref().filter(|_| by_group).unwrap_or_default();
            let place = found.name.sent(&found.topic.id, scope, &deduplication);
            if let Some(sent) = SENT.get(tx, &place)?.filter(|sent| sent.until > tx.now()) {
                return Ok(Receipt { message_id: sent.message_id, sequence: Some(sent.sequence) });
            }
            let number = found.name.next_sequence(tx, &found.topic.id)?;
            let sequence = SEQUENCE_BASE.saturating_add(number).to_string();
            let until = Timestamp::from_millis(tx.now().as_millis() + REMEMBERED_MILLIS);
            SENT.put(tx, &place, &Sent { message_id: message.id.clone(), sequence: sequence.clone(), until })?;
            FORGET.put(tx, &FORGET.global_key(None).time(until).bytes(place.as_bytes()), &Mark {})?;
            message.deduplication = Some(deduplication);
            message.sequence = Some(sequence);
        }
        self.spread(tx, found, &message, budget)?;
        Ok(Receipt { message_id: message.id, sequence: message.sequence })
    }

    /// A message to a telephone: kept, not sent.
    async fn text_to(&self, cx: &Cx, number: &str, input: &PublishInput) -> Result<PublishResponse, Error> {
        if input.topic_arn.is_some() || input.target_arn.is_some() {
            return Err(invalid_because("TopicArn, TargetArn, PhoneNumber", "only one of them may be given"));
        }
        if !number.starts_with('+') || !sms::is_number(number) {
            return Err(invalid_because("PhoneNumber", format_args!("{number} is not valid to publish to")));
        }
        if input.message.is_empty() {
            return Err(invalid("Empty message"));
        }
        let id = self.env.uuid();
        let letter = Letter {
            at: self.env.now(),
            protocol: "sms".to_owned(),
            to: number.to_owned(),
            subject: None,
            text: input.message.clone(),
            topic_arn: None,
        };
        cx.headers.add("x-pileus-not-sent", "sms; kept in the outbox");
        let (cx, kept) = (cx.clone(), id.clone());
        self.store
            .transact(move |tx| {
                cx.authorize::<Error>(tx, "SNS:Publish", &cx.arn("sns", "*"))?;
                Ok::<_, Error>(tables::put_letter(tx, cx.account, &cx.region, &kept, &letter)?)
            })
            .await?;
        Ok(PublishResponse { message_id: Some(id), sequence_number: None })
    }
}

fn given(entry: &PublishBatchRequestEntry) -> Given<'_> {
    Given {
        text: &entry.message,
        subject: entry.subject.as_deref(),
        structure: entry.message_structure.as_deref(),
        attributes: entry.message_attributes.as_ref(),
        group: entry.message_group_id.as_deref(),
        deduplication: entry.message_deduplication_id.as_deref(),
    }
}

/// What a topic of this type must and must not get.
fn check_for(found: &Found, checked: &Checked) -> Result<(), Error> {
    let Some(fifo) = found.topic.attributes.fifo else {
        return match checked.deduplication {
            Some(_) => Err(invalid_because(
                "MessageDeduplicationId",
                "The request includes MessageDeduplicationId parameter that is not valid for this topic type",
            )),
            None => Ok(()),
        };
    };
    if checked.group.is_none() {
        return Err(invalid("The MessageGroupId parameter is required for FIFO topics"));
    }
    if checked.deduplication.is_none() && !fifo.content_based {
        return Err(invalid(
            "The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
        ));
    }
    Ok(())
}

/// Checks the ids of a batch.
fn check_batch(entries: &[PublishBatchRequestEntry]) -> Result<(), Error> {
    if entries.is_empty() {
        return Err(Error::empty_batch_request_exception("The batch request doesn't contain any entries."));
    }
    if entries.len() > ENTRIES_MAX {
        return Err(Error::too_many_entries_in_batch_request_exception(
            "The batch request contains more entries than permissible.",
        ));
    }
    let mut seen = BTreeSet::new();
    for PublishBatchRequestEntry { id, .. } in entries {
        if id.chars().count() > ENTRY_ID_CHARS_MAX {
            return Err(Error::invalid_batch_entry_id_exception(format!(
                "The Id of a batch entry in the batch request is too long: {id}"
            )));
        }
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if id.is_empty() || !id.bytes().all(good) {
            return Err(Error::invalid_batch_entry_id_exception(format!(
                "The Id of a batch entry in the batch request contains an impermissible character: {id}"
            )));
        }
        if !seen.insert(id) {
            return Err(Error::batch_entry_ids_not_distinct_exception(
                "Two or more batch entries in the request have the same Id.",
            ));
        }
    }
    Ok(())
}
