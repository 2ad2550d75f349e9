//! Subscriptions: subscribe, list, attributes.

use base_types::{AccountId, Arn, Fault};
use model_sns::{
    Error, GetSubscriptionAttributesInput, GetSubscriptionAttributesResponse, ListSubscriptionsByTopicInput,
    ListSubscriptionsByTopicResponse, ListSubscriptionsInput, ListSubscriptionsResponse,
    SetSubscriptionAttributesInput, SubscribeInput, SubscribeResponse, Subscription as Listed,
};
use services_kernel::Cx;
use store_api::{Direction, Part, Tx};

use super::{PAGE, find, sms};
use crate::{
    Sns,
    attributes::Refused,
    calls::without_credentials,
    error::{invalid, invalid_because, no_subscription, not_served},
    message::Request,
    names::{self, TopicName},
    tables::{self, Call, ENDPOINTS, Found, Letter, Number, OWNED, SUBSCRIPTIONS, Subscription, last_number},
};

/// Subscriptions of a FIFO topic (AWS: 100).
const FIFO_SUBSCRIPTIONS_MAX: u64 = 100;
/// Rows that a page of `ListSubscriptions` looks at.
const LOOKED_AT_MAX: usize = 1000;
const ENDPOINT_BYTES_MAX: usize = 2048;
const PENDING: &str = "pending confirmation";

impl Sns {
    pub(crate) fn subscribe_one(&self, cx: &Cx, tx: &Tx, input: &SubscribeInput) -> Result<SubscribeResponse, Error> {
        let name = names::topic(cx, &input.topic_arn, "TopicArn")?;
        let mut found = find(cx, tx, "SNS:Subscribe", name)?;
        let endpoint = input.endpoint.as_deref().unwrap_or_default();
        let confirmed = self.check_endpoint(cx, &found, &input.protocol, endpoint)?;
        let given = input.attributes.clone().unwrap_or_default();
        let mut subscription = Subscription {
            id: self.env.uuid(),
            protocol: input.protocol.clone(),
            endpoint: endpoint.to_owned(),
            owner: cx.account,
            principal: cx.principal.arn(),
            created: tx.now(),
            token: None,
            confirmed,
            authenticated: confirmed,
            leave_authenticated: false,
            raw: false,
            filter: None,
            filter_body: false,
            redrive: None,
            delivery: None,
            role: None,
        };
        let fifo = found.is_fifo() && endpoint.ends_with(".fifo");
        subscription.set(cx, fifo, &given).map_err(Refused::when_subscribing)?;
        if let Some(answer) = self.subscribed_already(cx, tx, &found, &subscription, input)? {
            return Ok(answer);
        }
        if found.is_fifo() && found.topic.confirmed + found.topic.pending >= FIFO_SUBSCRIPTIONS_MAX {
            return Err(Error::subscription_limit_exceeded_exception("Subscription limit exceeded"));
        }
        if !confirmed {
            subscription.token = Some(self.token());
        }
        found.topic.last += 1;
        found.topic.revision = self.new_id();
        let counted = if confirmed { &mut found.topic.confirmed } else { &mut found.topic.pending };
        *counted += 1;
        found.put_subscription(tx, found.topic.last, &subscription)?;
        found.put(tx)?;
        self.ask(cx, tx, &found, &subscription)?;
        Ok(answer(&found, &subscription, input))
    }

    /// The answer to who is subscribed already. Who has not confirmed is asked again.
    fn subscribed_already(
        &self,
        cx: &Cx,
        tx: &Tx,
        found: &Found,
        asked: &Subscription,
        input: &SubscribeInput,
    ) -> Result<Option<SubscribeResponse>, Error> {
        let place = found.name.endpoint(&found.topic.id, &asked.protocol, &asked.endpoint);
        let Some(Number { number }) = ENDPOINTS.get(tx, &place)? else { return Ok(None) };
        let Some(there) = SUBSCRIPTIONS.get(tx, &found.name.subscription(&found.topic.id, number))? else {
            return Ok(None);
        };
        let settings = |one: &Subscription| {
            (one.raw, one.filter.clone(), one.filter_body, one.redrive.clone(), one.delivery.clone(), one.role.clone())
        };
        if settings(&there) != settings(asked) {
            return Err(invalid_because("Attributes", "Subscription already exists with different attributes"));
        }
        if !there.confirmed {
            self.ask(cx, tx, found, &there)?;
        }
        Ok(Some(answer(found, &there, input)))
    }

    /// Checks that a protocol's endpoint is one. True when it need not confirm: it is the subscriber's own.
    fn check_endpoint(&self, cx: &Cx, found: &Found, protocol: &str, endpoint: &str) -> Result<bool, Error> {
        if endpoint.len() > ENDPOINT_BYTES_MAX {
            return Err(invalid("Endpoint"));
        }
        if found.is_fifo() && protocol != "sqs" {
            return Err(invalid("Invalid parameter: Endpoint Reason: Please use FIFO SQS queue"));
        }
        match protocol {
            "sqs" => {
                let arn = target(endpoint, "sqs").ok_or_else(|| invalid("SQS endpoint ARN"))?;
                if arn.resource.ends_with(".fifo") && !found.is_fifo() {
                    return Err(invalid(
                        "Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics",
                    ));
                }
                Ok(arn.account == cx.account.as_str())
            }
            "lambda" => {
                let arn = target(endpoint, "lambda").filter(|arn| arn.resource.starts_with("function:"));
                let arn = arn.ok_or_else(|| invalid("Lambda endpoint ARN"))?;
                Ok(arn.account == cx.account.as_str())
            }
            "http" | "https" => {
                let (address, _) = without_credentials(endpoint);
                if !endpoint.starts_with(&format!("{protocol}://")) {
                    return Err(invalid("Endpoint must match the specified protocol"));
                }
                let uri = address.parse().map_err(|_| invalid_because("Endpoint", "it is not an address"))?;
                (self.check)(&uri).map_err(|error| invalid_because("Endpoint", error))?;
                Ok(false)
            }
            "email" | "email-json" => {
                let good = endpoint.split_once('@').is_some_and(|(user, host)| !user.is_empty() && host.contains('.'));
                let good = good && endpoint.chars().all(|c| !c.is_control() && c != ' ');
                if good { Ok(false) } else { Err(invalid("Email address")) }
            }
            "sms" if sms::is_number(endpoint) => Ok(true),
            "sms" => Err(Error::invalid_parameter_exception(format!("Invalid SMS endpoint: {endpoint}"))),
            "application" => Err(not_served("platform endpoints (mobile push) as subscribers")),
            "firehose" => Err(not_served("Kinesis Data Firehose as a subscriber")),
            other => Err(invalid_because(
                "Protocol",
                format_args!("Amazon SNS does not support this protocol string: {other}"),
            )),
        }
    }

    /// Asks a subscriber that has to confirm.
    pub(crate) fn ask(&self, cx: &Cx, tx: &Tx, found: &Found, subscription: &Subscription) -> Result<(), Fault> {
        let Some(token) = subscription.token.as_ref().filter(|_| !subscription.confirmed) else { return Ok(()) };
        let version = found.topic.attributes.signature_version.unwrap_or(1);
        let endpoint = if cx.source.is_none() { &*cx.endpoint } else { found.topic.endpoint.as_str() };
        let request = Request::subscription(self.env.uuid(), &found.arn, token, tx.now(), endpoint, version);
        self.send(tx, found, subscription, request)
    }

    /// Sends a request to confirm (or a farewell) on its way.
    pub(crate) fn send(&self, tx: &Tx, found: &Found, to: &Subscription, request: Request) -> Result<(), Fault> {
        if matches!(to.protocol.as_str(), "email" | "email-json" | "sms") {
            let letter = Letter {
                at: tx.now(),
                protocol: to.protocol.clone(),
                to: to.endpoint.clone(),
                subject: Some("AWS Notification - Subscription Confirmation".to_owned()),
                text: format!("{}\n{}", request.text, request.subscribe_url()),
                topic_arn: Some(found.arn.clone()),
            };
            return tables::put_letter(tx, to.owner, &found.name.region, &self.env.uuid(), &letter);
        }
        let call = Call {
            account: found.name.account,
            region: found.name.region.clone(),
            topic: found.name.name.clone(),
            subscription: found.subscription_name(to).arn(),
            protocol: to.protocol.clone(),
            endpoint: to.endpoint.clone(),
            message: None,
            request: Some(request),
            raw: false,
            failed: 0,
            due: tx.now(),
        };
        tables::put_call(tx, &self.env.uuid(), &call)
    }

    /// What confirms a subscription, and nobody guesses.
    pub(crate) fn token(&self) -> String {
        let mut bytes = [0; 64];
        self.env.fill(&mut bytes);
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn subscription_attributes(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetSubscriptionAttributesInput,
    ) -> Result<GetSubscriptionAttributesResponse, Error> {
        let (found, _, subscription) = owned(cx, tx, "SNS:GetSubscriptionAttributes", &input.subscription_arn)?;
        Ok(GetSubscriptionAttributesResponse { attributes: Some(subscription.show(&found)) })
    }

    pub(crate) fn set_subscription(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &SetSubscriptionAttributesInput,
    ) -> Result<(), Error> {
        let (mut found, number, mut subscription) =
            owned(cx, tx, "SNS:SetSubscriptionAttributes", &input.subscription_arn)?;
        let value = input.attribute_value.clone().unwrap_or_default();
        let given = std::collections::BTreeMap::from([(input.attribute_name.clone(), value)]);
        let fifo = found.is_fifo() && subscription.endpoint.ends_with(".fifo");
        subscription.set(cx, fifo, &given).map_err(Refused::when_setting)?;
        found.topic.revision = self.new_id();
        found.put_subscription(tx, number, &subscription)?;
        Ok(found.put(tx)?)
    }

    pub(crate) fn list_by_topic(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListSubscriptionsByTopicInput,
    ) -> Result<ListSubscriptionsByTopicResponse, Error> {
        let name = names::topic(cx, &input.topic_arn, "TopicArn")?;
        let found = find(cx, tx, "SNS:ListSubscriptionsByTopic", name)?;
        let rows = found.name.rows(&SUBSCRIPTIONS, &found.topic.id);
        let scope = ["sns:ListSubscriptionsByTopic", &found.arn];
        let mut range = rows.prefix();
        if let Some(cursor) = self.cursor(&scope, input.next_token.as_deref())? {
            range = range.after(&rows.u64(cursor.parse().map_err(|_| invalid("NextToken"))?));
        }
        let mut entries = SUBSCRIPTIONS.scan(tx, &range, PAGE + 1, Direction::Forward)?;
        let more = entries.len() > PAGE;
        entries.truncate(PAGE);
        let last = entries.last().filter(|_| more).map(|(key, _)| last_number(key)).transpose()?;
        let next_token = last.map(|last| self.page_tokens.seal(&scope, last.to_string().as_bytes()));
        let subscriptions = entries.iter().map(|(_, subscription)| listed(&found, subscription)).collect();
        Ok(ListSubscriptionsByTopicResponse { subscriptions: Some(subscriptions), next_token })
    }

    pub(crate) fn list_all(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListSubscriptionsInput,
    ) -> Result<ListSubscriptionsResponse, Error> {
        cx.authorize::<Error>(tx, "SNS:ListSubscriptions", &cx.arn("sns", "*"))?;
        let rows = OWNED.key(cx.account, &cx.region);
        let scope = ["sns:ListSubscriptions", cx.account.as_str(), cx.region.as_str()];
        let mut range = rows.prefix();
        if let Some(cursor) = self.cursor(&scope, input.next_token.as_deref())? {
            let (account, name, id) = split(&cursor).ok_or_else(|| invalid("NextToken"))?;
            range = range.after(&rows.str(account).str(name).str(id));
        }
        let entries = tx.scan(&range, LOOKED_AT_MAX, Direction::Forward)?;
        let (mut subscriptions, mut topic, mut cursor): (Vec<Listed>, Option<Found>, _) = (Vec::new(), None, None);
        let count = entries.len();
        for (index, (key, _)) in entries.into_iter().enumerate() {
            let mut parts = key.parts().map_err(Fault::from)?;
            let (Some(Part::Str(id)), Some(Part::Str(name)), Some(Part::Str(account))) =
                (parts.pop(), parts.pop(), parts.pop())
            else {
                continue;
            };
            let Ok(owner) = account.parse::<AccountId>() else { continue };
            let wanted = TopicName { account: owner, region: cx.region.clone(), name: name.clone() };
            if topic.as_ref().is_none_or(|found| found.name != wanted) {
                topic = Found::load(tx, wanted)?;
            }
            // A row of a topic that is gone is on its way out.
            if let Some(found) = &topic
                && let Some((_, subscription)) = found.subscription(tx, &id)?
            {
                subscriptions.push(listed(found, &subscription));
            }
            let last = index + 1 == count;
            if (subscriptions.len() == PAGE && !last) || (last && count == LOOKED_AT_MAX) {
                cursor = Some(format!("{account}:{name}:{id}"));
                break;
            }
        }
        let next_token = cursor.map(|cursor| self.page_tokens.seal(&scope, cursor.as_bytes()));
        Ok(ListSubscriptionsResponse { subscriptions: Some(subscriptions), next_token })
    }
}

fn split(cursor: &str) -> Option<(&str, &str, &str)> {
    let mut parts = cursor.splitn(3, ':');
    Some((parts.next()?, parts.next()?, parts.next()?))
}

/// The subscription that an ARN names, for its owner or who may do this to the topic.
pub(crate) fn owned(cx: &Cx, tx: &Tx, action: &str, arn: &str) -> Result<(Found, u64, Subscription), Error> {
    let name = names::subscription(arn)?;
    if name.topic.region != cx.region {
        return Err(invalid("SubscriptionArn"));
    }
    let found = Found::load(tx, name.topic.clone())?.ok_or_else(no_subscription)?;
    let (number, subscription) = found.subscription(tx, &name.id)?.ok_or_else(no_subscription)?;
    if !cx.owns(subscription.owner) {
        find(cx, tx, action, name.topic)?;
    }
    Ok((found, number, subscription))
}

fn target(endpoint: &str, service: &str) -> Option<Arn> {
    let arn: Arn = endpoint.parse().ok()?;
    (arn.service == service && !arn.region.is_empty() && !arn.account.is_empty()).then_some(arn)
}

fn answer(found: &Found, subscription: &Subscription, input: &SubscribeInput) -> SubscribeResponse {
    let shown = subscription.confirmed || input.return_subscription_arn == Some(true);
    let arn = if shown { found.subscription_name(subscription).arn() } else { PENDING.to_owned() };
    SubscribeResponse { subscription_arn: Some(arn) }
}

fn listed(found: &Found, subscription: &Subscription) -> Listed {
    let arn = if subscription.confirmed {
        found.subscription_name(subscription).arn()
    } else {
        "PendingConfirmation".to_owned()
    };
    Listed {
        subscription_arn: Some(arn),
        owner: Some(subscription.owner.to_string()),
        protocol: Some(subscription.protocol.clone()),
        endpoint: Some(subscription.endpoint.clone()),
        topic_arn: Some(found.arn.clone()),
    }
}
