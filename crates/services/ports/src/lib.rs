//! What one service asks of another.
//!
//! Services do not know each other. A trait here is the whole of what one may ask of another; the caller's open
//! transaction goes along wherever something is changed, so that a change and its consequences are one commit.
//! `app-server` connects the ends.

mod credentials;
mod delivery;
mod endpoints;
mod invoke;
mod logs;
mod metering;
mod operations;
mod outbound;
mod queues;
mod streams;

pub use credentials::{RoleCredentials, SessionCredentials};
pub use delivery::{Attribute, AttributeValue, Deliver, Delivery, DeliveryError, Destinations, EventFields};
pub use endpoints::{EndpointCall, EndpointError, Endpoints};
pub use invoke::{Invoke, InvokeError, Invoked};
pub use logs::{LogAppendError, LogLine, LogSink, LogTarget};
pub use metering::{Ending, InvocationRecord, Meter, MeteredFunction};
pub use operations::{FoundOperation, OperationError, Operations};
pub use outbound::{Outbound, OutboundError, OutboundRequest, OutboundResponse};
pub use queues::{QueueMessage, QueueTraits, Queues, Received};
pub use streams::{ShardPage, ShardRead, StreamRecord, StreamShard, StreamSources, StreamStart, Streams};
