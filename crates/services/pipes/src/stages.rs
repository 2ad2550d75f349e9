//! What becomes of a batch: enrichment, target. Each step is told to the pipe's journal.

use std::sync::Arc;

use base_types::Arn;
use bytes::Bytes;
use serde_json::Value;
use services_kernel::{Cx, HOPS_MAX, Lineage, Passed};
use services_ports::{EndpointError, Endpoints as _, Invoke as _, InvokeError, QueueMessage};
use store_api::{Lease, Tx};

use crate::{
    Peers, Pipes,
    definition::{Definition, Peer},
    event,
    journal::{Data, Failed, Journal, Phase, Turn},
    poller::{Poller, Stop},
    target::{self, Failures},
};

/// The queue's system attribute that carries the trace.
const TRACE: &str = "AWSTraceHeader";
/// The greatest answer of an enrichment (AWS: 6 MB).
const ENRICHED_BYTES_MAX: usize = 6 * 1024 * 1024;
/// Of a target's answer nothing is wanted.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// An event on its way, and the message that it came from (none behind an enrichment).
struct Item {
    event: Value,
    message: Option<usize>,
}

/// Events on their way together.
pub(crate) struct Batch {
    items: Vec<Item>,
    /// Messages that were taken, those of no event included.
    messages: usize,
    trace: String,
    /// They have come through the pipe too often.
    looped: bool,
}

/// What a target did with a batch.
#[derive(Default)]
pub(crate) struct Handed {
    /// Messages that have to stay in the queue, by their place in the batch.
    pub(crate) kept: Vec<usize>,
    /// Why.
    pub(crate) failure: Option<Failed>,
}

impl Batch {
    /// The events of the messages that the filters let through; the others are done with.
    pub(crate) fn of(definition: &Definition, messages: &[QueueMessage]) -> Self {
        let records = messages.iter().map(|message| event::record(message, &definition.source)).enumerate();
        let passing = records.filter(|(_, record)| event::passes(&definition.patterns, record));
        let items = passing.map(|(index, event)| Item { event, message: Some(index) }).collect();
        let (trace, looped) = trace(definition, messages);
        Self { items, messages: messages.len(), trace, looped }
    }

    /// An execution begins, if there is anything to execute.
    pub(crate) fn begin(&self, journal: &mut Journal) {
        if !self.items.is_empty() {
            journal.note_with(Phase::Execution, Turn::Started, Data::Payload, || self.document());
        }
    }

    fn document(&self) -> String {
        let events: Vec<&Value> = self.items.iter().map(|item| &item.event).collect();
        serde_json::to_string(&events).unwrap_or_default()
    }

    fn all(&self) -> Vec<usize> {
        (0..self.messages).collect()
    }
}

/// The trace of a batch with this pipe in its lineage; whether it has come through the pipe too often.
fn trace(definition: &Definition, messages: &[QueueMessage]) -> (String, bool) {
    let traces: Vec<&str> =
        messages.iter().filter_map(|message| message.system.get(TRACE)).map(String::as_str).collect();
    let mut lineage = Lineage::default();
    for trace in &traces {
        lineage.merge(&Lineage::of(trace));
    }
    let here = Passed::by(&definition.named.arn().to_string());
    let looped = lineage.count(here) >= u32::from(HOPS_MAX);
    lineage.pass(here);
    (lineage.apply(traces.first().copied().unwrap_or_default()), looped)
}

fn looped() -> Failed {
    Failed::new("its messages have come through it too often")
}

/// Several texts as one document: an array, whatever their number.
fn array(payloads: impl IntoIterator<Item = String>) -> String {
    Value::Array(payloads.into_iter().map(target::as_json).collect()).to_string()
}

impl<P: Peers> Poller<P> {
    /// Enriches and hands over what was taken, and deletes what is done; answers why some messages stay.
    pub(crate) async fn work_off(
        &self,
        lease: &Lease,
        lane: u64,
        messages: &Arc<Vec<QueueMessage>>,
        journal: &mut Journal,
    ) -> Result<Option<Failed>, Stop> {
        let definition = &self.definition;
        let mut batch = Batch::of(definition, messages);
        batch.begin(journal);
        let mut cx = self.context();
        cx.trace = Some(Arc::from(batch.trace.as_str()));
        if batch.looped && !batch.items.is_empty() {
            journal.fail(Phase::Execution, Turn::Failed, &looped());
            return Err(Stop::Failed(looped()));
        }
        if !batch.items.is_empty()
            && let Some(enrichment) = &definition.enrichment
        {
            journal.note(Phase::EnrichmentStage, Turn::Entered);
            match self.enrich(&cx, enrichment, &batch, journal).await {
                Ok(items) => {
                    journal.note_with(Phase::EnrichmentStage, Turn::Succeeded, Data::Payload, || {
                        let events: Vec<&Value> = items.iter().map(|item| &item.event).collect();
                        serde_json::to_string(&events).unwrap_or_default()
                    });
                    batch.items = items;
                }
                Err(stop) => {
                    if let Stop::Failed(failed) = &stop {
                        journal.fail(Phase::EnrichmentStage, Turn::Failed, failed);
                        journal.fail(Phase::Execution, Turn::Failed, failed);
                    }
                    return Err(stop);
                }
            }
            if batch.items.is_empty() {
                journal.note(Phase::TargetStage, Turn::Skipped);
                journal.note(Phase::Execution, Turn::Succeeded);
            }
        }
        let mut handed = Handed::default();
        if let Some(peer) = definition.waits.filter(|_| !batch.items.is_empty()) {
            handed = self.ask_target(&cx, peer, &batch, messages, journal).await?;
            batch.items.clear();
        }
        let (pipes, definition, messages) = (self.pipes.clone(), Arc::clone(definition), Arc::clone(messages));
        let (lease, begun, batch) = (lease.clone(), journal.clone(), Arc::new(batch));
        let Handed { kept, failure } = handed;
        let ended = self.pipes.store.transact(move |tx| {
            tx.require(&lease)?;
            let mut journal = begun.clone();
            let mut handed = pipes.hand_over(&cx, tx, &definition, &batch, &mut journal)?;
            handed.kept.extend(&kept);
            pipes.finish(&cx, tx, &definition, lane, &messages, &handed.kept)?;
            Ok::<_, Stop>((handed.failure, journal))
        });
        match ended.await {
            Ok((late, ended)) => {
                *journal = ended;
                Ok(late.or(failure))
            }
            Err(stop) => {
                if let Stop::Failed(failed) = &stop {
                    for phase in [Phase::TargetInvocation, Phase::TargetStage, Phase::Execution] {
                        journal.fail(phase, Turn::Failed, failed);
                    }
                }
                Err(stop)
            }
        }
    }

    /// What the enrichment makes of a batch.
    async fn enrich(&self, cx: &Cx, enrichment: &Arn, batch: &Batch, journal: &mut Journal) -> Result<Vec<Item>, Stop> {
        let (template, transformation) =
            (self.definition.enrichment_template.as_deref(), Phase::EnrichmentTransformation);
        let payloads = self.transformed(template, &batch.items, transformation, journal)?;
        let parameters = &self.definition.enrichment_parameters;
        let (phase, peer) = (Phase::EnrichmentInvocation, Peer::of(enrichment).unwrap_or(Peer::Function));
        let mut enriched = Vec::new();
        for answer in self.ask(cx, enrichment, peer, parameters, &batch.items, payloads, phase, journal).await? {
            if answer.is_empty() {
                continue;
            }
            match serde_json::from_slice::<Value>(&answer) {
                Ok(Value::Array(events)) => enriched.extend(events),
                Ok(event) => enriched.push(event),
                Err(_) => {
                    return Err(Stop::Failed(
                        Failed::new("the enrichment's answer is not JSON").by(&enrichment.service),
                    ));
                }
            }
        }
        // AWS: an empty answer ends the batch.
        let said = |event: &Value| match event {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            Value::Object(members) => !members.is_empty(),
            _ => true,
        };
        Ok(enriched.into_iter().filter(said).map(|event| Item { event, message: None }).collect())
    }

    /// Asks a target whose answer is waited for.
    async fn ask_target(
        &self,
        cx: &Cx,
        peer: Peer,
        batch: &Batch,
        messages: &[QueueMessage],
        journal: &mut Journal,
    ) -> Result<Handed, Stop> {
        journal.note(Phase::TargetStage, Turn::Entered);
        let outcome = self.asked_target(cx, peer, batch, messages, journal).await;
        let (stage, whole) = (Phase::TargetStage, Phase::Execution);
        match &outcome {
            Ok(Handed { failure: None, .. }) => {
                journal.note(stage, Turn::Succeeded);
                journal.note(whole, Turn::Succeeded);
            }
            Ok(Handed { failure: Some(failed), .. }) => {
                journal.fail(stage, Turn::PartiallyFailed, failed);
                journal.fail(whole, Turn::PartiallyFailed, failed);
            }
            Err(Stop::Failed(failed)) => {
                journal.fail(stage, Turn::Failed, failed);
                journal.fail(whole, Turn::Failed, failed);
            }
            Err(Stop::Fault(_)) => {}
        }
        outcome
    }

    async fn asked_target(
        &self,
        cx: &Cx,
        peer: Peer,
        batch: &Batch,
        messages: &[QueueMessage],
        journal: &mut Journal,
    ) -> Result<Handed, Stop> {
        let Definition { target, template, parameters, .. } = &*self.definition;
        let payloads = self.transformed(template.as_deref(), &batch.items, Phase::TargetTransformation, journal)?;
        let phase = Phase::TargetInvocation;
        let answers = self.ask(cx, target, peer, parameters, &batch.items, payloads, phase, journal).await?;
        let answer = match (peer, answers.first()) {
            (Peer::Function, Some(answer)) => answer,
            _ => return Ok(Handed::default()),
        };
        let failed = |message: String| Failed::new(message).by(&target.service);
        match target::failures(answer) {
            None => Ok(Handed::default()),
            Some(Failures::All) => Err(Stop::Failed(failed("the function failed with the whole batch".to_owned()))),
            Some(Failures::Some(ids)) => {
                if let Some(unknown) = ids.iter().find(|id| !messages.iter().any(|message| message.id == **id)) {
                    let message = format!("the function failed with `{unknown}`, which it was not given");
                    return Err(Stop::Failed(failed(message)));
                }
                let kept: Vec<usize> = (0..messages.len()).filter(|index| ids.contains(&messages[*index].id)).collect();
                let failure = (!kept.is_empty()).then(|| failed("the function failed with some messages".to_owned()));
                if let Some(failed) = &failure {
                    journal.fail(phase, Turn::PartiallyFailed, failed);
                }
                Ok(Handed { kept, failure })
            }
        }
    }

    /// What a template makes of each event.
    fn transformed(
        &self,
        template: Option<&str>,
        items: &[Item],
        phase: Phase,
        journal: &mut Journal,
    ) -> Result<Vec<String>, Stop> {
        let variables = self.definition.variables(self.pipes.env.now().to_iso8601());
        if template.is_some() {
            journal.note(phase, Turn::Started);
        }
        let made: Result<Vec<String>, _> =
            items.iter().map(|item| target::payload(template, &item.event, &variables)).collect();
        match made {
            Ok(payloads) => {
                if template.is_some() {
                    journal.note_with(phase, Turn::Succeeded, Data::Payload, || array(payloads.clone()));
                }
                Ok(payloads)
            }
            Err(error) => {
                let failed = Failed::new(error.to_string());
                journal.fail(phase, Turn::Failed, &failed);
                Err(Stop::Failed(failed))
            }
        }
    }

    /// Asks and waits: a function once with an array, an API destination once for each event.
    #[expect(clippy::too_many_arguments, reason = "who is asked, what, and where it is told")]
    async fn ask(
        &self,
        cx: &Cx,
        whom: &Arn,
        peer: Peer,
        parameters: &Value,
        items: &[Item],
        payloads: Vec<String>,
        phase: Phase,
        journal: &mut Journal,
    ) -> Result<Vec<Bytes>, Stop> {
        let mut answers = Vec::new();
        let outcome = match peer {
            Peer::Function => {
                let payload = array(payloads);
                journal.note_with(phase, Turn::Started, Data::Request, || payload.clone());
                self.invoke(cx, whom, Bytes::from(payload)).await.map(|answer| answers.push(answer))
            }
            Peer::Endpoint => {
                let most = if phase == Phase::EnrichmentInvocation { ENRICHED_BYTES_MAX } else { ANSWER_BYTES_MAX };
                let mut outcome = Ok(());
                for (item, payload) in items.iter().zip(payloads) {
                    journal.note_with(phase, Turn::Started, Data::Request, || payload.clone());
                    let call = target::endpoint_call(parameters, &item.event, payload, most);
                    match Box::pin(self.pipes.peers.endpoints().call(cx, whom, call)).await {
                        Ok(answer) => answers.push(answer),
                        Err(error) => {
                            outcome = Err(endpoint_failed(whom, error));
                            break;
                        }
                    }
                }
                outcome
            }
        };
        match outcome {
            Ok(()) => {
                journal.note_with(phase, Turn::Succeeded, Data::Response, || {
                    let texts = answers.iter().map(|answer| String::from_utf8_lossy(answer).into_owned());
                    if peer == Peer::Function { texts.collect() } else { array(texts) }
                });
                Ok(answers)
            }
            Err(stop) => {
                if let Stop::Failed(failed) = &stop {
                    journal.fail(phase, Turn::Failed, failed);
                }
                Err(stop)
            }
        }
    }

    async fn invoke(&self, cx: &Cx, function: &Arn, payload: Bytes) -> Result<Bytes, Stop> {
        let failed = |message: String| Err(Stop::Failed(Failed::new(message).by(&function.service)));
        match Box::pin(self.pipes.peers.functions().invoke(cx, function, payload)).await {
            Ok(answer) if answer.function_error.is_none() => Ok(answer.payload),
            Ok(_) => failed(format!("the function {function} failed")),
            Err(InvokeError::Fault(fault)) => Err(Stop::Fault(fault)),
            Err(error) => failed(error.to_string()),
        }
    }
}

fn endpoint_failed(endpoint: &Arn, error: EndpointError) -> Stop {
    let (status, message) = match error {
        EndpointError::Fault(fault) => return Stop::Fault(fault),
        EndpointError::Failed { status, reason } => (status, format!("{endpoint}: {reason}")),
        error => (None, error.to_string()),
    };
    Stop::Failed(Failed { status, ..Failed::new(message).by(&endpoint.service) })
}

impl<P: Peers> Pipes<P> {
    /// Hands events to a target that takes deliveries. Behind an enrichment nobody knows which message an event came from:
    /// then all go or none.
    pub(crate) fn hand_over(
        &self,
        cx: &Cx,
        tx: &Tx,
        definition: &Definition,
        batch: &Batch,
        journal: &mut Journal,
    ) -> Result<Handed, Stop> {
        if batch.items.is_empty() {
            return Ok(Handed::default());
        }
        if batch.looped {
            journal.fail(Phase::Execution, Turn::Failed, &looped());
            return Ok(Handed { kept: batch.all(), failure: Some(looped()) });
        }
        journal.note(Phase::TargetStage, Turn::Entered);
        let outcome = self.delivered(cx, tx, definition, batch, journal);
        let (stage, whole) = (Phase::TargetStage, Phase::Execution);
        match &outcome {
            Ok(Handed { failure: None, .. }) => {
                journal.note(stage, Turn::Succeeded);
                journal.note(whole, Turn::Succeeded);
            }
            Ok(Handed { kept, failure: Some(failed) }) => {
                let turn = if kept.len() < batch.items.len() { Turn::PartiallyFailed } else { Turn::Failed };
                for phase in [Phase::TargetInvocation, stage, whole] {
                    journal.fail(phase, turn, failed);
                }
            }
            Err(_) => {}
        }
        outcome
    }

    fn delivered(
        &self,
        cx: &Cx,
        tx: &Tx,
        definition: &Definition,
        batch: &Batch,
        journal: &mut Journal,
    ) -> Result<Handed, Stop> {
        let variables = definition.variables(tx.now().to_iso8601());
        let template = definition.template.as_deref();
        if template.is_some() {
            journal.note(Phase::TargetTransformation, Turn::Started);
        }
        let mut handed = Handed::default();
        let mut ready = Vec::with_capacity(batch.items.len());
        for item in &batch.items {
            match (target::payload(template, &item.event, &variables), item.message) {
                (Ok(body), _) => ready.push((item, body)),
                (Err(error), Some(message)) => {
                    handed.kept.push(message);
                    handed.failure = Some(Failed::new(error.to_string()));
                }
                (Err(error), None) => return Err(Stop::Failed(Failed::new(error.to_string()))),
            }
        }
        let payload = || array(ready.iter().map(|(_, body)| body.clone()));
        if template.is_some() {
            journal.note_with(Phase::TargetTransformation, Turn::Succeeded, Data::Payload, payload);
        }
        journal.note_with(Phase::TargetInvocation, Turn::Started, Data::Request, payload);
        let trace = || Some(batch.trace.clone());
        if definition.target.service == "lambda" {
            let body = array(ready.into_iter().map(|(_, body)| body));
            let delivery = target::delivery(definition, &Value::Null, body, trace());
            self.destinations.deliver(cx, tx, &definition.target, &delivery)?;
        } else {
            for (item, body) in ready {
                let delivery = target::delivery(definition, &item.event, body, trace());
                let delivered = self.destinations.deliver(cx, tx, &definition.target, &delivery).map_err(Stop::from);
                match (delivered, item.message) {
                    (Ok(()), _) => {}
                    (Err(Stop::Failed(failed)), Some(message)) => {
                        handed.kept.push(message);
                        handed.failure = Some(failed.by(&definition.target.service));
                    }
                    (Err(stop), _) => return Err(stop),
                }
            }
        }
        if handed.failure.is_none() {
            journal.note(Phase::TargetInvocation, Turn::Succeeded);
        }
        Ok(handed)
    }
}
