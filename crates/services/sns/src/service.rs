//! The generated trait, one line per operation.

use model_sns::*;
use services_kernel::Cx;
use store_api::Tx;

use crate::Sns as Service;

impl Sns<Cx, Tx> for Service {
    fn add_permission(&self, cx: &Cx, tx: &Tx, input: &AddPermissionInput) -> Result<(), Error> {
        self.permit(cx, tx, input)
    }

    fn check_if_phone_number_is_opted_out(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &CheckIfPhoneNumberIsOptedOutInput,
    ) -> Result<CheckIfPhoneNumberIsOptedOutResponse, Error> {
        self.is_opted_out(cx, tx, input)
    }

    fn confirm_subscription(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ConfirmSubscriptionInput,
    ) -> Result<ConfirmSubscriptionResponse, Error> {
        self.confirm(cx, tx, input)
    }

    fn create_topic(&self, cx: &Cx, tx: &Tx, input: &CreateTopicInput) -> Result<CreateTopicResponse, Error> {
        self.create(cx, tx, input)
    }

    fn delete_topic(&self, cx: &Cx, tx: &Tx, input: &DeleteTopicInput) -> Result<(), Error> {
        self.delete(cx, tx, input)
    }

    fn get_sms_attributes(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetSMSAttributesInput,
    ) -> Result<GetSMSAttributesResponse, Error> {
        self.sms_settings(cx, tx, input)
    }

    fn get_subscription_attributes(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetSubscriptionAttributesInput,
    ) -> Result<GetSubscriptionAttributesResponse, Error> {
        self.subscription_attributes(cx, tx, input)
    }

    fn get_topic_attributes(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetTopicAttributesInput,
    ) -> Result<GetTopicAttributesResponse, Error> {
        self.topic_attributes(cx, tx, input)
    }

    fn list_phone_numbers_opted_out(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListPhoneNumbersOptedOutInput,
    ) -> Result<ListPhoneNumbersOptedOutResponse, Error> {
        self.opted_out(cx, tx, input)
    }

    fn list_subscriptions(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListSubscriptionsInput,
    ) -> Result<ListSubscriptionsResponse, Error> {
        self.list_all(cx, tx, input)
    }

    fn list_subscriptions_by_topic(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListSubscriptionsByTopicInput,
    ) -> Result<ListSubscriptionsByTopicResponse, Error> {
        self.list_by_topic(cx, tx, input)
    }

    fn list_tags_for_resource(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListTagsForResourceRequest,
    ) -> Result<ListTagsForResourceResponse, Error> {
        self.tags(cx, tx, input)
    }

    fn list_topics(&self, cx: &Cx, tx: &Tx, input: &ListTopicsInput) -> Result<ListTopicsResponse, Error> {
        self.list(cx, tx, input)
    }

    fn opt_in_phone_number(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &OptInPhoneNumberInput,
    ) -> Result<OptInPhoneNumberResponse, Error> {
        self.opt_in(cx, tx, input)
    }

    async fn publish(&self, cx: &Cx, input: PublishInput) -> Result<PublishResponse, Error> {
        self.publish_message(cx, input).await
    }

    async fn publish_batch(&self, cx: &Cx, input: PublishBatchInput) -> Result<PublishBatchResponse, Error> {
        self.publish_some(cx, input).await
    }

    fn remove_permission(&self, cx: &Cx, tx: &Tx, input: &RemovePermissionInput) -> Result<(), Error> {
        self.forbid(cx, tx, input)
    }

    fn set_sms_attributes(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &SetSMSAttributesInput,
    ) -> Result<SetSMSAttributesResponse, Error> {
        self.set_sms(cx, tx, input)
    }

    fn set_subscription_attributes(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &SetSubscriptionAttributesInput,
    ) -> Result<(), Error> {
        self.set_subscription(cx, tx, input)
    }

    fn set_topic_attributes(&self, cx: &Cx, tx: &Tx, input: &SetTopicAttributesInput) -> Result<(), Error> {
        self.set_topic(cx, tx, input)
    }

    fn subscribe(&self, cx: &Cx, tx: &Tx, input: &SubscribeInput) -> Result<SubscribeResponse, Error> {
        self.subscribe_one(cx, tx, input)
    }

    fn tag_resource(&self, cx: &Cx, tx: &Tx, input: &TagResourceRequest) -> Result<TagResourceResponse, Error> {
        self.tag(cx, tx, input)
    }

    fn unsubscribe(&self, cx: &Cx, tx: &Tx, input: &UnsubscribeInput) -> Result<(), Error> {
        self.leave(cx, tx, input)
    }

    fn untag_resource(&self, cx: &Cx, tx: &Tx, input: &UntagResourceRequest) -> Result<UntagResourceResponse, Error> {
        self.untag(cx, tx, input)
    }
}
