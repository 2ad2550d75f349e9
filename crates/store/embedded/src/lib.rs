//! The embedded back-end: commit log, group commit, engines, blobs, backup.
