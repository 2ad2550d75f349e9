//! What every service shares, once.
//!
//! | file | what |
//! |---|---|
//! | [`context`](Cx) | who asks, from where, on whose behalf, how deep: the [`Cx`] that every operation and every port receives |
//! | [`answer`](AnswerHeaders) | what an operation says beside its answer: headers beyond the model |
//! | [`Cx::authorize`] | the one seam through which an operation asks "may they?" |
//! | [`policies`](resource_policy) | policies of resources, read once |
//! | [`dispatch`](Dispatcher) | owns the transaction: begin → authorise → operation → audit → commit → answer |
//! | [`tags`](Tags) | tags of any resource, by its ARN |
//! | [`page_tokens`](PageTokens) | sealed pagination tokens: opaque, bound to the request they continue |
//! | [`idempotency`](Idempotency) | the answer to a client token, stored in the same commit as its effect |
//! | [`quotas`](Quotas) | named limits with their defaults and what an operator raised them to |
//! | [`blob_sweep`](BlobSweep) | gives back the disk of blobs that nothing refers to |
//! | [`audit`](Audit) | who changed what, in the same commit as the change |
//! | [`lineage`](Lineage) | how often a chain of consequences has come by each resource, for the recursion guards |
//! | [`reconcile`](Reconciler) | background work: no input, looks at the store, does what is due, is idempotent |
//!
//! Invariants: nothing here knows a single service; nothing here opens a transaction except the dispatcher and the
//! reconcilers; a service's operation never commits.

mod answer;
mod audit;
mod authorize;
mod blob_sweep;
mod context;
mod dispatch;
mod idempotency;
mod lineage;
mod page_tokens;
mod policies;
mod quotas;
mod reconcile;
mod tags;

pub use answer::AnswerHeaders;
pub use audit::{Audit, AuditRecord, AuditRetention};
pub use blob_sweep::BlobSweep;
pub use context::{Cx, HOPS_MAX, Principal, Source};
pub use dispatch::Dispatcher;
pub use idempotency::{Idempotency, IdempotencySweep, Replay};
pub use lineage::{Lineage, Passed};
pub use page_tokens::{InvalidPageToken, PageTokens};
pub use policies::resource_policy;
pub use quotas::{Quota, Quotas};
pub use reconcile::{Reconciler, keep_reconciling};
pub use tags::{TAGS_MAX, TagLimitExceeded, Tags};
