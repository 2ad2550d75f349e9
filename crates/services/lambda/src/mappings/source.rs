//! What a mapping may take its records from.

use base_types::Arn;

/// A kind of source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// An SQS queue.
    Queue {
        /// Whether it is first-in-first-out.
        fifo: bool,
    },
    /// A stream of records in shards.
    Stream(Stream),
}

/// The streams that AWS has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Of the changes of a DynamoDB table.
    Table,
    /// Of Kinesis.
    Kinesis,
}

/// Why something is no source. The texts are AWS's where AWS has one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SourceError {
    /// Nothing that AWS knows.
    #[error("Unrecognized event source.")]
    Unrecognized,
    /// Something that AWS has and Pileus has not.
    #[error("{0} as event source")]
    Missing(&'static str),
}

impl Source {
    /// The kind of the source with this ARN.
    pub(crate) fn of(arn: &Arn) -> Result<Self, SourceError> {
        let plain = !arn.resource.is_empty() && !arn.resource.contains([':', '/']);
        match arn.service.as_str() {
            "sqs" if plain => Ok(Self::Queue { fifo: arn.resource.ends_with(".fifo") }),
            "dynamodb" if arn.resource.starts_with("table/") && arn.resource.contains("/stream/") => {
                Ok(Self::Stream(Stream::Table))
            }
            "kinesis" if arn.resource.starts_with("stream/") => Ok(Self::Stream(Stream::Kinesis)),
            "kafka" => Err(SourceError::Missing("Amazon MSK")),
            "mq" => Err(SourceError::Missing("Amazon MQ")),
            "rds" => Err(SourceError::Missing("Amazon DocumentDB")),
            _ => Err(SourceError::Unrecognized),
        }
    }

    /// The records of a batch unless it is said.
    pub(crate) fn batch_size(self) -> u32 {
        match self {
            Self::Queue { .. } => 10,
            Self::Stream(_) => 100,
        }
    }
}

impl Stream {
    /// What serves it, by name.
    pub(crate) fn service(self) -> &'static str {
        match self {
            Self::Table => "DynamoDB Streams",
            Self::Kinesis => "Kinesis",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_known_by_its_arn() {
        for (arn, source) in [
            ("arn:aws:sqs:us-east-1:111111111111:q", Ok(Source::Queue { fifo: false })),
            ("arn:aws:sqs:us-east-1:111111111111:q.fifo", Ok(Source::Queue { fifo: true })),
            (
                "arn:aws:dynamodb:us-east-1:111111111111:table/t/stream/2026-01-01T00:00:00.000",
                Ok(Source::Stream(Stream::Table)),
            ),
            ("arn:aws:dynamodb:us-east-1:111111111111:table/t", Err(SourceError::Unrecognized)),
            ("arn:aws:kinesis:us-east-1:111111111111:stream/s", Ok(Source::Stream(Stream::Kinesis))),
            ("arn:aws:kafka:us-east-1:111111111111:cluster/c/x", Err(SourceError::Missing("Amazon MSK"))),
            ("arn:aws:mq:us-east-1:111111111111:broker:b:x", Err(SourceError::Missing("Amazon MQ"))),
            ("arn:aws:sns:us-east-1:111111111111:t", Err(SourceError::Unrecognized)),
        ] {
            assert_eq!(Source::of(&arn.parse().unwrap()), source, "{arn}");
        }
    }
}
