//! Events of a model in frames. Guarantee: the stream ends when the model's does; a fault, or an event that no frame can
//! hold, breaks it.

use std::task::{Context, Poll, ready};

use base_stream::{ByteStream, Pieces};
use base_types::{Fault, FaultKind};
use bytes::Bytes;
use wire_json::Members;
use wire_schema::{EventSource, Kind, Location, Shape, Value};

use crate::frame::{Frame, Header, TooLarge};

/// The events of `source` as a body.
#[must_use]
pub fn body(source: Box<dyn EventSource>) -> ByteStream {
    ByteStream::new(Frames { source, ended: false })
}

struct Frames {
    source: Box<dyn EventSource>,
    ended: bool,
}

impl Pieces for Frames {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let outcome = ready!(self.source.poll_event(cx)).map(|outcome| outcome.and_then(event));
        self.ended = !matches!(outcome, Some(Ok(_)));
        Poll::Ready(outcome)
    }
}

/// The frame of one event. `union` has one member, whose name is the event's type.
///
/// # Errors
/// A fault, when the union is empty or the event exceeds a frame.
pub fn event(union: &dyn Shape) -> Result<Bytes, Fault> {
    let members = union.schema().members().iter().enumerate();
    let present = members.filter_map(|(index, member)| Some((member.name, union.value(index)?))).next();
    let Some((name, Value::Structure(event))) = present else {
        return Err(Fault::new(FaultKind::Internal, format!("an event of `{}` is none", union.schema().name)));
    };
    frame(name, event).map_err(|error| Fault::new(FaultKind::Internal, format!("`{name}`: {error}")))
}

fn frame(name: &str, event: &dyn Shape) -> Result<Bytes, TooLarge> {
    let members = || event.schema().members().iter().enumerate();
    let payload = members().find(|(_, member)| member.location == Location::EventPayload);
    let (content_type, document) = match payload.map(|(index, _)| event.value(index)) {
        Some(Some(Value::Blob(bytes))) => ("application/octet-stream", bytes.clone()),
        Some(Some(Value::String(text))) => ("text/plain", Bytes::copy_from_slice(text.as_bytes())),
        Some(Some(Value::Structure(shape))) => ("application/json", wire_json::encode(shape, Members::All).into()),
        Some(_) => ("application/octet-stream", Bytes::new()),
        None => ("application/json", wire_json::encode(event, Members::Body).into()),
    };
    let mut frame = Frame::new(document.len());
    frame.text(":message-type", "event")?;
    frame.text(":event-type", name)?;
    frame.text(":content-type", content_type)?;
    for (index, member) in members().filter(|(_, member)| member.location == Location::EventHeader) {
        let value = match (event.value(index), &member.schema.kind) {
            (Some(Value::String(text)), _) => Header::String(text.to_owned()),
            (Some(Value::Boolean(value)), _) => Header::Boolean(value),
            (Some(Value::Integer(value)), Kind::Integer) => {
                Header::Integer(i32::try_from(value).map_err(|_| TooLarge)?)
            }
            (Some(Value::Integer(value)), _) => Header::Long(value),
            (Some(Value::Blob(bytes)), _) => Header::Bytes(bytes.clone()),
            (Some(Value::Timestamp(instant)), _) => {
                Header::Timestamp(i64::try_from(instant.as_millis()).unwrap_or(i64::MAX))
            }
            _ => continue,
        };
        frame.header(member.wire_name, &value)?;
    }
    frame.finish(&document)
}
