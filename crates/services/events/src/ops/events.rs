//! `PutEvents`.

use model_events::{Error, PutEventsRequest, PutEventsRequestEntry, PutEventsResponse, PutEventsResultEntry};
use services_kernel::{Cx, Lineage};
use store_api::Tx;
use wire_schema::ServiceError;

use super::buses::permitted;
use crate::{
    EventBridge,
    error::invalid,
    event::{Event, detail},
    names::BusName,
};

/// What the entries of a request may have together (AWS: 1 MiB since 2026, 256 KiB before).
const REQUEST_BYTES_MAX: usize = 1_048_576;
/// What a time counts for.
const TIME_BYTES: usize = 14;

/// Why an entry is not accepted: AWS's code and message.
type Refused = (&'static str, String);

impl EventBridge {
    pub(crate) fn put(&self, cx: &Cx, tx: &Tx, input: &PutEventsRequest) -> Result<PutEventsResponse, Error> {
        if input.entries.iter().map(size).sum::<usize>() > REQUEST_BYTES_MAX {
            return Err(invalid("Total size of the entries in the request is over the limit."));
        }
        let (mut failed, mut entries) = (0, Vec::with_capacity(input.entries.len()));
        for entry in &input.entries {
            entries.push(match self.put_one(cx, tx, entry)? {
                Ok(id) => PutEventsResultEntry { event_id: Some(id), ..PutEventsResultEntry::default() },
                Err((code, message)) => {
                    failed += 1;
                    PutEventsResultEntry {
                        error_code: Some(code.to_owned()),
                        error_message: Some(message),
                        ..PutEventsResultEntry::default()
                    }
                }
            });
        }
        Ok(PutEventsResponse { failed_entry_count: Some(failed), entries: Some(entries) })
    }

    fn put_one(&self, cx: &Cx, tx: &Tx, entry: &PutEventsRequestEntry) -> Result<Result<String, Refused>, Error> {
        let (source, detail_type, detail) = match read(entry) {
            Ok(read) => read,
            Err(refused) => return Ok(Err(refused)),
        };
        let event = Event {
            id: self.env.uuid(),
            detail_type: detail_type.to_owned(),
            source: source.to_owned(),
            account: cx.account,
            region: cx.region.clone(),
            time: entry.time.unwrap_or_else(|| tx.now()),
            resources: entry.resources.clone().unwrap_or_default(),
            detail,
            ingested: tx.now(),
            replay: None,
            trace: trace(cx, entry.trace_header.as_deref()),
        };
        let bus = BusName::given(cx, entry.event_bus_name.as_deref())?;
        match permitted(cx, tx, &bus, "events:PutEvents") {
            Ok(_) => self.publish(cx, tx, &bus, &event, false, None)?,
            // AWS accepts events for a bus that is not there; nobody gets them.
            Err(Error::ResourceNotFoundException(_)) => {}
            Err(error @ Error::AccessDeniedException(_)) => {
                return Ok(Err(("AccessDeniedException", error.message().to_owned())));
            }
            Err(error) => return Err(error),
        }
        Ok(Ok(event.id))
    }
}

/// The fields that an event needs.
fn read(entry: &PutEventsRequestEntry) -> Result<(&str, &str, String), Refused> {
    fn required<'a>(value: Option<&'a String>, name: &str) -> Result<&'a str, Refused> {
        value.map(String::as_str).filter(|value| !value.is_empty()).ok_or_else(|| {
            let message = format!("Parameter {name} is not valid. Reason: {name} is a required argument.");
            ("InvalidArgument", message)
        })
    }
    let source = required(entry.source.as_ref(), "Source")?;
    if source.starts_with("aws.") {
        return Err(("NotAuthorizedForSourceException", "Not authorized for the source.".to_owned()));
    }
    let detail_type = required(entry.detail_type.as_ref(), "DetailType")?;
    let text = required(entry.detail.as_ref(), "Detail")?;
    let detail = detail(text).ok_or_else(|| ("MalformedDetail", "Detail is malformed.".to_owned()))?;
    Ok((source, detail_type, detail))
}

/// What an entry counts for.
fn size(entry: &PutEventsRequestEntry) -> usize {
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    entry.time.map_or(0, |_| TIME_BYTES)
        + length(&entry.source)
        + length(&entry.detail_type)
        + length(&entry.detail)
        + entry.resources.iter().flatten().map(String::len).sum::<usize>()
}

/// The trace that an event carries on: its own, with the chain that the request belongs to.
fn trace(cx: &Cx, own: Option<&str>) -> Option<String> {
    let mut lineage = cx.trace.as_deref().map(Lineage::of).unwrap_or_default();
    match (own, cx.trace.as_deref()) {
        (None, trace) => trace.map(str::to_owned),
        (Some(own), _) => {
            lineage.merge(&Lineage::of(own));
            Some(lineage.apply(own))
        }
    }
}
