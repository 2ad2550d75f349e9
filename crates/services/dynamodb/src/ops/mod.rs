//! The operations.

mod backups;
mod batch;
mod create;
mod describe;
mod elsewhere;
mod items;
mod page;
mod policies;
mod query;
mod restores;
mod rows;
mod settings;
mod statement_transaction;
mod statements;
mod tables;
mod tags;
mod transactions;

pub(crate) use backups::Backup;
