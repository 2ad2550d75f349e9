//! Compressed append-only log segments.
