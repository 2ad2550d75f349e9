//! The generated trait, one line per operation.

use model_pipes::*;
use services_kernel::Cx;
use store_api::Tx;

use crate::{Peers, Pipes as Service};

impl<P: Peers> Pipes<Cx, Tx> for Service<P> {
    fn create_pipe(&self, cx: &Cx, tx: &Tx, input: &CreatePipeRequest) -> Result<CreatePipeResponse, Error> {
        self.create(cx, tx, input)
    }

    fn delete_pipe(&self, cx: &Cx, tx: &Tx, input: &DeletePipeRequest) -> Result<DeletePipeResponse, Error> {
        self.remove(cx, tx, input)
    }

    fn describe_pipe(&self, cx: &Cx, tx: &Tx, input: &DescribePipeRequest) -> Result<DescribePipeResponse, Error> {
        self.describe(cx, tx, input)
    }

    fn list_pipes(&self, cx: &Cx, tx: &Tx, input: &ListPipesRequest) -> Result<ListPipesResponse, Error> {
        self.list(cx, tx, input)
    }

    fn list_tags_for_resource(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListTagsForResourceRequest,
    ) -> Result<ListTagsForResourceResponse, Error> {
        self.tags(cx, tx, input)
    }

    fn start_pipe(&self, cx: &Cx, tx: &Tx, input: &StartPipeRequest) -> Result<StartPipeResponse, Error> {
        self.start(cx, tx, input)
    }

    fn stop_pipe(&self, cx: &Cx, tx: &Tx, input: &StopPipeRequest) -> Result<StopPipeResponse, Error> {
        self.stop(cx, tx, input)
    }

    fn tag_resource(&self, cx: &Cx, tx: &Tx, input: &TagResourceRequest) -> Result<TagResourceResponse, Error> {
        self.tag(cx, tx, input)
    }

    fn untag_resource(&self, cx: &Cx, tx: &Tx, input: &UntagResourceRequest) -> Result<UntagResourceResponse, Error> {
        self.untag(cx, tx, input)
    }

    fn update_pipe(&self, cx: &Cx, tx: &Tx, input: &UpdatePipeRequest) -> Result<UpdatePipeResponse, Error> {
        self.update(cx, tx, input)
    }
}
