//! The embedded back-end on real disks, and on simulated ones that fail.

mod behaviour;
mod fixture;
