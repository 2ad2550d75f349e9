//! The operations.

mod backups;
mod batch;
mod create;
mod describe;
mod items;
mod page;
mod policies;
mod query;
mod settings;
mod tables;
mod tags;
mod transactions;
