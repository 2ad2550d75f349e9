//! The generated trait, one line per operation.

use model_scheduler::*;
use services_kernel::Cx;
use services_ports::Operations;
use store_api::Tx;

use crate::Scheduler as Service;

impl<O: Operations> Scheduler<Cx, Tx> for Service<O> {
    fn create_schedule(&self, cx: &Cx, tx: &Tx, input: &CreateScheduleInput) -> Result<CreateScheduleOutput, Error> {
        self.create(cx, tx, input)
    }

    fn create_schedule_group(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &CreateScheduleGroupInput,
    ) -> Result<CreateScheduleGroupOutput, Error> {
        self.create_group(cx, tx, input)
    }

    fn delete_schedule(&self, cx: &Cx, tx: &Tx, input: &DeleteScheduleInput) -> Result<DeleteScheduleOutput, Error> {
        self.delete(cx, tx, input)
    }

    fn delete_schedule_group(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DeleteScheduleGroupInput,
    ) -> Result<DeleteScheduleGroupOutput, Error> {
        self.delete_group(cx, tx, input)
    }

    fn get_schedule(&self, cx: &Cx, tx: &Tx, input: &GetScheduleInput) -> Result<GetScheduleOutput, Error> {
        self.get(cx, tx, input)
    }

    fn get_schedule_group(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetScheduleGroupInput,
    ) -> Result<GetScheduleGroupOutput, Error> {
        self.get_group(cx, tx, input)
    }

    fn list_schedule_groups(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListScheduleGroupsInput,
    ) -> Result<ListScheduleGroupsOutput, Error> {
        self.list_groups(cx, tx, input)
    }

    fn list_schedules(&self, cx: &Cx, tx: &Tx, input: &ListSchedulesInput) -> Result<ListSchedulesOutput, Error> {
        self.list(cx, tx, input)
    }

    fn list_tags_for_resource(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListTagsForResourceInput,
    ) -> Result<ListTagsForResourceOutput, Error> {
        self.tags(cx, tx, input)
    }

    fn tag_resource(&self, cx: &Cx, tx: &Tx, input: &TagResourceInput) -> Result<TagResourceOutput, Error> {
        self.tag(cx, tx, input)
    }

    fn untag_resource(&self, cx: &Cx, tx: &Tx, input: &UntagResourceInput) -> Result<UntagResourceOutput, Error> {
        self.untag(cx, tx, input)
    }

    fn update_schedule(&self, cx: &Cx, tx: &Tx, input: &UpdateScheduleInput) -> Result<UpdateScheduleOutput, Error> {
        self.update(cx, tx, input)
    }
}
