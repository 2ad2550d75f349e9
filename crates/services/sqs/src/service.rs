//! The generated trait, one line per operation.

use model_sqs::*;
use services_kernel::Cx;
use store_api::Tx;

use crate::Sqs as Service;

impl Sqs<Cx, Tx> for Service {
    fn add_permission(&self, cx: &Cx, tx: &Tx, input: &AddPermissionRequest) -> Result<(), Error> {
        self.permit(cx, tx, input)
    }

    fn cancel_message_move_task(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &CancelMessageMoveTaskRequest,
    ) -> Result<CancelMessageMoveTaskResult, Error> {
        self.cancel_move(cx, tx, input)
    }

    fn change_message_visibility(&self, cx: &Cx, tx: &Tx, input: &ChangeMessageVisibilityRequest) -> Result<(), Error> {
        self.change_visibility(cx, tx, input)
    }

    fn change_message_visibility_batch(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ChangeMessageVisibilityBatchRequest,
    ) -> Result<ChangeMessageVisibilityBatchResult, Error> {
        self.change_visibility_batch(cx, tx, input)
    }

    fn create_queue(&self, cx: &Cx, tx: &Tx, input: &CreateQueueRequest) -> Result<CreateQueueResult, Error> {
        self.create(cx, tx, input)
    }

    fn delete_message(&self, cx: &Cx, tx: &Tx, input: &DeleteMessageRequest) -> Result<(), Error> {
        self.delete_one(cx, tx, input)
    }

    fn delete_message_batch(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeleteMessageBatchRequest,
    ) -> Result<DeleteMessageBatchResult, Error> {
        self.delete_batch(cx, tx, input)
    }

    fn delete_queue(&self, cx: &Cx, tx: &Tx, input: &DeleteQueueRequest) -> Result<(), Error> {
        self.delete(cx, tx, input)
    }

    fn get_queue_attributes(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetQueueAttributesRequest,
    ) -> Result<GetQueueAttributesResult, Error> {
        self.attributes(cx, tx, input)
    }

    fn get_queue_url(&self, cx: &Cx, tx: &Tx, input: &GetQueueUrlRequest) -> Result<GetQueueUrlResult, Error> {
        self.url(cx, tx, input)
    }

    fn list_dead_letter_source_queues(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListDeadLetterSourceQueuesRequest,
    ) -> Result<ListDeadLetterSourceQueuesResult, Error> {
        self.list_sources(cx, tx, input)
    }

    fn list_message_move_tasks(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListMessageMoveTasksRequest,
    ) -> Result<ListMessageMoveTasksResult, Error> {
        self.list_moves(cx, tx, input)
    }

    fn list_queue_tags(&self, cx: &Cx, tx: &Tx, input: &ListQueueTagsRequest) -> Result<ListQueueTagsResult, Error> {
        self.tags(cx, tx, input)
    }

    fn list_queues(&self, cx: &Cx, tx: &Tx, input: &ListQueuesRequest) -> Result<ListQueuesResult, Error> {
        self.list(cx, tx, input)
    }

    fn purge_queue(&self, cx: &Cx, tx: &Tx, input: &PurgeQueueRequest) -> Result<(), Error> {
        self.purge(cx, tx, input)
    }

    async fn receive_message(&self, cx: &Cx, input: ReceiveMessageRequest) -> Result<ReceiveMessageResult, Error> {
        self.receive(cx, input).await
    }

    fn remove_permission(&self, cx: &Cx, tx: &Tx, input: &RemovePermissionRequest) -> Result<(), Error> {
        self.forbid(cx, tx, input)
    }

    fn send_message(&self, cx: &Cx, tx: &Tx, input: &SendMessageRequest) -> Result<SendMessageResult, Error> {
        self.send(cx, tx, input)
    }

    fn send_message_batch(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &SendMessageBatchRequest,
    ) -> Result<SendMessageBatchResult, Error> {
        self.send_batch(cx, tx, input)
    }

    fn set_queue_attributes(&self, cx: &Cx, tx: &Tx, input: &SetQueueAttributesRequest) -> Result<(), Error> {
        self.set_attributes(cx, tx, input)
    }

    fn start_message_move_task(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &StartMessageMoveTaskRequest,
    ) -> Result<StartMessageMoveTaskResult, Error> {
        self.start_move(cx, tx, input)
    }

    fn tag_queue(&self, cx: &Cx, tx: &Tx, input: &TagQueueRequest) -> Result<(), Error> {
        self.tag(cx, tx, input)
    }

    fn untag_queue(&self, cx: &Cx, tx: &Tx, input: &UntagQueueRequest) -> Result<(), Error> {
        self.untag(cx, tx, input)
    }
}
