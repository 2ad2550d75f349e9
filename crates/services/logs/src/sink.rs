//! The port that takes functions' output: no commit and no wait for the disk, but back-pressure.

use base_types::{Fault, FaultKind};
use services_kernel::Cx;
use services_ports::{LogAppendError, LogLine, LogSink, LogTarget};
use store_api::Tx;
use store_segments::{Batch, Durability, Entry, GroupId, StreamId};

use crate::{
    CloudWatchLogs,
    batch::{BATCH_BYTES_MAX, EVENT_OVERHEAD_BYTES},
    names,
    tables::{Group, Place},
};

/// The longest message of one event.
const MESSAGE_BYTES_MAX: usize = BATCH_BYTES_MAX - EVENT_OVERHEAD_BYTES;

impl LogSink for CloudWatchLogs {
    fn ensure_stream(&self, cx: &Cx, tx: &Tx, group: &str, stream: &str) -> Result<LogTarget, Fault> {
        let unusable =
            |error| Fault::new(FaultKind::Internal, format!("log to `{group}`, `{stream}`")).caused_by(error);
        names::check_group(group).and_then(|()| names::check_stream(stream)).map_err(unusable)?;
        let place = Place::of(cx);
        let group_row = match place.group(tx, group)? {
            Some(row) => row,
            None => {
                let row = Group {
                    id: self.new_id(),
                    created: tx.now(),
                    retention_days: None,
                    kms_key_id: None,
                    deletion_protected: false,
                };
                place.put_group(tx, group, &row)?;
                row
            }
        };
        let stream_row = match place.stream(tx, &group_row.id, stream)? {
            Some(row) => row,
            None => {
                let row = self.new_stream(tx);
                place.put_new_stream(tx, &group_row.id, stream, &row)?;
                row
            }
        };
        Ok(LogTarget { group: u128::from_be_bytes(group_row.id), stream: u128::from_be_bytes(stream_row.id) })
    }

    async fn append(&self, target: &LogTarget, lines: Vec<LogLine>) -> Result<(), LogAppendError> {
        if self.deleted.contains(target.group) || self.deleted.contains(target.stream) {
            return Err(LogAppendError::Gone);
        }
        let mut events = Vec::with_capacity(lines.len());
        let mut bytes = 0;
        for LogLine { timestamp, text } in lines {
            let mut rest = text;
            loop {
                let message = rest.split_to(cut(&rest));
                let size = message.len() + EVENT_OVERHEAD_BYTES;
                if bytes + size > BATCH_BYTES_MAX {
                    self.append_part(target, std::mem::take(&mut events)).await?;
                    bytes = 0;
                }
                bytes += size;
                events.push(Entry { timestamp, message });
                if rest.is_empty() {
                    break;
                }
            }
        }
        self.append_part(target, events).await
    }
}

/// How much of a text fits into one event, without cutting a character.
fn cut(text: &[u8]) -> usize {
    if text.len() <= MESSAGE_BYTES_MAX {
        return text.len();
    }
    // A character has at most four bytes; what has no border there is not UTF-8 and may be cut anywhere.
    let is_border = |&at: &usize| text.get(at).is_none_or(|byte| byte & 0xc0 != 0x80);
    (MESSAGE_BYTES_MAX - 3..=MESSAGE_BYTES_MAX).rev().find(is_border).unwrap_or(MESSAGE_BYTES_MAX)
}

impl CloudWatchLogs {
    async fn append_part(&self, target: &LogTarget, events: Vec<Entry>) -> Result<(), LogAppendError> {
        let batch =
            Batch { group: GroupId(target.group), stream: StreamId(target.stream), ingestion: self.env.now(), events };
        let appended = self.segments.append(batch, Durability::Buffered).await;
        appended.map_err(|error| LogAppendError::Fault(error.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_between_characters() {
        assert_eq!(cut(b"short"), 5);
        assert_eq!(cut(&vec![b'x'; MESSAGE_BYTES_MAX + 1]), MESSAGE_BYTES_MAX);
        let text = "é".repeat(MESSAGE_BYTES_MAX);
        assert!(text.is_char_boundary(cut(text.as_bytes())));
        let shifted = format!("x{text}");
        assert!(shifted.is_char_boundary(cut(shifted.as_bytes())));
        assert_eq!(cut(&vec![0x80; MESSAGE_BYTES_MAX + 9]), MESSAGE_BYTES_MAX);
    }
}
