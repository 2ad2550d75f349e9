//! The embedded back-end on real disks, and on simulated ones that fail.

mod backup;
mod behaviour;
mod crash;
mod directory;
mod fixture;
mod power;
mod simulated_disk;
mod workload;
