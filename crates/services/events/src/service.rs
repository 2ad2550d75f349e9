//! The generated trait, one line per operation.

use model_events::*;
use services_kernel::Cx;
use store_api::Tx;

use crate::EventBridge;

impl Events<Cx, Tx> for EventBridge {
    fn cancel_replay(&self, cx: &Cx, tx: &Tx, input: &CancelReplayRequest) -> Result<CancelReplayResponse, Error> {
        self.cancel_replay_of(cx, tx, input)
    }

    fn create_api_destination(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &CreateApiDestinationRequest,
    ) -> Result<CreateApiDestinationResponse, Error> {
        self.add_destination(cx, tx, input)
    }

    fn create_archive(&self, cx: &Cx, tx: &Tx, input: &CreateArchiveRequest) -> Result<CreateArchiveResponse, Error> {
        self.add_archive(cx, tx, input)
    }

    fn create_connection(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &CreateConnectionRequest,
    ) -> Result<CreateConnectionResponse, Error> {
        self.add_connection(cx, tx, input)
    }

    fn create_event_bus(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &CreateEventBusRequest,
    ) -> Result<CreateEventBusResponse, Error> {
        self.add_bus(cx, tx, input)
    }

    fn deauthorize_connection(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeauthorizeConnectionRequest,
    ) -> Result<DeauthorizeConnectionResponse, Error> {
        self.deauthorize(cx, tx, input)
    }

    fn delete_api_destination(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeleteApiDestinationRequest,
    ) -> Result<DeleteApiDestinationResponse, Error> {
        self.drop_destination(cx, tx, input)
    }

    fn delete_archive(&self, cx: &Cx, tx: &Tx, input: &DeleteArchiveRequest) -> Result<DeleteArchiveResponse, Error> {
        self.drop_archive(cx, tx, input)
    }

    fn delete_connection(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeleteConnectionRequest,
    ) -> Result<DeleteConnectionResponse, Error> {
        self.drop_connection(cx, tx, input)
    }

    fn delete_event_bus(&self, cx: &Cx, tx: &Tx, input: &DeleteEventBusRequest) -> Result<(), Error> {
        self.drop_bus(cx, tx, input)
    }

    fn delete_rule(&self, cx: &Cx, tx: &Tx, input: &DeleteRuleRequest) -> Result<(), Error> {
        self.drop_rule(cx, tx, input)
    }

    fn describe_api_destination(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DescribeApiDestinationRequest,
    ) -> Result<DescribeApiDestinationResponse, Error> {
        self.destination(cx, tx, input)
    }

    fn describe_archive(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DescribeArchiveRequest,
    ) -> Result<DescribeArchiveResponse, Error> {
        self.archive(cx, tx, input)
    }

    fn describe_connection(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DescribeConnectionRequest,
    ) -> Result<DescribeConnectionResponse, Error> {
        self.connection(cx, tx, input)
    }

    fn describe_event_bus(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DescribeEventBusRequest,
    ) -> Result<DescribeEventBusResponse, Error> {
        self.bus(cx, tx, input)
    }

    fn describe_replay(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DescribeReplayRequest,
    ) -> Result<DescribeReplayResponse, Error> {
        self.replay(cx, tx, input)
    }

    fn describe_rule(&self, cx: &Cx, tx: &Tx, input: &DescribeRuleRequest) -> Result<DescribeRuleResponse, Error> {
        self.rule(cx, tx, input)
    }

    fn disable_rule(&self, cx: &Cx, tx: &Tx, input: &DisableRuleRequest) -> Result<(), Error> {
        self.disable(cx, tx, input)
    }

    fn enable_rule(&self, cx: &Cx, tx: &Tx, input: &EnableRuleRequest) -> Result<(), Error> {
        self.enable(cx, tx, input)
    }

    fn list_api_destinations(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListApiDestinationsRequest,
    ) -> Result<ListApiDestinationsResponse, Error> {
        self.destinations_page(cx, tx, input)
    }

    fn list_archives(&self, cx: &Cx, tx: &Tx, input: &ListArchivesRequest) -> Result<ListArchivesResponse, Error> {
        self.archives_page(cx, tx, input)
    }

    fn list_connections(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListConnectionsRequest,
    ) -> Result<ListConnectionsResponse, Error> {
        self.connections_page(cx, tx, input)
    }

    fn list_event_buses(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListEventBusesRequest,
    ) -> Result<ListEventBusesResponse, Error> {
        self.buses_page(cx, tx, input)
    }

    fn list_replays(&self, cx: &Cx, tx: &Tx, input: &ListReplaysRequest) -> Result<ListReplaysResponse, Error> {
        self.replays_page(cx, tx, input)
    }

    fn list_rule_names_by_target(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListRuleNamesByTargetRequest,
    ) -> Result<ListRuleNamesByTargetResponse, Error> {
        self.rules_of_target(cx, tx, input)
    }

    fn list_rules(&self, cx: &Cx, tx: &Tx, input: &ListRulesRequest) -> Result<ListRulesResponse, Error> {
        self.rules_page(cx, tx, input)
    }

    fn list_tags_for_resource(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListTagsForResourceRequest,
    ) -> Result<ListTagsForResourceResponse, Error> {
        self.tags(cx, tx, input)
    }

    fn list_targets_by_rule(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListTargetsByRuleRequest,
    ) -> Result<ListTargetsByRuleResponse, Error> {
        self.targets_page(cx, tx, input)
    }

    fn put_events(&self, cx: &Cx, tx: &Tx, input: &PutEventsRequest) -> Result<PutEventsResponse, Error> {
        self.put(cx, tx, input)
    }

    fn put_permission(&self, cx: &Cx, tx: &Tx, input: &PutPermissionRequest) -> Result<(), Error> {
        self.permit(cx, tx, input)
    }

    fn put_rule(&self, cx: &Cx, tx: &Tx, input: &PutRuleRequest) -> Result<PutRuleResponse, Error> {
        self.set_rule(cx, tx, input)
    }

    fn put_targets(&self, cx: &Cx, tx: &Tx, input: &PutTargetsRequest) -> Result<PutTargetsResponse, Error> {
        self.set_targets(cx, tx, input)
    }

    fn remove_permission(&self, cx: &Cx, tx: &Tx, input: &RemovePermissionRequest) -> Result<(), Error> {
        self.forbid(cx, tx, input)
    }

    fn remove_targets(&self, cx: &Cx, tx: &Tx, input: &RemoveTargetsRequest) -> Result<RemoveTargetsResponse, Error> {
        self.drop_targets(cx, tx, input)
    }

    fn start_replay(&self, cx: &Cx, tx: &Tx, input: &StartReplayRequest) -> Result<StartReplayResponse, Error> {
        self.begin_replay(cx, tx, input)
    }

    fn tag_resource(&self, cx: &Cx, tx: &Tx, input: &TagResourceRequest) -> Result<TagResourceResponse, Error> {
        self.tag(cx, tx, input)
    }

    fn test_event_pattern(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &TestEventPatternRequest,
    ) -> Result<TestEventPatternResponse, Error> {
        self.try_pattern(cx, tx, input)
    }

    fn untag_resource(&self, cx: &Cx, tx: &Tx, input: &UntagResourceRequest) -> Result<UntagResourceResponse, Error> {
        self.untag(cx, tx, input)
    }

    fn update_api_destination(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &UpdateApiDestinationRequest,
    ) -> Result<UpdateApiDestinationResponse, Error> {
        self.change_destination(cx, tx, input)
    }

    fn update_archive(&self, cx: &Cx, tx: &Tx, input: &UpdateArchiveRequest) -> Result<UpdateArchiveResponse, Error> {
        self.change_archive(cx, tx, input)
    }

    fn update_connection(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &UpdateConnectionRequest,
    ) -> Result<UpdateConnectionResponse, Error> {
        self.change_connection(cx, tx, input)
    }

    fn update_event_bus(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &UpdateEventBusRequest,
    ) -> Result<UpdateEventBusResponse, Error> {
        self.change_bus(cx, tx, input)
    }
}
