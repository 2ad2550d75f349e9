//! The embedded back-end on real disks, and on simulated ones that fail.

mod behaviour;
mod crash;
mod fixture;
mod power;
mod simulated_disk;
mod workload;
