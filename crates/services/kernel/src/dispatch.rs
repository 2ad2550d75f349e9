//! The dispatcher: the one place where a request's transaction begins and ends.
//!
//! A *transactional* operation runs inside it: begin → authorise and decide (the operation) → audit → commit → answer; the
//! answer leaves when the commit is durable. One that only reads runs over a snapshot and touches no conflict state. A
//! *data* operation (sending a message, putting an item) is the same without a record in the audit trail. A *flow*
//! operation opens short transactions itself and records its own change in the audit trail.
//!
//! A fault is logged here, once, with the request id; the client sees only the service's internal error.

use std::sync::Arc;

use base_types::FaultKind;
use store_api::{Store, Tx};
use wire_schema::{Class, Serve, ServiceError};

use crate::{Audit, Cx};

/// Runs operations of any service over one store. Cheap to clone.
#[derive(Clone)]
pub struct Dispatcher {
    store: Store,
}

impl Dispatcher {
    /// Over this store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Runs one validated request to its durable end.
    ///
    /// # Errors
    /// The operation's own error, or a fault in the service's form.
    pub async fn dispatch<M, S>(&self, service: &Arc<S>, cx: Cx, request: M::Request) -> Result<M::Response, M::Error>
    where
        M: Serve<S, Cx, Tx>,
        S: Send + Sync + 'static,
    {
        let operation = M::operation(&request);
        let request_id = Arc::clone(&cx.request_id);
        let outcome = match operation.class {
            Class::Flow => M::flow(service, &cx, request).await,
            Class::Transactional if operation.read_only => {
                let service = Arc::clone(service);
                self.store.view(move |tx| M::transact(&service, &cx, tx, &request)).await
            }
            Class::Data => {
                let service = Arc::clone(service);
                self.store.transact(move |tx| M::transact(&service, &cx, tx, &request)).await
            }
            Class::Transactional => {
                let service = Arc::clone(service);
                self.store
                    .transact(move |tx| {
                        let response = M::transact(&service, &cx, tx, &request)?;
                        Audit::record(tx, &cx, operation.action)?;
                        Ok(response)
                    })
                    .await
            }
        };
        if let Some(fault) = outcome.as_ref().err().and_then(ServiceError::fault) {
            let (service, operation) = (M::service().name, operation.name);
            match fault.kind() {
                FaultKind::Overloaded => tracing::warn!(%request_id, service, operation, ?fault, "overloaded"),
                FaultKind::Conflict | FaultKind::Unavailable | FaultKind::Internal => {
                    tracing::error!(%request_id, service, operation, ?fault, "request failed");
                }
            }
        }
        outcome
    }
}
