//! Placement, concurrency and keep-alive of execution environments.
