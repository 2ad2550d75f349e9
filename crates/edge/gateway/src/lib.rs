//! Listeners, routing by host and service, authentication, limits.
