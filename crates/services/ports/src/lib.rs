//! What one service asks of another.
//!
//! Services do not know each other. A trait here is the whole of what one may ask of another; the caller's open
//! transaction goes along wherever something is changed, so that a change and its consequences are one commit.
//! `app-server` connects the ends.

mod credentials;
mod delivery;
mod logs;
mod metering;

pub use credentials::{RoleCredentials, SessionCredentials};
pub use delivery::{Attribute, Deliver, Delivery, DeliveryError, Destinations};
pub use logs::{LogAppendError, LogLine, LogSink, LogTarget};
pub use metering::{Ending, InvocationRecord, Meter, MeteredFunction};
