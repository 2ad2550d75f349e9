//! Confirming and leaving. Both may be asked for without a signature, by the address that a subscriber was sent.

use std::time::Duration;

use model_sns::{ConfirmSubscriptionInput, ConfirmSubscriptionResponse, Error, UnsubscribeInput};
use services_kernel::{Cx, Principal};
use store_api::Tx;

use super::subscriptions::owned;
use crate::{
    Sns,
    error::invalid,
    message::Request,
    names,
    tables::{Found, Number, SUBSCRIPTIONS, Subscription, TOKENS},
};

/// How long a token confirms (AWS: three days).
const TOKEN_LIFE: Duration = Duration::from_secs(3 * 86_400);
const TOKEN_CHARS_MIN: usize = 64;

impl Sns {
    pub(crate) fn confirm(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ConfirmSubscriptionInput,
    ) -> Result<ConfirmSubscriptionResponse, Error> {
        // The address that a subscriber was sent names the region by the topic only.
        let name = names::topic_anywhere(&input.topic_arn, "TopicArn")?;
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if input.token.len() < TOKEN_CHARS_MIN || !input.token.bytes().all(good) {
            return Err(Error::invalid_parameter_exception("Invalid token"));
        }
        let unknown = || invalid("Token");
        let found = Found::load(tx, name)?.ok_or_else(unknown)?;
        let authenticated = !matches!(*cx.principal, Principal::Anonymous);
        let leave_authenticated = match input.authenticate_on_unsubscribe.as_deref() {
            None | Some("" | "false" | "False") => false,
            Some("true" | "True") if authenticated => true,
            Some("true" | "True") => {
                return Err(Error::authorization_error_exception(
                    "AuthenticateOnUnsubscribe can be set by an authenticated request only",
                ));
            }
            Some(_) => return Err(invalid("AuthenticateOnUnsubscribe")),
        };
        let (mut found, number, mut subscription) = match self.by_token(tx, &found, &input.token)? {
            Some((number, subscription)) => (found, Some(number), subscription),
            None => {
                let left = self.by_farewell(tx, &found, &input.token).ok_or_else(unknown)?;
                (found, None, left)
            }
        };
        let arn = found.subscription_name(&subscription).arn();
        let answer = ConfirmSubscriptionResponse { subscription_arn: Some(arn) };
        if subscription.confirmed && number.is_some() {
            return Ok(answer);
        }
        let number = match number {
            Some(number) => {
                found.topic.pending = found.topic.pending.saturating_sub(1);
                number
            }
            // It left and comes back.
            None if found.subscription(tx, &subscription.id)?.is_some() => return Ok(answer),
            None => {
                found.topic.last += 1;
                found.topic.last
            }
        };
        subscription.confirmed = true;
        subscription.authenticated = authenticated;
        subscription.leave_authenticated = leave_authenticated;
        found.topic.confirmed += 1;
        found.topic.revision = self.new_id();
        found.put_subscription(tx, number, &subscription)?;
        found.put(tx)?;
        Ok(answer)
    }

    fn by_token(&self, tx: &Tx, found: &Found, token: &str) -> Result<Option<(u64, Subscription)>, Error> {
        let place = found.name.rows(&TOKENS, &found.topic.id).str(token);
        let Some(Number { number }) = TOKENS.get(tx, &place)? else { return Ok(None) };
        let subscription = SUBSCRIPTIONS.get(tx, &found.name.subscription(&found.topic.id, number))?;
        let alive = |one: &Subscription| one.confirmed || tx.now().since(one.created) <= TOKEN_LIFE;
        Ok(subscription.filter(alive).map(|subscription| (number, subscription)))
    }

    /// Who left, as the token says that it got with the farewell: it holds the whole subscription, sealed.
    fn by_farewell(&self, tx: &Tx, found: &Found, token: &str) -> Option<Subscription> {
        let opened = self.page_tokens.open(&farewell_scope(found), token).ok()?;
        let subscription: Subscription = minicbor::decode(&opened).ok()?;
        (tx.now().since(subscription.created) <= TOKEN_LIFE).then_some(subscription)
    }

    pub(crate) fn leave(&self, cx: &Cx, tx: &Tx, input: &UnsubscribeInput) -> Result<(), Error> {
        let name = names::subscription(&input.subscription_arn)?;
        let cx = Cx { region: name.topic.region.clone(), ..cx.clone() };
        let there = match Found::load(tx, name.topic.clone())? {
            Some(found) => found.subscription(tx, &name.id)?,
            None => None,
        };
        // It is gone already.
        let Some((_, there)) = there else { return Ok(()) };
        let anybody = !there.leave_authenticated && !there.authenticated;
        let (mut found, number, subscription) = if matches!(*cx.principal, Principal::Anonymous) && anybody {
            let found = find_unchecked(tx, name.topic)?;
            let (number, subscription) = found.subscription(tx, &name.id)?.ok_or_else(crate::error::no_subscription)?;
            (found, number, subscription)
        } else {
            owned(&cx, tx, "SNS:Unsubscribe", &input.subscription_arn)?
        };
        found.remove_subscription(tx, number, &subscription)?;
        let counted = if subscription.confirmed { &mut found.topic.confirmed } else { &mut found.topic.pending };
        *counted = counted.saturating_sub(1);
        found.topic.deleted += 1;
        found.topic.revision = self.new_id();
        found.put(tx)?;
        if subscription.confirmed && matches!(subscription.protocol.as_str(), "http" | "https") {
            self.say_farewell(&cx, tx, &found, subscription)?;
        }
        Ok(())
    }

    fn say_farewell(&self, cx: &Cx, tx: &Tx, found: &Found, mut left: Subscription) -> Result<(), Error> {
        left.created = tx.now();
        left.token = None;
        let encoded = minicbor::to_vec(&left).map_err(|error| base_types::Fault::internal("a subscription", error))?;
        let token = self.page_tokens.seal(&farewell_scope(found), &encoded);
        let version = found.topic.attributes.signature_version.unwrap_or(1);
        let arn = found.subscription_name(&left).arn();
        let endpoint = if cx.source.is_none() { &*cx.endpoint } else { found.topic.endpoint.as_str() };
        let request = Request::farewell(self.env.uuid(), &found.arn, &arn, &token, tx.now(), endpoint, version);
        Ok(self.send(tx, found, &left, request)?)
    }
}

fn farewell_scope(found: &Found) -> [&str; 2] {
    ["sns:farewell", &found.arn]
}

/// The topic of a subscription that anybody may leave who knows it.
fn find_unchecked(tx: &Tx, name: names::TopicName) -> Result<Found, Error> {
    Found::load(tx, name)?.ok_or_else(crate::error::no_topic)
}
