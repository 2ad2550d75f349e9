//! Queues: create, delete, purge, list, attributes.

use std::{collections::BTreeMap, time::Duration};

use model_sqs::{
    CreateQueueRequest, CreateQueueResult, DeleteQueueRequest, Error, GetQueueAttributesRequest,
    GetQueueAttributesResult, GetQueueUrlRequest, GetQueueUrlResult, ListDeadLetterSourceQueuesRequest,
    ListDeadLetterSourceQueuesResult, ListQueuesRequest, ListQueuesResult, PurgeQueueRequest,
    SetQueueAttributesRequest,
};
use services_kernel::{Cx, Tags};
use store_api::{Direction, Tx};

use super::{find, find_named, tags};
use crate::{
    Sqs,
    attributes::{Attributes, NAMES, unknown},
    error::{invalid, missing},
    flow::Found,
    names::{self, QueueName},
    tables::{self, DELETED, DUE, HIDDEN, Id, Mark, Moment, Place, QUEUES, Queue, SOURCES, TRASH, Trash, due_of},
};

/// How long a name rests after its queue was deleted, and a queue after a purge (AWS: 60 seconds).
const REST: Duration = Duration::from_secs(60);
const PAGE_MAX: usize = 1000;
/// Hidden messages that could be seen again, counted at most for one answer.
const COUNTED_MAX: usize = 10_000;

impl Sqs {
    pub(crate) fn create(&self, cx: &Cx, tx: &Tx, input: &CreateQueueRequest) -> Result<CreateQueueResult, Error> {
        let given = input.attributes.clone().unwrap_or_default();
        let fifo = match given.get("FifoQueue").map(String::as_str) {
            Some("true") => true,
            // AWS takes no other value: a standard queue is one that does not say it.
            Some(_) => return Err(unknown("FifoQueue")),
            None => false,
        };
        names::check(&input.queue_name, fifo)?;
        let name = QueueName::own(cx, &input.queue_name);
        let (arn, place) = (name.arn(cx), Place::of(&name, &cx.region));
        cx.authorize::<Error>(tx, "sqs:CreateQueue", &arn)?;
        let mut attributes = Attributes::new(fifo);
        attributes.set(cx, &given, true)?;
        if let Some(there) = Found::load(cx, tx, name.clone())? {
            let (old, new) = (there.queue.attributes.show(), attributes.show());
            let differs = given.keys().find(|key| old.get(key.as_str()) != new.get(key.as_str()));
            return match differs {
                None => Ok(CreateQueueResult { queue_url: Some(self.urls.url(cx, &name)) }),
                Some(attribute) => Err(Error::queue_name_exists(format!(
                    "A queue already exists with the same name and a different value for attribute {attribute}"
                ))),
            };
        }
        let deleted = place.key(&DELETED).str(&name.name);
        if let Some(gone) = DELETED.get(tx, &deleted)? {
            if gone.at + REST > tx.now() {
                return Err(Error::queue_deleted_recently(
                    "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
                ));
            }
            DELETED.remove(tx, &deleted)?;
        }
        let (created, text) = (tx.now(), arn.to_string());
        let queue = Queue { id: self.new_id(), created, modified: created, purged: None, attributes };
        point(cx, tx, &place, &text, None, &queue.attributes)?;
        QUEUES.put(tx, &place.queue(&name.name), &queue)?;
        tags::put(tx, cx, &text, &name.name, input.tags.iter().flatten())?;
        Ok(CreateQueueResult { queue_url: Some(self.urls.url(cx, &name)) })
    }

    pub(crate) fn delete(&self, cx: &Cx, tx: &Tx, input: &DeleteQueueRequest) -> Result<(), Error> {
        let found = find(cx, tx, "sqs:DeleteQueue", &input.queue_url)?;
        discard(tx, &found, &found.queue.id)?;
        unpoint(cx, tx, &found.place, &found.arn, &found.queue.attributes)?;
        QUEUES.remove(tx, &found.place.queue(&found.name.name))?;
        DELETED.put(tx, &found.place.key(&DELETED).str(&found.name.name), &Moment { at: tx.now() })?;
        Tags::clear(tx, cx, &found.arn)?;
        // Who waits for a message learns that there will be none.
        Ok(tx.wake(&found.topic(), usize::MAX)?)
    }

    pub(crate) fn purge(&self, cx: &Cx, tx: &Tx, input: &PurgeQueueRequest) -> Result<(), Error> {
        let found = find(cx, tx, "sqs:PurgeQueue", &input.queue_url)?;
        if found.queue.purged.is_some_and(|purged| purged + REST > tx.now()) {
            return Err(Error::purge_queue_in_progress(format!(
                "Only one PurgeQueue operation on {} is allowed every 60 seconds.",
                found.name.name
            )));
        }
        discard(tx, &found, &found.queue.id)?;
        let purged = Queue { id: self.new_id(), purged: Some(tx.now()), ..found.queue };
        Ok(QUEUES.put(tx, &found.place.queue(&found.name.name), &purged)?)
    }

    pub(crate) fn url(&self, cx: &Cx, tx: &Tx, input: &GetQueueUrlRequest) -> Result<GetQueueUrlResult, Error> {
        let mut name = QueueName::own(cx, &input.queue_name);
        if let Some(owner) = input.queue_owner_aws_account_id.as_deref().filter(|owner| !owner.is_empty()) {
            name.account =
                owner.parse().map_err(|_| invalid(owner, "QueueOwnerAWSAccountId", "Must be an account id."))?;
        }
        let found = find_named(cx, tx, "sqs:GetQueueUrl", name)?;
        Ok(GetQueueUrlResult { queue_url: Some(self.urls.url(cx, &found.name)) })
    }

    pub(crate) fn list(&self, cx: &Cx, tx: &Tx, input: &ListQueuesRequest) -> Result<ListQueuesResult, Error> {
        cx.authorize::<Error>(tx, "sqs:ListQueues", &cx.arn("sqs", "*"))?;
        let prefix = input.queue_name_prefix.as_deref().unwrap_or_default();
        let (size, paged) = page_size(input.max_results)?;
        let place = Place::new(cx.account, &cx.region);
        let rows = place.key(&QUEUES);
        let scope = ["sqs:ListQueues", prefix];
        let mut range = rows.prefix().starting_at(&rows.clone().str(prefix));
        if let Some(token) = input.next_token.as_deref() {
            range = range.after(&rows.str(&self.cursor(&scope, token)?));
        }
        let mut names = Vec::new();
        for (key, _) in tx.scan(&range, size + 1, Direction::Forward)? {
            let name = key.last_str().map_err(base_types::Fault::from)?;
            if !name.starts_with(prefix) {
                break;
            }
            names.push(name);
        }
        let next_token = self.next(&scope, &mut names, size, paged);
        let urls: Vec<String> = names.iter().map(|name| self.urls.url(cx, &QueueName::own(cx, name))).collect();
        Ok(ListQueuesResult { queue_urls: (!urls.is_empty()).then_some(urls), next_token })
    }

    pub(crate) fn list_sources(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListDeadLetterSourceQueuesRequest,
    ) -> Result<ListDeadLetterSourceQueuesResult, Error> {
        let found = find(cx, tx, "sqs:ListDeadLetterSourceQueues", &input.queue_url)?;
        let (size, paged) = page_size(input.max_results)?;
        let rows = found.place.key(&SOURCES).str(&found.name.name);
        let scope = ["sqs:ListDeadLetterSourceQueues", &found.arn];
        let mut range = rows.prefix();
        if let Some(token) = input.next_token.as_deref() {
            range = range.after(&rows.str(&self.cursor(&scope, token)?));
        }
        let entries = tx.scan(&range, size + 1, Direction::Forward)?;
        let mut arns = entries
            .iter()
            .map(|(key, _)| key.last_str().map_err(base_types::Fault::from))
            .collect::<Result<Vec<_>, _>>()?;
        let next_token = self.next(&scope, &mut arns, size, paged);
        let urls = arns.iter().filter_map(|arn| names::of_arn(cx, arn)).map(|name| self.urls.url(cx, &name)).collect();
        Ok(ListDeadLetterSourceQueuesResult { queue_urls: urls, next_token })
    }

    fn cursor(&self, scope: &[&str], token: &str) -> Result<String, Error> {
        let opened = self.page_tokens.open(scope, token).ok().and_then(|cursor| String::from_utf8(cursor).ok());
        opened.ok_or_else(|| Error::invalid_parameter_value_exception("Invalid or expired next token."))
    }

    /// Cuts a page to its size; the token where it goes on, for those who asked for pages.
    fn next(&self, scope: &[&str], names: &mut Vec<String>, size: usize, paged: bool) -> Option<String> {
        let more = names.len() > size;
        names.truncate(size);
        let last = names.last().filter(|_| more && paged)?;
        Some(self.page_tokens.seal(scope, last.as_bytes()))
    }

    pub(crate) fn attributes(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetQueueAttributesRequest,
    ) -> Result<GetQueueAttributesResult, Error> {
        let found = find(cx, tx, "sqs:GetQueueAttributes", &input.queue_url)?;
        let asked = input.attribute_names.clone().unwrap_or_default();
        if let Some(other) = asked.iter().find(|name| !NAMES.contains(&name.as_str())) {
            return Err(unknown(other));
        }
        let all = asked.iter().any(|name| name == "All");
        let wanted = |name: &str| all || asked.iter().any(|asked| asked == name);
        let mut shown: BTreeMap<&str, String> = found.queue.attributes.show();
        shown.insert("QueueArn", found.arn.clone());
        shown.insert("CreatedTimestamp", found.queue.created.as_seconds().to_string());
        shown.insert("LastModifiedTimestamp", found.queue.modified.as_seconds().to_string());
        if NAMES.iter().any(|name| name.starts_with("Approximate") && wanted(name)) {
            let (visible, flying, delayed) = approximate(tx, &found)?;
            shown.insert("ApproximateNumberOfMessages", visible.to_string());
            shown.insert("ApproximateNumberOfMessagesNotVisible", flying.to_string());
            shown.insert("ApproximateNumberOfMessagesDelayed", delayed.to_string());
        }
        let attributes: BTreeMap<String, String> =
            shown.into_iter().filter(|(name, _)| wanted(name)).map(|(name, value)| (name.to_owned(), value)).collect();
        Ok(GetQueueAttributesResult { attributes: (!attributes.is_empty()).then_some(attributes) })
    }

    pub(crate) fn set_attributes(&self, cx: &Cx, tx: &Tx, input: &SetQueueAttributesRequest) -> Result<(), Error> {
        let mut found = find(cx, tx, "sqs:SetQueueAttributes", &input.queue_url)?;
        if input.attributes.is_empty() {
            return Err(missing("Attribute.Name"));
        }
        let before = found.queue.attributes.clone();
        found.queue.attributes.set(cx, &input.attributes, false)?;
        found.queue.modified = tx.now();
        point(cx, tx, &found.place, &found.arn, Some(&before), &found.queue.attributes)?;
        Ok(QUEUES.put(tx, &found.place.queue(&found.name.name), &found.queue)?)
    }

    pub(crate) fn new_id(&self) -> Id {
        let mut id = [0; 16];
        self.env.fill(&mut id);
        id
    }
}

fn page_size(asked: Option<i32>) -> Result<(usize, bool), Error> {
    match asked {
        None => Ok((PAGE_MAX, false)),
        Some(size @ 1..=1000) => Ok((usize::try_from(size).unwrap_or(PAGE_MAX), true)),
        Some(size) => Err(invalid(size, "MaxResults", "MaxResults must be an integer between 1 and 1000.")),
    }
}

/// Visible, in flight, delayed. Hidden messages that could be seen by now count as visible: nobody has looked yet.
fn approximate(tx: &Tx, found: &Found) -> Result<(u64, u64, u64), Error> {
    let mut counts = tables::counts(tx, &found.place, &found.queue.id)?;
    let rows = found.place.rows(&DUE, &found.queue.id);
    for (key, _) in tx.scan(&rows.prefix(), COUNTED_MAX, Direction::Forward)? {
        let (due, number) = due_of(&key)?;
        if due > tx.now() {
            break;
        }
        let Some(hidden) = HIDDEN.get(tx, &found.row(&HIDDEN, number))? else { continue };
        let counted = if hidden.delayed { &mut counts.delayed } else { &mut counts.in_flight };
        *counted = counted.saturating_sub(1);
    }
    Ok((counts.total.saturating_sub(counts.in_flight + counts.delayed), counts.in_flight, counts.delayed))
}

/// The messages under this identity are not reachable from now on; their space is freed in the background.
fn discard(tx: &Tx, found: &Found, id: &Id) -> Result<(), Error> {
    let trash = Trash { account: found.place.account, region: found.place.region.clone() };
    TRASH.put(tx, &TRASH.global_key(None).bytes(id), &trash)?;
    Ok(tx.wake(&TRASH.global_key(None), 1)?)
}

/// Files a queue under its dead-letter queue, which has to exist and to take its messages.
fn point(
    cx: &Cx,
    tx: &Tx,
    place: &Place,
    arn: &str,
    before: Option<&Attributes>,
    now: &Attributes,
) -> Result<(), Error> {
    let old = before.and_then(|attributes| attributes.redrive.as_ref());
    if old == now.redrive.as_ref() {
        return Ok(());
    }
    if let Some(before) = before {
        unpoint(cx, tx, place, arn, before)?;
    }
    let Some(redrive) = &now.redrive else { return Ok(()) };
    let refused = |reason: &str| {
        let shown = now.show().remove("RedrivePolicy").unwrap_or_default();
        invalid(shown, "RedrivePolicy", reason)
    };
    let target = names::of_arn(cx, &redrive.target).ok_or_else(|| refused("Dead letter target is not valid."))?;
    let found = Found::load(cx, tx, target.clone())?;
    let found = found.filter(|found| found.name.account == place.account);
    let found = found.ok_or_else(|| refused("Dead letter target does not exist."))?;
    if !found.queue.attributes.takes_dead_letters_of(arn) {
        return Err(refused("The dead letter target does not allow this queue as a source."));
    }
    Ok(SOURCES.put(tx, &place.key(&SOURCES).str(&target.name).str(arn), &Mark {})?)
}

fn unpoint(cx: &Cx, tx: &Tx, place: &Place, arn: &str, attributes: &Attributes) -> Result<(), Error> {
    let target = attributes.redrive.as_ref().and_then(|redrive| names::of_arn(cx, &redrive.target));
    match target {
        Some(target) => Ok(SOURCES.remove(tx, &place.key(&SOURCES).str(&target.name).str(arn))?),
        None => Ok(()),
    }
}
