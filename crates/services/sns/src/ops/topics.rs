//! Topics: create, delete, list, attributes.

use base_types::Fault;
use model_sns::{
    CreateTopicInput, CreateTopicResponse, DeleteTopicInput, Error, GetTopicAttributesInput,
    GetTopicAttributesResponse, ListTopicsInput, ListTopicsResponse, SetTopicAttributesInput, Topic as Listed,
};
use services_kernel::{Cx, Quota, Quotas, Tags};
use store_api::{Direction, Tx};

use super::{PAGE, find, tags};
use crate::{
    Sns,
    attributes::TopicAttributes,
    error::invalid_because,
    names::{self, TopicName},
    tables::{Found, Id, TOPICS, TRASH, Topic, Trash, intents_topic},
};

/// Topics of an account and region (AWS's defaults).
const TOPICS_MAX: Quota = Quota { name: "sns.topics", default: 100_000 };
const FIFO_TOPICS_MAX: Quota = Quota { name: "sns.fifo-topics", default: 1000 };

impl Sns {
    pub(crate) fn create(&self, cx: &Cx, tx: &Tx, input: &CreateTopicInput) -> Result<CreateTopicResponse, Error> {
        let given = input.attributes.clone().unwrap_or_default();
        let fifo = given.get("FifoTopic").is_some_and(|value| value == "true");
        names::check(&input.name, fifo)?;
        let name = TopicName::own(cx, &input.name);
        let arn = name.arn();
        cx.authorize::<Error>(tx, "SNS:CreateTopic", &arn)?;
        let mut attributes = TopicAttributes::new(fifo);
        for (name, value) in &given {
            attributes.set(name, value, true)?;
        }
        let tags = tags::checked(input.tags.as_deref().unwrap_or_default())?;
        let answer = CreateTopicResponse { topic_arn: Some(arn.to_string()) };
        if let Some(there) = Found::load(tx, name.clone())? {
            let made = Found { topic: Topic { attributes, ..there.topic.clone() }, ..there.clone() };
            let (old, new) = (TopicAttributes::show(&there), TopicAttributes::show(&made));
            if given.keys().any(|key| old.get(key) != new.get(key)) {
                return Err(invalid_because("Attributes", "Topic already exists with different attributes"));
            }
            let known = Tags::get(tx, cx, &there.arn)?;
            if input.tags.is_some() && tags.iter().any(|(key, value)| known.get(key) != Some(value)) {
                return Err(invalid_because("Tags", "Topic already exists with different tags"));
            }
            return Ok(answer);
        }
        let most = Quotas::get(tx, cx, if fifo { FIFO_TOPICS_MAX } else { TOPICS_MAX })?;
        if name.counted(tx, fifo)? >= most {
            return Err(Error::topic_limit_exceeded_exception("Topic limit exceeded"));
        }
        name.count_in(tx, fifo, 1)?;
        let topic = Topic {
            id: self.new_id(),
            created: tx.now(),
            attributes,
            revision: self.new_id(),
            last: 0,
            confirmed: 0,
            pending: 0,
            deleted: 0,
            endpoint: cx.endpoint.to_string(),
        };
        TOPICS.put(tx, &name.key(), &topic)?;
        tags::put(tx, cx, &arn.to_string(), tags)?;
        Ok(answer)
    }

    pub(crate) fn delete(&self, cx: &Cx, tx: &Tx, input: &DeleteTopicInput) -> Result<(), Error> {
        let name = names::topic(cx, &input.topic_arn, "TopicArn")?;
        let found = match find(cx, tx, "SNS:DeleteTopic", name) {
            Ok(found) => found,
            // It is gone already.
            Err(Error::NotFoundException(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        TOPICS.remove(tx, &found.name.key())?;
        found.name.count_in(tx, found.is_fifo(), -1)?;
        Tags::clear(tx, cx, &found.arn)?;
        let Found { name, topic, .. } = found;
        let trash = Trash { account: name.account, region: name.region, topic: name.name };
        TRASH.put(tx, &TRASH.global_key(None).bytes(&topic.id), &trash)?;
        Ok(tx.wake(&intents_topic(), 1)?)
    }

    pub(crate) fn topic_attributes(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetTopicAttributesInput,
    ) -> Result<GetTopicAttributesResponse, Error> {
        let name = names::topic(cx, &input.topic_arn, "TopicArn")?;
        let found = find(cx, tx, "SNS:GetTopicAttributes", name)?;
        Ok(GetTopicAttributesResponse { attributes: Some(TopicAttributes::show(&found)) })
    }

    pub(crate) fn set_topic(&self, cx: &Cx, tx: &Tx, input: &SetTopicAttributesInput) -> Result<(), Error> {
        let name = names::topic(cx, &input.topic_arn, "TopicArn")?;
        let mut found = find(cx, tx, "SNS:SetTopicAttributes", name)?;
        let value = input.attribute_value.as_deref().unwrap_or_default();
        found.topic.attributes.set(&input.attribute_name, value, false)?;
        Ok(found.put(tx)?)
    }

    pub(crate) fn list(&self, cx: &Cx, tx: &Tx, input: &ListTopicsInput) -> Result<ListTopicsResponse, Error> {
        cx.authorize::<Error>(tx, "SNS:ListTopics", &cx.arn("sns", "*"))?;
        let rows = TOPICS.key(cx.account, &cx.region);
        let scope = ["sns:ListTopics", cx.account.as_str(), cx.region.as_str()];
        let mut range = rows.prefix();
        if let Some(cursor) = self.cursor(&scope, input.next_token.as_deref())? {
            range = range.after(&rows.str(&cursor));
        }
        let entries = tx.scan(&range, PAGE + 1, Direction::Forward)?;
        let mut names =
            entries.iter().map(|(key, _)| key.last_str().map_err(Fault::from)).collect::<Result<Vec<_>, _>>()?;
        let more = names.len() > PAGE;
        names.truncate(PAGE);
        let next_token = names.last().filter(|_| more).map(|last| self.page_tokens.seal(&scope, last.as_bytes()));
        let arn = |name: &String| Listed { topic_arn: Some(TopicName::own(cx, name).arn().to_string()) };
        Ok(ListTopicsResponse { topics: Some(names.iter().map(arn).collect()), next_token })
    }

    pub(crate) fn new_id(&self) -> Id {
        let mut id = [0; 16];
        self.env.fill(&mut id);
        id
    }
}
