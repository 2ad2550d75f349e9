//! CloudWatch Logs: groups, streams, events, retention, filters.
