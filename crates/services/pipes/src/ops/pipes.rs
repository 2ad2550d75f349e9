//! Pipes: made, changed, started, stopped, deleted, shown, listed.

use base_types::Fault;
use model_pipes::{
    CreatePipeRequest, CreatePipeResponse, DeletePipeRequest, DeletePipeResponse, DescribePipeRequest,
    DescribePipeResponse, Error, ListPipesRequest, ListPipesResponse, Pipe as Listed, PipeState, RequestedPipeState,
    RequestedPipeStateDescribeResponse, StartPipeRequest, StartPipeResponse, StopPipeRequest, StopPipeResponse,
    UpdatePipeRequest, UpdatePipeResponse,
};
use services_kernel::{Cx, Quota, Quotas, Tags};
use store_api::Tx;
use wire_json::Members;
use wire_schema::{Seen, Shape, Survey};

use super::tags;
use crate::{
    Peers, Pipes,
    definition::{self, Definition},
    error::{invalid, no_pipe},
    names::Named,
    tables::{self, Pipe, State},
};

/// AWS's default.
const PIPES_MAX: Quota = Quota { name: "pipes.pipes", default: 1000 };
/// How many a listing gives unless asked for fewer.
const PAGE: i32 = 100;

fn state(state: State) -> PipeState {
    match state {
        State::Creating => PipeState::Creating,
        State::Updating => PipeState::Updating,
        State::Starting => PipeState::Starting,
        State::Running => PipeState::Running,
        State::Stopping => PipeState::Stopping,
        State::Stopped => PipeState::Stopped,
        State::Deleting => PipeState::Deleting,
        State::CreateFailed => PipeState::CreateFailed,
        State::UpdateFailed => PipeState::UpdateFailed,
        State::StartFailed => PipeState::StartFailed,
    }
}

fn desired(pipe: &Pipe) -> RequestedPipeState {
    if pipe.running { RequestedPipeState::Running } else { RequestedPipeState::Stopped }
}

fn desired_shown(pipe: &Pipe) -> RequestedPipeStateDescribeResponse {
    match pipe.state {
        State::Deleting => RequestedPipeStateDescribeResponse::Deleted,
        _ if pipe.running => RequestedPipeStateDescribeResponse::Running,
        _ => RequestedPipeStateDescribeResponse::Stopped,
    }
}

/// The document that is kept of a structure.
fn kept<S: Shape>(shape: Option<&S>) -> Option<String> {
    shape.map(|shape| String::from_utf8_lossy(&wire_json::encode(shape, Members::All)).into_owned())
}

/// The structure of what was kept.
fn shown<S: Shape + Default>(text: Option<&String>) -> Result<Option<S>, Fault> {
    let Some(text) = text else { return Ok(None) };
    let mut shape = S::default();
    wire_json::decode(text.as_bytes(), Members::All, &mut shape, &mut Seen::default(), &mut Survey::default())
        .map_err(|error| Fault::internal("read a pipe's parameters", error.0))?;
    Ok(Some(shape))
}

/// AWS answers these members to every change.
macro_rules! changed {
    ($response:ident, $named:expr, $pipe:expr, $desired:ident) => {
        $response {
            arn: Some($named.arn().to_string()),
            name: Some($named.name.clone()),
            desired_state: Some($desired($pipe)),
            current_state: Some(state($pipe.state)),
            creation_time: Some($pipe.created),
            last_modified_time: Some($pipe.modified),
        }
    };
}

impl<P: Peers> Pipes<P> {
    pub(crate) fn create(&self, cx: &Cx, tx: &Tx, input: &CreatePipeRequest) -> Result<CreatePipeResponse, Error> {
        let named = Named::of(cx, &input.name);
        cx.authorize::<Error>(tx, "pipes:CreatePipe", &named.arn())?;
        if tables::get(tx, &named)?.is_some() {
            return Err(Error::conflict_exception(format!("Pipe {} already exists.", input.name)));
        }
        let most = usize::try_from(Quotas::get(tx, cx, PIPES_MAX)?).unwrap_or(usize::MAX);
        if tables::page(tx, &named, None, most)?.len() >= most {
            return Err(Error::service_quota_exceeded_exception(format!(
                "The account has reached the limit of {most} pipes."
            )));
        }
        let pipe = Pipe {
            version: 1,
            created: tx.now(),
            modified: tx.now(),
            description: input.description.clone(),
            running: input.desired_state.unwrap_or_default() == RequestedPipeState::Running,
            state: State::Creating,
            reason: None,
            source: input.source.clone(),
            source_parameters: kept(input.source_parameters.as_ref()),
            enrichment: input.enrichment.clone(),
            enrichment_parameters: kept(input.enrichment_parameters.as_ref()),
            target: input.target.clone(),
            target_parameters: kept(input.target_parameters.as_ref()),
            role: input.role_arn.clone(),
            log: kept(input.log_configuration.as_ref()),
            kms_key: input.kms_key_identifier.clone(),
        };
        definition::check(cx, &named, &pipe)?;
        if let Ok(definition) = Definition::of(&named, &pipe) {
            self.begin_stream(cx, tx, &definition)?;
        }
        tables::put(tx, &named, &pipe)?;
        if let Some(given) = &input.tags {
            tags::put(tx, cx, &named.arn().to_string(), given)?;
        }
        Ok(changed!(CreatePipeResponse, named, &pipe, desired))
    }

    pub(crate) fn update(&self, cx: &Cx, tx: &Tx, input: &UpdatePipeRequest) -> Result<UpdatePipeResponse, Error> {
        let (named, mut pipe) = find(cx, tx, "pipes:UpdatePipe", &input.name)?;
        at_rest(&named, &pipe)?;
        // What is not given stays as it is.
        if let Some(description) = &input.description {
            pipe.description = Some(description.clone());
        }
        if let Some(desired) = input.desired_state {
            pipe.running = desired == RequestedPipeState::Running;
        }
        if input.source_parameters.is_some() {
            pipe.source_parameters = kept(input.source_parameters.as_ref());
        }
        if let Some(enrichment) = &input.enrichment {
            pipe.enrichment = Some(enrichment.clone()).filter(|arn| !arn.is_empty());
        }
        if input.enrichment_parameters.is_some() {
            pipe.enrichment_parameters = kept(input.enrichment_parameters.as_ref());
        }
        if let Some(target) = &input.target {
            pipe.target.clone_from(target);
        }
        if input.target_parameters.is_some() {
            pipe.target_parameters = kept(input.target_parameters.as_ref());
        }
        if input.log_configuration.is_some() {
            pipe.log = kept(input.log_configuration.as_ref());
        }
        if let Some(key) = &input.kms_key_identifier {
            pipe.kms_key = Some(key.clone()).filter(|key| !key.is_empty());
        }
        pipe.role.clone_from(&input.role_arn);
        definition::check(cx, &named, &pipe)?;
        change(tx, &named, &mut pipe, State::Updating)?;
        Ok(changed!(UpdatePipeResponse, named, &pipe, desired))
    }

    pub(crate) fn start(&self, cx: &Cx, tx: &Tx, input: &StartPipeRequest) -> Result<StartPipeResponse, Error> {
        let (named, mut pipe) = find(cx, tx, "pipes:StartPipe", &input.name)?;
        at_rest(&named, &pipe)?;
        if pipe.state != State::Running {
            pipe.running = true;
            change(tx, &named, &mut pipe, State::Starting)?;
        }
        Ok(changed!(StartPipeResponse, named, &pipe, desired))
    }

    pub(crate) fn stop(&self, cx: &Cx, tx: &Tx, input: &StopPipeRequest) -> Result<StopPipeResponse, Error> {
        let (named, mut pipe) = find(cx, tx, "pipes:StopPipe", &input.name)?;
        at_rest(&named, &pipe)?;
        if pipe.state != State::Stopped {
            pipe.running = false;
            change(tx, &named, &mut pipe, State::Stopping)?;
        }
        Ok(changed!(StopPipeResponse, named, &pipe, desired))
    }

    pub(crate) fn remove(&self, cx: &Cx, tx: &Tx, input: &DeletePipeRequest) -> Result<DeletePipeResponse, Error> {
        let (named, mut pipe) = find(cx, tx, "pipes:DeletePipe", &input.name)?;
        if pipe.state != State::Deleting {
            change(tx, &named, &mut pipe, State::Deleting)?;
        }
        Ok(changed!(DeletePipeResponse, named, &pipe, desired_shown))
    }

    pub(crate) fn describe(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &DescribePipeRequest,
    ) -> Result<DescribePipeResponse, Error> {
        let (named, pipe) = find(cx, tx, "pipes:DescribePipe", &input.name)?;
        let arn = named.arn().to_string();
        let all = Tags::get(tx, cx, &arn)?;
        Ok(DescribePipeResponse {
            tags: Some(all),
            arn: Some(arn),
            name: Some(named.name),
            desired_state: Some(desired_shown(&pipe)),
            current_state: Some(state(pipe.state)),
            source_parameters: shown(pipe.source_parameters.as_ref())?,
            enrichment_parameters: shown(pipe.enrichment_parameters.as_ref())?,
            target_parameters: shown(pipe.target_parameters.as_ref())?,
            log_configuration: shown(pipe.log.as_ref())?,
            description: pipe.description,
            state_reason: pipe.reason,
            source: Some(pipe.source),
            enrichment: pipe.enrichment,
            target: Some(pipe.target),
            role_arn: Some(pipe.role),
            creation_time: Some(pipe.created),
            last_modified_time: Some(pipe.modified),
            kms_key_identifier: pipe.kms_key,
        })
    }

    pub(crate) fn list(&self, cx: &Cx, tx: &Tx, input: &ListPipesRequest) -> Result<ListPipesResponse, Error> {
        let place = Named::of(cx, "*");
        cx.authorize::<Error>(tx, "pipes:ListPipes", &place.arn())?;
        let scope = [cx.account.as_str(), cx.region.as_str(), "ListPipes"];
        let after = match &input.next_token {
            Some(token) => {
                let cursor = self.tokens.open(&scope, token).map_err(|_| invalid("Invalid NextToken."))?;
                Some(String::from_utf8(cursor).map_err(|_| invalid("Invalid NextToken."))?)
            }
            None => None,
        };
        let wanted = usize::try_from(input.limit.unwrap_or(PAGE)).unwrap_or(1);
        let starts = |text: &str, prefix: Option<&String>| prefix.is_none_or(|prefix| text.starts_with(prefix));
        // There are few: AWS's limit is 1000.
        let most = usize::try_from(Quotas::get(tx, cx, PIPES_MAX)?).unwrap_or(usize::MAX);
        let mut pipes = Vec::new();
        let mut next_token = None;
        for (name, pipe) in tables::page(tx, &place, after.as_deref(), most)? {
            let fits = starts(&name, input.name_prefix.as_ref())
                && starts(&pipe.source, input.source_prefix.as_ref())
                && starts(&pipe.target, input.target_prefix.as_ref())
                && input.desired_state.is_none_or(|wanted| wanted == desired(&pipe))
                && input.current_state.is_none_or(|wanted| wanted == state(pipe.state));
            if !fits {
                continue;
            }
            if pipes.len() == wanted {
                let last = pipes.last().and_then(|pipe: &Listed| pipe.name.clone()).unwrap_or_default();
                next_token = Some(self.tokens.seal(&scope, last.as_bytes()));
                break;
            }
            let named = Named { name, ..place.clone() };
            pipes.push(Listed {
                arn: Some(named.arn().to_string()),
                name: Some(named.name),
                desired_state: Some(desired(&pipe)),
                current_state: Some(state(pipe.state)),
                state_reason: pipe.reason,
                creation_time: Some(pipe.created),
                last_modified_time: Some(pipe.modified),
                source: Some(pipe.source),
                target: Some(pipe.target),
                enrichment: pipe.enrichment,
            });
        }
        Ok(ListPipesResponse { pipes: Some(pipes), next_token })
    }
}

fn find(cx: &Cx, tx: &Tx, action: &str, name: &str) -> Result<(Named, Pipe), Error> {
    let named = Named::of(cx, name);
    cx.authorize::<Error>(tx, action, &named.arn())?;
    let pipe = tables::get(tx, &named)?.ok_or_else(|| no_pipe(name))?;
    Ok((named, pipe))
}

/// A pipe whose state is about to change has to be waited for.
fn at_rest(named: &Named, pipe: &Pipe) -> Result<(), Error> {
    if pipe.state.is_passing() {
        let state = state(pipe.state);
        return Err(Error::conflict_exception(format!("Pipe {} cannot be changed while it is {state}.", named.name)));
    }
    Ok(())
}

fn change(tx: &Tx, named: &Named, pipe: &mut Pipe, to: State) -> Result<(), Fault> {
    pipe.version += 1;
    pipe.modified = tx.now();
    pipe.state = to;
    tables::put(tx, named, pipe)
}
